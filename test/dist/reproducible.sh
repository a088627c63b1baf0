#!/usr/bin/env bash
# Builds the release twice, the second time from a clone at another path with an empty build cache, and demands the same bits.
set -euo pipefail
cd "$(dirname "$0")/../.."
git diff --quiet HEAD || { echo "commit first: a clone has only what is committed"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make dist VERSION=reproducible DIST="$work/first"
git clone --quiet . "$work/clone"
GOCACHE="$work/cache" make -C "$work/clone" dist VERSION=reproducible DIST="$work/second"
diff "$work/first/SHA256SUMS" "$work/second/SHA256SUMS" || { echo "the two builds differ"; exit 1; }

# Each file is what its name says.
cd "$work/first"
sha256sum --quiet --check SHA256SUMS
for arch in amd64 arm64; do
  go version -m "tallyd_reproducible_linux_$arch" | grep -q "GOARCH=$arch" || { echo "the $arch binary is for another machine"; exit 1; }
done
grep -q '"bomFormat": "CycloneDX"' tallyd_reproducible.cdx.json || { echo "the bill of materials is none"; exit 1; }
[ "$(wc -l <SHA256SUMS)" -eq 4 ] || { echo "the release has other files than expected"; exit 1; }
echo "the release is reproducible"
