#!/usr/bin/env bash
# Runs examples/policy with three callers against a tallyd with its policy, and compares with what docs/guides/policy.md shows.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ -d examples/python/gen ] || examples/python/generate.sh bin/tallyd
go run ./examples/policy/certificates "$work/certs"
start --policy examples/policy/policy.yaml --tls-cert "$work/certs/server.pem" --tls-key "$work/certs/server.key" \
  --tls-client-ca "$work/certs/ca.pem"
for caller in orders desk hiring; do
  PYTHONPATH=examples/python/gen /usr/bin/python3 examples/policy/client.py "localhost:${address##*:}" "$work/certs" "$caller"
done >"$work/got" 2>"$work/complaints" || fail "policy: $(cat "$work/got" "$work/complaints")"
stop
# The answers in the guide are the lines below its loop over the callers.
sed -n '/^> *client.py localhost:50051 certs /,/^```$/p' docs/guides/policy.md | grep -vE '^(>|```)' >"$work/want"
[ -s "$work/want" ] || fail "docs/guides/policy.md shows no Python client"
diff -u "$work/want" "$work/got" || fail "the policy's Python client prints something else than docs/guides/policy.md"
echo "policy: three callers in Python see what the guide says"
