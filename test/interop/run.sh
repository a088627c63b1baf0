#!/usr/bin/env bash
# Runs the clients of examples/ against bin/tallyd. All print the same lines, those of expected.txt.
# usage: run.sh [python] [node] [cpp] [java]; without any, all
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# generate LANGUAGE renews what is generated if the contract or the way to do it has changed.
generate() {
  local dir=examples/$1
  if [ "$dir/gen/tallyd.binpb" -nt "$dir/generate.sh" ] &&
    bin/tallyd proto --descriptor-set - | cmp -s - "$dir/gen/tallyd.binpb"; then
    return
  fi
  rm -rf "$dir/gen"
  "$dir/generate.sh" bin/tallyd || { rm -rf "$dir/gen" && fail "$dir/generate.sh failed"; }
}

# prints NAME COMMAND... demands that a command prints the expected lines and nothing else.
prints() {
  local name=$1
  shift
  timeout 60 "$@" >"$work/got" 2>"$work/complaints" || fail "$name: exit code $?: $(cat "$work/got" "$work/complaints")"
  diff -u test/interop/expected.txt "$work/got" || fail "$name prints something else than expected.txt"
}

# logged TEXT waits until tallyd's log has the text: what a client leaves, tallyd notices a little later.
logged() {
  for _ in $(seq 50); do
    ! grep -q -- "$1" "$work/log" || return 0
    sleep 0.1
  done
  fail "$name: tallyd's log lacks $1"
}

# client NAME COMMAND... runs a client, first in the clear, then by TLS with a certificate of its own and a token.
client() {
  local name=$1
  shift
  start
  prints "$name" "$@" "$address"
  logged '"code":"Unavailable"' # which the client repeated
  logged '"code":"Canceled"'
  logged '"request_id":"example-1"'
  stop
  start_tls
  TALLYD_TOKEN=example prints "$name by TLS" "$@" "$address" "$work/client"
  stop
}

python() {
  generate python
  # Debian's own interpreter has Debian's grpc; another on the PATH may not.
  PYTHONPATH=examples/python/gen client python /usr/bin/python3 examples/python/client.py
}

node() {
  generate node
  client grpc-js "$(type -P node)" examples/node/grpc-js.js
  client connect "$(type -P node)" examples/node/connect.js
}

cpp() {
  generate cpp
  make -C examples/cpp -s -j "$(nproc)"
  client cpp examples/cpp/gen/client
}

java() {
  generate java
  make -C examples/java -s
  client java examples/java/gen/client
}

certificates
[ $# -gt 0 ] || set -- python node cpp java
for language in "$@"; do
  began=$SECONDS
  "$language"
  echo "$language: every line as expected, in the clear and by TLS ($((SECONDS - began)) s)"
done
