#!/usr/bin/env bash
# Builds the image from the shipped recipe, without an engine, looks into it, and runs what is in it as its user.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
store=(--storage-driver vfs --root "$work/store" --runroot "$work/run")
running=""
finish() {
  [ -z "$running" ] || { kill "$running" && wait "$running"; } 2>/dev/null || true
  [ ! -d "$work/store" ] || buildah "${store[@]}" umount --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "image: $*" >&2
  exit 1
}

mkdir "$work/dist"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/dist/tallyd_test_linux_$(go env GOARCH)" ./cmd/tallyd
buildah bud --quiet --isolation chroot "${store[@]}" --build-arg "BINARY=tallyd_test_linux_$(go env GOARCH)" \
  -f deploy/image/Containerfile -t tallyd:test "$work/dist" >/dev/null

inspect() { buildah "${store[@]}" inspect --type image --format "$1" tallyd:test; }
[ "$(inspect '{{.OCIv1.Config.User}}')" = 65532:65532 ] || fail "it runs as $(inspect '{{.OCIv1.Config.User}}')"
[ "$(inspect '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}')" = '[/tallyd] [serve]' ] || fail "its command is another"
root=$(buildah "${store[@]}" mount "$(buildah "${store[@]}" from tallyd:test)")
[ "$(cd "$root" && find . -type f)" = ./tallyd ] || fail "it holds $(cd "$root" && find . -type f | head)"
[ "$(stat -c '%a %u' "$root/tallyd")" = '555 0' ] || fail "the binary is $(stat -c '%a %u' "$root/tallyd")"
size=$(stat -c %s "$root/tallyd")
# With the log of events, which brings its engine along, a binary may have 45 MB.
[ "$size" -le 45000000 ] || fail "the binary has $size bytes, more than 45 MB"

inside() { chroot --userspec=65532:65532 "$root" /tallyd "$@"; }
inside version >/dev/null
# Not by the function: its subshell would be what a signal ends.
chroot --userspec=65532:65532 "$root" /tallyd serve --sandbox --listen 127.0.0.1:0 --admin-listen '' >"$work/out" 2>"$work/log" &
running=$!
for _ in $(seq 100); do
  address=$(sed -n 's/^tallyd is ready at //p' "$work/out")
  [ -z "$address" ] || break
  kill -0 "$running" 2>/dev/null || fail "tallyd ended: $(cat "$work/log")"
  sleep 0.1
done
inside probe "$address" >/dev/null || fail "the probe says no"
kill "$running"
wait "$running" || fail "it ended with exit code $?"
! inside probe "$address" >/dev/null 2>&1 || fail "it goes on after a signal"
running=""
echo "image: $((size >> 20)) MiB, one file, runs as 65532"
