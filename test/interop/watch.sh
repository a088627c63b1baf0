#!/usr/bin/env bash
# Runs examples/watch against a tallyd and a pretend Tally that come and go, and compares with what docs/guides/watch.md shows: its
# transcript, and the answers to its grpcurl commands. With --update the page shows what this run printed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
PATH=$PWD/.cache/bin:$PATH

examples/python/generate.sh bin/tallyd
examples/node/generate.sh bin/tallyd
page=docs/guides/watch.md
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
    "$@" >"$work/out" 2>>"$work/log" &
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

# submit N [FLAG...] lets N respondents answer the form.
submit() {
  local i n=$1
  shift
  for ((i = 0; i < n; i++)); do bin/tallyd sandbox submit --form "$form" --url "$tally" "$@" >/dev/null; done
}

# asks PATH asks the pretend Tally.
asks() { curl -sf -H 'Authorization: Bearer tly-sandbox' -H 'User-Agent: watch' "$tally/$1"; }

# theirs prints the ids that Tally has since the start, mine those that the watcher has, and sent FILE those that a watcher was sent, as
# often as it was: one a line.
theirs() {
  asks "forms/$form/submissions?filter=completed&limit=500&startDate=$began" | /usr/bin/python3 -c 'import json, sys
page = json.load(sys.stdin)
assert not page["hasMore"]
print("\n".join(sorted(s["id"] for s in page["submissions"])))'
}

mine() {
  /usr/bin/python3 -c 'import sqlite3, sys
store = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
print("\n".join(sorted(row[0] for row in store.execute("select id from submission"))))' "$seen" 2>/dev/null || true
}

sent() { sed -n 's/^submission [0-9]*: //p' "$1" 2>/dev/null | sort; }

# same WHAT COMMAND... demands that a command prints the ids that Tally has.
same() {
  local what=$1
  shift
  diff <(theirs) <("$@") >"$work/diff" || fail "$what is not Tally's list: $(cat "$work/diff")"
}

# until_true WHAT COMMAND... waits until a command succeeds.
until_true() {
  local what=$1
  shift
  for _ in $(seq 300); do
    ! "$@" || return 0
    sleep 0.1
  done
  fail "this did not come: $what; the watcher said: $(cat "$work/watcher")"
}

count() { "$@" | grep -c . || true; }
placed() { /usr/bin/python3 -c 'import sqlite3, sys
for row in sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True).execute("select token from place"): print(row[0])' "$seen"; }
moved() { [ -n "$(placed)" ] && [ "$(placed)" != "$1" ]; }
has() { [ "$(count mine)" -ge "$1" ]; }
settle() { until_true "the watcher has $1 submissions" has "$1"; }
node_has() { [ "$(count sent "$work/node")" -ge "$1" ]; }
says() { grep -q "^$1" "$work/watcher"; }
hooked() { asks webhooks | grep -q "/hooks/$form"; }
served() { ! grpcurl -plaintext -max-time 1 -d "{\"form_ids\": [\"$form\"]}" "$address" tallyd.v1.SubmissionService/WatchSubmissions 2>&1 | grep -q pollInterval; }
logged() { [ "$(grpcurl -plaintext -d "{\"form_id\": \"$form\"}" "$address" tallyd.v1.SubmissionEventService/ListSubmissionEvents | grep -c '"sequence"')" -eq "$1" ]; }

# source_of ID prints how tallyd got to know of a submission.
source_of() {
  grpcurl -plaintext -d "{\"form_id\": \"$form\"}" "$address" tallyd.v1.SubmissionEventService/ListSubmissionEvents |
    grep -B2 "\"id\": \"$1\"" | sed -n 's/.*"SUBMISSION_EVENT_SOURCE_\(.*\)".*/\1/p'
}

# replayed prints the page with the answers that its grpcurl commands get now.
replayed() {
  local line answered=
  while IFS= read -r line; do
    case $line in
      '$ grpcurl '*)
        echo "$line"
        answered=yes
        line=${line#'$ '}
        eval "${line//localhost:50051/$address}" </dev/null 2>&1 || true
        ;;
      '```'*)
        answered=
        echo "$line"
        ;;
      *) [ -n "$answered" ] || echo "$line" ;;
    esac
  done <"$page"
}

# settled leaves out what differs from run to run.
settled() {
  sed -E -e 's/"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"/"TIME"/' -e 's/SOURCE_(WEBHOOK|RECONCILED)/SOURCE/' \
    -e 's/"(id|submissionId|respondentId|resumeToken|nextPageToken)": "[^"]*"/"\1": "ID"/'
}

address=127.0.0.1:$(free)
hooks=127.0.0.1:$(free)
sleep 1 # what the sandbox is seeded with lies before the first whole second of this run
began=$(date -u +%Y-%m-%dT%H:%M:%SZ)

up_sandbox
up_tallyd
up_watcher
until_true "a webhook at Tally" hooked
until_true "a watch that needs no polling" served

submit 3 --set 'Your e-mail address="ada@example.com"'
settle 3
say "all are up: 3 submissions, the watcher has $(count mine)"
replayed >"$work/page"

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
theirs >"$work/before"
submit 1 --undelivered
lost=$(theirs | comm -13 "$work/before" -)
asks "webhooks/$(asks webhooks | sed -E "s|.*\"id\":\"([^\"]*)\",\"formId\":\"$form\".*|\1|")/events" | grep -o '"deliveryStatus":"DROPPED"' >/dev/null ||
  fail "Tally did not give up on a delivery"
say "Tally gives up on a delivery for good: 1 more"
up_tallyd
up_watcher
settle 10
say "both are back: the watcher has $(count mine)"
say "how tallyd got to know of the one that Tally gave up on: $(source_of "$lost")"

same "what the watcher has" mine
same "what the watcher was sent" sent "$work/watcher"
say "Tally's list, the watcher's, and what the watcher was sent over all its streams: the same $(count theirs), each once"
node examples/node/watch.js "$address" "$form" >"$work/node" 2>&1 &
node=$!
running+=("$node")
until_true "10 submissions for the watcher in Node" node_has 10
down "$node"
same "what the watcher in Node was sent" sent "$work/node"
say "a watcher in Node that begins with the oldest event: the same"

down "$watcher"
submit 2
until_true "12 events in the log" logged 12
down "$tallyd"
sleep 4 # which makes them too old
up_tallyd --event-retention 4s
until_true "an empty log" logged 0
say "the watcher is away for longer than events are kept: 2 more"
up_watcher
until_true "word of what is missed" says "missed: "
submit 1
settle 11
say "the watcher is back: it says that it missed some, and has $(count mine) with 1 more"
down "$tallyd"
place=$(placed)
rm -rf "$work/data"
up_tallyd
until_true "word of another log" says "missed, perhaps: "
until_true "a place in the new log" moved "$place"
submit 1
settle 12
say "the log is lost, tallyd begins a new one: the watcher says that it may have missed some, and has $(count mine) with 1 more"
stop

{ sed '/^```transcript$/q' "$work/page" && cat "$said" && echo '```'; } >"$work/new" # it is the page's last section
[ "${1:-}" != --update ] || cp "$work/new" "$page"
diff -u <(settled <"$page") <(settled <"$work/new") || fail "the run prints something else than $page; $0 --update renews it"
echo "watch: nothing is lost and nothing comes twice, whoever is down"
