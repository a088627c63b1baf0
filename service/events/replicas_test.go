package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/tallyd/tallyd/service/events"
)

// pair is two processes on one cluster.
func pair(t *testing.T) [2]*world {
	t.Helper()
	config := clustered(t)
	var worlds [2]*world
	for i := range worlds {
		worlds[i] = &world{t: t, config: config, logger: slog.New(slog.NewTextHandler(failer{t}, &slog.HandlerOptions{Level: slog.LevelError}))}
		worlds[i].open()
		t.Cleanup(func() { worlds[i].close() })
	}
	return worlds
}

// failer fails the test of a log that says that something is wrong.
type failer struct{ t *testing.T }

func (f failer) Write(line []byte) (int, error) {
	f.t.Errorf("the log says %s", line)
	return len(line), nil
}

// Two processes take deliveries of the same forms at the same time, each of them both: each is stored once, and both hand out the same log
// without a gap, in which each entry names the one before it.
func TestReplicasShareALog(t *testing.T) {
	const forms, each = 3, 60
	worlds := pair(t)
	var stored, running sync.WaitGroup
	results := make(chan events.Result, 2*forms*each)
	for k := range forms * each {
		for _, w := range worlds {
			stored.Add(1)
			running.Go(func() {
				defer stored.Done()
				results <- w.tell(delivered(fmt.Sprintf("f%d", k%forms), fmt.Sprintf("s%d", k)))
			})
		}
	}
	running.Wait()
	close(results)
	counts := map[events.Result]int{}
	for r := range results {
		counts[r]++
	}
	if counts[events.Stored] != forms*each || counts[events.Known] != forms*each {
		t.Errorf("%v, want %d stored and as many known", counts, forms*each)
	}
	for f := range forms {
		checkShared(t, worlds, fmt.Sprintf("f%d", f), each)
	}
}

// tell logs news, and tells again what could not be logged, as Tally does.
func (w *world) tell(news events.News) events.Result {
	for {
		result, err := w.log.Add(w.t.Context(), news)
		if err == nil || w.t.Context().Err() != nil {
			return result
		}
	}
}

// checkShared demands that both hand out a form's log alike, without a gap and nothing twice.
func checkShared(t *testing.T, worlds [2]*world, form string, want int) {
	t.Helper()
	var logs [2][]string
	for i, w := range worlds {
		logs[i] = w.next(w.watch(events.Place{}, form), want)
		w.scrub(1 << 30)
		if len(w.gaps) > 0 {
			t.Errorf("gaps told are %q, want none", w.gaps)
		}
	}
	if !slices.Equal(logs[0], logs[1]) {
		t.Errorf("one hands out %q, the other %q", logs[0], logs[1])
	}
	seen := map[string]bool{}
	for i, event := range logs[0] {
		var n int
		var id string
		if _, err := fmt.Sscanf(event, form+" %d %s", &n, &id); err != nil || n != i+1 || seen[id] {
			t.Errorf("event %d is %q", i+1, event)
		}
		seen[id] = true
	}
}

// A token of one process is good at the other, which has not handed out what came before it.
func TestTokenOfAnotherReplica(t *testing.T) {
	worlds := pair(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		worlds[0].add(delivered("f", id), events.Stored)
	}
	c := worlds[0].watch(events.Place{}, "f")
	worlds[0].next(c, 2)
	var seals [2]*events.Seal
	for i, w := range worlds {
		var err error
		if seals[i], err = w.log.Seal(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	at, err := seals[1].Place(seals[0].Token(c.At(), 7), 7)
	if err != nil {
		t.Fatalf("Place() of the other's token = %v", err)
	}
	want := []string{"f 3 c", "f 4 d"}
	if got := worlds[1].next(worlds[1].watch(at, "f"), len(want)); !slices.Equal(got, want) {
		t.Errorf("events behind the other's token are %q, want %q", got, want)
	}
	worlds[1].add(delivered("f", "e"), events.Stored)
	if got := worlds[0].next(worlds[0].watch(at, "f"), 3); got[2] != "f 5 e" {
		t.Errorf("the first hears %q of what the second took", got)
	}
}
