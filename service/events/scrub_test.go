package events_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

func (w *world) scrub(bytes int64) {
	w.t.Helper()
	s := events.NewScrub(events.ScrubConfig{Log: w.log, Retention: time.Hour, Bytes: bytes, Logger: slog.New(slog.DiscardHandler)})
	if err := s.Walk(w.t.Context()); err != nil {
		w.t.Fatalf("Walk() = %v", err)
	}
}

// begun makes a form known, as watching it does.
func (w *world) begun(form string) {
	w.t.Helper()
	k := events.NewKeeper(events.KeeperConfig{Log: w.log, Hub: w.hub, Logger: slog.New(slog.DiscardHandler)})
	if err := k.Watching(w.t.Context(), []string{form}); err != nil {
		w.t.Fatal(err)
	}
}

// A walk tells of what is lost in the middle and at the end, once; the number of a lost entry is not used again.
func TestScrubSeesLosses(t *testing.T) { onEach(t, testScrubSeesLosses) }

func testScrubSeesLosses(t *testing.T, on engine) {
	w := newWorld(t, on)
	w.begun("f")
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		w.add(delivered("f", id), events.Stored)
	}
	w.scrub(1 << 30)
	if len(w.gaps) > 0 {
		t.Errorf("gaps of a sound log are %q", w.gaps)
	}
	for _, position := range []uint64{2, 5} {
		if err := w.store.Erase(t.Context(), position); err != nil {
			t.Fatal(err)
		}
	}
	w.reopen()
	w.scrub(1 << 30)
	w.scrub(1 << 30)
	want := []string{"f 2-2", "f 5-5"}
	if !slices.Equal(w.gaps, want) {
		t.Errorf("gaps told are %q, want %q", w.gaps, want)
	}
	w.add(delivered("f", "f"), events.Stored)
	events := []string{"f 1 a", "f lost 2-2", "f 3 c", "f 4 d", "f lost 5-5", "f 6 f"}
	if got := w.next(w.watch(placeZero, "f"), len(events)); !slices.Equal(got, events) {
		t.Errorf("events are %q, want %q", got, events)
	}
}

var placeZero events.Place

// What a tombstone stands for is erased by the next process, should this one end before.
func TestScrubErases(t *testing.T) { onEach(t, testScrubErases) }

func testScrubErases(t *testing.T, on engine) {
	w := newWorld(t, on)
	h := w.halve()
	h.erasures.Store(1)
	w.add(deleted("b"), events.Stored)
	if m := w.at(2); !strings.Contains(string(m.Data), `"submissionId":"b"`) {
		t.Fatalf("at 2 is %q, want the deleted entry: the test makes erasing it fail", m.Data)
	}
	w.log.Close()
	w.reopen()
	w.scrub(1 << 30)
	if m := w.at(2); m.Position == 2 {
		t.Errorf("at 2 is still %q", m.Data)
	}
	w.wantErased()
	if len(w.gaps) > 0 {
		t.Errorf("gaps told are %q, want none", w.gaps)
	}
}

// at returns the first message from a position on.
func (w *world) at(position uint64) store.Message {
	w.t.Helper()
	messages, _, err := w.store.Read(w.t.Context(), store.Query{Filter: store.Everything, From: position, Most: 1})
	if err != nil || len(messages) == 0 {
		w.t.Fatalf("Read() = %d messages, %v", len(messages), err)
	}
	return messages[0]
}

// A log that is too large loses its oldest entries, and is no less sound for it.
func TestScrubShrinks(t *testing.T) { onEach(t, testScrubShrinks) }

func testScrubShrinks(t *testing.T, on engine) {
	w := newWorld(t, on)
	w.begun("f")
	w.begun("g")
	for _, id := range []string{"a", "b", "c", "d", "e", "g"} {
		w.add(delivered("f", id), events.Stored)
		w.add(delivered("g", id), events.Stored)
	}
	one, _, err := w.store.Last(t.Context(), "ev.f.g")
	if err != nil {
		t.Fatal(err)
	}
	w.scrub(2 * int64(len(one.Data)+8))
	want := []string{"f 5 e", "g 5 e", "f 6 g", "g 6 g"}
	if got := w.next(w.watch(placeZero, "f", "g"), len(want)); !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
	w.reopen()
	w.scrub(1 << 30)
	if len(w.gaps) > 0 {
		t.Errorf("gaps told are %q, want none", w.gaps)
	}
}
