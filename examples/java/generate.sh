#!/usr/bin/env bash
# Generates Java into gen/ from what the binary gives: no repository of tallyd's, no google.api, no buf.validate.
# usage: generate.sh TALLYD
set -euo pipefail
tallyd=$(realpath "$1")
mkdir -p "$(dirname "$0")/gen" && cd "$(dirname "$0")/gen"

"$tallyd" proto --descriptor-set tallyd.binpb
protoc --descriptor_set_in=tallyd.binpb --java_out=. \
  --grpc_out=. --plugin=protoc-gen-grpc="$(command -v grpc_java_plugin)" $("$tallyd" proto --list)
