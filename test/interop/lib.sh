# shellcheck shell=bash
# Starts and stops tallyd with a pretend Tally behind it, for the scripts of this folder, which source it.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL=C.UTF-8
work=$(mktemp -d)
running=()

finish() {
  [ ${#running[@]} -eq 0 ] || { kill "${running[@]}" && wait "${running[@]}"; } 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

fail() {
  echo "$*" >&2
  [ ! -e "$work/log" ] || { echo "the end of tallyd's log:" && tail -n 20 "$work/log"; } >&2
  exit 1
}

# announced PID FILE PATTERN prints what a starting process says of its address.
announced() {
  local found
  for _ in $(seq 100); do
    found=$(sed -n "$3" "$2")
    [ -z "$found" ] || { echo "$found" && return; }
    kill -0 "$1" 2>/dev/null || fail "it did not start: $(cat "$2")"
    sleep 0.1
  done
  fail "it announced nothing within 10 s: $(cat "$2")"
}

# start [FLAG...] starts a fresh pretend Tally and a tallyd with these flags, and sets address.
start() {
  bin/tallyd sandbox --listen 127.0.0.1:0 --faults examples/faults.json >"$work/sandbox" 2>&1 &
  running+=($!)
  tally=$(announced $! "$work/sandbox" 's/^the pretend Tally is ready at \([^ ]*\) .*/\1/p')
  TALLY_API_KEY=tly-sandbox bin/tallyd serve --tally-url "$tally" --tally-rate 0 --listen 127.0.0.1:0 --admin-listen '' "$@" \
    >"$work/out" 2>"$work/log" &
  running+=($!)
  address=$(announced $! "$work/out" 's/^tallyd is ready at //p')
}

# stop ends what start started, which must go quietly.
stop() {
  local pid
  kill "${running[@]}"
  for pid in "${running[@]}"; do
    wait "$pid" || fail "it ended with exit code $?"
  done
  running=()
}

# certificates makes a certificate of the server's and one of a client's, by the names of a Kubernetes secret.
certificates() {
  local by=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1)
  mkdir -p "$work/server" "$work/client"
  openssl req -x509 "${by[@]}" -subj /CN=authority -keyout "$work/ca.key" -out "$work/ca.crt"
  for who in server client; do
    cp "$work/ca.crt" "$work/$who/"
    openssl req -x509 "${by[@]}" -CA "$work/ca.crt" -CAkey "$work/ca.key" -subj "/CN=$who" \
      -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
      -keyout "$work/$who/tls.key" -out "$work/$who/tls.crt"
  done
} 2>/dev/null

# start_tls starts a tallyd that asks for certificates; $work/client holds one.
start_tls() {
  start --tls-cert "$work/server/tls.crt" --tls-key "$work/server/tls.key" --tls-client-ca "$work/ca.crt"
  address=localhost:${address##*:}
}
