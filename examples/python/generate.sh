#!/usr/bin/env bash
# Generates the Python modules into DIR from what the binary gives: no repository of tallyd's, no google.api, no buf.validate.
# usage: generate.sh TALLYD DIR
set -euo pipefail
tallyd=$1 dir=$2
mkdir -p "$dir"
"$tallyd" proto --descriptor-set "$dir/tallyd.binpb"
protoc --descriptor_set_in="$dir/tallyd.binpb" --python_out="$dir" --grpc_out="$dir" \
  --plugin=protoc-gen-grpc="$(command -v grpc_python_plugin)" \
  tallyd/v1/{errors,forms,form_service,users,user_service,organizations,organization_service}.proto \
  tallyd/v1/{workspaces,workspace_service,submissions,submission_service,analytics,analytics_service}.proto \
  tallyd/v1/{webhooks,webhook_service}.proto google/rpc/{code,status,error_details}.proto
