#!/usr/bin/env bash
# Generates the Python modules into gen/ from what the binary gives: no repository of tallyd's, no google.api, no buf.validate.
# usage: generate.sh TALLYD
set -euo pipefail
tallyd=$(realpath "$1")
mkdir -p "$(dirname "$0")/gen" && cd "$(dirname "$0")/gen"

"$tallyd" proto --descriptor-set tallyd.binpb
protoc --descriptor_set_in=tallyd.binpb --python_out=. \
  --grpc_out=. --plugin=protoc-gen-grpc="$(command -v grpc_python_plugin)" $("$tallyd" proto --list)
# The name grpc is taken in Python, so these modules are called as those of the package grpcio-health-checking.
rm -rf grpc_health && mv grpc/health grpc_health && rmdir grpc
sed -i 's/^from grpc\.health\.v1/from grpc_health.v1/' grpc_health/v1/*.py
