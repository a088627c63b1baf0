#!/usr/bin/env bash
# Generates JavaScript into gen/ from what the binary gives: no repository of tallyd's, no google.api, no buf.validate. `npm ci` first.
# usage: generate.sh TALLYD
set -euo pipefail
tallyd=$(realpath "$1")
mkdir -p "$(dirname "$0")/gen" && cd "$(dirname "$0")/gen"

"$tallyd" proto --descriptor-set tallyd.binpb
protoc --descriptor_set_in=tallyd.binpb --es_out=. --es_opt=target=js,import_extension=js \
  --plugin=../node_modules/.bin/protoc-gen-es $("$tallyd" proto --list)
