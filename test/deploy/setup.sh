#!/usr/bin/env bash
# Installs what the checks of deploy/ need, where it is missing: Debian's buildah, and promtool out of its prometheus package, without
# the server.
set -euo pipefail
cd "$(dirname "$0")/../.."
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
if ! command -v buildah >/dev/null; then
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends buildah >/dev/null
fi
if [ ! -x bin/promtool ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && { apt-get download -qq prometheus 2>/dev/null || { "${sudo[@]}" apt-get update -qq && apt-get download -qq prometheus; }; })
  dpkg-deb -x "$work"/prometheus_*.deb "$work/files"
  mkdir -p bin && mv "$work/files/usr/bin/promtool" bin/promtool
fi
