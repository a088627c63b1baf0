#!/usr/bin/env bash
# Runs tools that many have, as they are, against bin/tallyd: grpcurl, ghz, grpc-health-probe and buf curl.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
PATH=$PWD/.cache/bin:$PATH
set_file=$work/tallyd.binpb
bin/tallyd proto --descriptor-set "$set_file"
certificates

# says CODE TEXT COMMAND... demands an exit code, and a text among what is printed.
says() {
  local code=$1 text=$2 got=0
  shift 2
  timeout 60 "$@" >"$work/got" 2>&1 || got=$?
  [ "$got" -eq "$code" ] || fail "exit code $got, want $code: $*: $(cat "$work/got")"
  grep -qF -- "$text" "$work/got" || fail "no '$text': $*: $(cat "$work/got")"
}

with_grpcurl() {
  says 0 tallyd.v1.FormService grpcurl "$@" "$address" list
  says 0 'returns one form with its `settings`' grpcurl "$@" "$address" describe tallyd.v1.FormService.GetForm
  says 0 '"submissionCount": "1200"' grpcurl "$@" -d '{"form_id": "Feedbk"}' "$address" tallyd.v1.FormService/GetForm
  # The exit code is 64 and the status.
  says 69 RESOURCE_NOT_FOUND grpcurl "$@" -d '{"form_id": "nosuch"}' "$address" tallyd.v1.FormService/GetForm
}

with_ghz() {
  local load=(-n 40 -c 4 -d '{"form_id": "Feedbk"}' --call tallyd.v1.FormService/GetForm)
  says 0 '[OK]   40 responses' ghz "$@" "${load[@]}" "$address"
}

with_health_probe() {
  says 0 SERVING grpc-health-probe "$@" -addr "$address"
  says 0 SERVING grpc-health-probe "$@" -addr "$address" -service tally
  says 3 NotFound grpc-health-probe "$@" -addr "$address" -service nosuch
}

with_buf_curl() {
  local scheme=$1
  shift
  local url=$scheme://$address/tallyd.v1.FormService/GetForm
  says 0 '"submissionCount": "1200"' buf curl --protocol grpc "$@" -d '{"form_id": "Feedbk"}' "$url"
  # The exit code is 8 times the status.
  says 40 google.rpc.ErrorInfo buf curl --protocol grpc "$@" -d '{"form_id": "nosuch"}' "$url"
}

start --reflection on
with_grpcurl -plaintext
with_ghz --insecure
with_health_probe
with_buf_curl http --http2-prior-knowledge
stop
echo "tools: by reflection"

start --reflection off
with_grpcurl -plaintext -protoset "$set_file"
with_ghz --insecure --protoset "$set_file"
with_buf_curl http --http2-prior-knowledge --schema "$set_file"
stop
echo "tools: by the descriptor set"

start_tls
tls=$work/client
with_grpcurl -cacert "$tls/ca.crt" -cert "$tls/tls.crt" -key "$tls/tls.key"
with_ghz --cacert "$tls/ca.crt" --cert "$tls/tls.crt" --key "$tls/tls.key"
with_health_probe -tls -tls-ca-cert "$tls/ca.crt" -tls-client-cert "$tls/tls.crt" -tls-client-key "$tls/tls.key"
with_buf_curl https --cacert "$tls/ca.crt" --cert "$tls/tls.crt" --key "$tls/tls.key"
stop
echo "tools: by TLS with a certificate of their own"
