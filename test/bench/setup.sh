#!/usr/bin/env bash
# Provides Redis for the benchmarks where it is missing: Debian's program, unpacked into bin/redis. It is not installed, since Debian would
# start a server with it. Without it the benchmarks leave Redis out.
set -euo pipefail
cd "$(dirname "$0")/../.."
{ command -v redis-server || command -v bin/redis/redis-server; } >/dev/null && exit 0
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
"${sudo[@]}" apt-get update -qq
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What the program needs and this system lacks is unpacked beside it. apt reads as a user of its own, who may not look into a folder of ours.
packages=$(apt-get install -s --no-install-recommends redis-server | awk '/^Inst/ {print $2}')
(cd "$work" && apt-get download -qq -o APT::Sandbox::User="$(id -un)" $packages)
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/redis"; done
mkdir -p bin
rm -rf bin/redis
mv "$work/redis" bin/redis
cat >bin/redis/redis-server <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$here/usr/lib/$(uname -m)-linux-gnu exec "$here/usr/bin/redis-server" "$@"
END
chmod +x bin/redis/redis-server
bin/redis/redis-server --version
