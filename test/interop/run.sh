#!/usr/bin/env bash
# Runs the very files of examples/ against bin/tallyd with its sandbox and compares what they print.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
tallyd_pid=""
finish() {
  [ -z "$tallyd_pid" ] || { kill "$tallyd_pid" 2>/dev/null && wait "$tallyd_pid" 2>/dev/null; } || true
  rm -rf "$work"
}
trap finish EXIT

bin/tallyd serve --sandbox --listen 127.0.0.1:0 --admin-listen '' >"$work/out" 2>"$work/log" &
tallyd_pid=$!
for _ in $(seq 100); do
  address=$(sed -n 's/^tallyd is ready at //p' "$work/out")
  [ -n "$address" ] && break
  kill -0 "$tallyd_pid" || { cat "$work/log"; exit 1; }
  sleep 0.1
done

# Debian's own interpreter has Debian's grpc; another on the PATH may not.
examples/python/generate.sh bin/tallyd "$work/python"
PYTHONPATH="$work/python" /usr/bin/python3 examples/python/client.py "$address" | tee "$work/python.out"

expect() { grep -qE -- "$1" "$work/python.out" || { echo "python: no line matches: $1"; exit 1; }; }
expect '^[A-Za-z0-9]+ .* FORM_STATUS_PUBLISHED [0-9]+ submissions$'
expect ": (text|number|choices|date) "
expect '^INVALID_ARGUMENT INVALID_FIELD says tallyd, outcome not_sent$'
expect "^  form_id: "
expect '^NOT_FOUND RESOURCE_NOT_FOUND says tally.so, outcome rejected$'
expect '^RESOURCE_EXHAUSTED TALLY_RATE_LIMITED says tally.so, outcome rejected$'
expect '^  try again in [0-9]+ s$'
echo "python: the example works"
