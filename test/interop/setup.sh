#!/usr/bin/env bash
# Installs what the clients of other languages and the tools need, where it is missing: Debian's packages, npm's, Go's.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(
  openssl protobuf-compiler protobuf-compiler-grpc
  python3 python3-grpcio python3-protobuf
  g++ make pkg-config libgrpc++-dev libprotobuf-dev
  protobuf-compiler-grpc-java-plugin libgrpc-java libprotobuf-java libnetty-java libnetty-tcnative-java libguava-java
  libperfmark-java libgeronimo-annotation-1.3-spec-java
)
# These may come from elsewhere than from Debian.
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
command -v curl >/dev/null || packages+=(curl)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ examples/node/node_modules/.package-lock.json -nt examples/node/package-lock.json ] ||
  npm --prefix examples/node ci --silent

mkdir -p .cache/bin
go build -C tools -o ../.cache/bin/ github.com/bojand/ghz/cmd/ghz github.com/bufbuild/buf/cmd/buf \
  github.com/fullstorydev/grpcurl/cmd/grpcurl github.com/grpc-ecosystem/grpc-health-probe
