#!/usr/bin/env bash
# Provides nginx for the tests where it is missing: Debian's program, unpacked into bin/nginx. It is not installed, since Debian would
# start a web server with it.
set -euo pipefail
cd "$(dirname "$0")/../.."
{ command -v nginx || command -v /usr/sbin/nginx || command -v bin/nginx/usr/sbin/nginx; } >/dev/null && exit 0
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
"${sudo[@]}" apt-get update -qq
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt reads as a user of its own, who may not look into a folder of ours.
(cd "$work" && apt-get download -qq -o APT::Sandbox::User="$(id -un)" nginx)
dpkg-deb -x "$work"/nginx_*.deb "$work/nginx"
libraries=$(ldd "$work/nginx/usr/sbin/nginx" | awk '/not found/ {print $1}')
[ -z "$libraries" ] || { echo "nginx lacks libraries of this system: $libraries"; exit 1; }
mkdir -p bin
rm -rf bin/nginx
mv "$work/nginx" bin/nginx
