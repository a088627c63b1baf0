#!/usr/bin/env bash
# Runs examples/watch against a tallyd and a pretend Tally that come and go, and compares with what docs/guides/watch.md shows. With
# --update the page shows what this run printed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

examples/python/generate.sh bin/tallyd
form=NewsLt
said=$work/said
seen=$work/seen.db

say() { echo "$*" >>"$said"; }

free() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

up_sandbox() {
  bin/tallyd sandbox --listen 127.0.0.1:0 --rate 0 --retry-scale 0.001 >"$work/sandbox" 2>&1 &
  running+=($!)
  tally=$(announced $! "$work/sandbox" 's/^the pretend Tally is ready at \([^ ]*\) .*/\1/p')
}

up_tallyd() {
  : >"$work/out"
  TALLY_API_KEY=tly-sandbox bin/tallyd serve --tally-url "$tally" --tally-rate 0 --listen "$address" --admin-listen '' \
    --data-dir "$work/data" --webhook-listen "$hooks" --webhook-public-url "http://$hooks" --reconcile-interval 1s --poll-interval 1s \
    >"$work/out" 2>>"$work/log" &
  tallyd=$!
  running+=($!)
  announced $! "$work/out" 's/^tallyd is ready at //p' >/dev/null
}

up_watcher() {
  PYTHONPATH=examples/python/gen /usr/bin/python3 examples/watch/watcher.py "$address" "$form" "$seen" >>"$work/watcher" 2>&1 &
  watcher=$!
  running+=($!)
}

# down PID kills a process and forgets it.
down() {
  local pid=$1 rest=() other
  kill -KILL "$pid" && wait "$pid" 2>/dev/null || true
  for other in "${running[@]}"; do [ "$other" = "$pid" ] || rest+=("$other"); done
  running=("${rest[@]}")
}

# submit N [FLAG] lets N respondents answer the form.
submit() {
  local i
  for ((i = 0; i < $1; i++)); do bin/tallyd sandbox submit --form "$form" --url "$tally" ${2:+"$2"} >/dev/null; done
}

# theirs prints the ids that Tally has since the start, mine those that the watcher has: each one a line.
theirs() {
  curl -sf -H 'Authorization: Bearer tly-sandbox' -H 'User-Agent: watch' \
    "$tally/forms/$form/submissions?filter=completed&limit=500&startDate=$began" |
    /usr/bin/python3 -c 'import json, sys; print("\n".join(s["id"] for s in json.load(sys.stdin)["submissions"]))' | sort
}

mine() {
  /usr/bin/python3 -c 'import sqlite3, sys
store = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
print("\n".join(sorted(row[0] for row in store.execute("select id from submission"))))' "$seen" 2>/dev/null || true
}

count() { "$1" | grep -c . || true; }

# settle waits until the watcher has N.
settle() {
  for _ in $(seq 300); do
    [ "$(count mine)" -lt "$1" ] || return 0
    sleep 0.1
  done
  fail "the watcher has $(count mine) submissions and should have $1: $(cat "$work/watcher")"
}

address=127.0.0.1:$(free)
hooks=127.0.0.1:$(free)
sleep 1 # what the sandbox is seeded with lies before the first whole second of this run
began=$(date -u +%Y-%m-%dT%H:%M:%SZ)

up_sandbox
up_tallyd
up_watcher
for _ in $(seq 100); do # until tallyd has made its webhook
  curl -sf -H 'Authorization: Bearer tly-sandbox' -H 'User-Agent: watch' "$tally/webhooks" | grep -q "/hooks/$form" && break
  sleep 0.1
done

submit 3
settle 3
say "all are up: 3 submissions, the watcher has $(count mine)"
down "$watcher"
submit 2
say "the watcher is down: 2 more"
up_watcher
settle 5
say "the watcher is back: it has $(count mine)"
down "$tallyd"
submit 2
say "tallyd is down: 2 more"
up_tallyd
settle 7
say "tallyd is back: the watcher has $(count mine)"
down "$watcher"
down "$tallyd"
submit 2
say "both are down: 2 more"
submit 1 --undelivered
say "Tally gives up on a delivery for good: 1 more"
up_tallyd
up_watcher
settle 10
say "both are back: the watcher has $(count mine)"
diff <(theirs) <(mine) >"$work/diff" || fail "the watcher's list is not Tally's: $(cat "$work/diff")"
say "Tally's list and the watcher's: the same $(count theirs)"
doubled=$(mine | uniq -d)
[ -z "$doubled" ] || fail "the watcher has some twice: $doubled"
events=$(grep -c '^submission ' "$work/watcher") || true
say "events that the watcher was sent, over all its streams: $events"
stop

page=docs/guides/watch.md
if [ "${1:-}" = --update ]; then
  { sed '/^```transcript$/q' "$page" && cat "$said" && echo '```'; } >"$work/page" # it is the page's last section
  cp "$work/page" "$page"
fi
sed -n '/^```transcript$/,/^```$/p' "$page" | grep -v '^```' >"$work/want"
diff -u "$work/want" "$said" || fail "the run prints something else than $page"
echo "watch: nothing is lost and nothing comes twice, whoever is down"
