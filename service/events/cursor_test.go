package events_test

import (
	"slices"
	"testing"

	"github.com/tallyd/tallyd/service/events"
)

// Whoever has read an event knows all that is lost before it: their places are the same from then on, wherever they began, and with them
// the bytes that they share.
func TestPlacesMeet(t *testing.T) {
	w := newWorld(t, embedded)
	early := w.watch(events.Place{}, "f")
	w.add(delivered("f", "a"), events.Stored)
	w.next(early, 1)
	at, err := w.hub.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := w.watch(at, "f")
	w.add(delivered("f", "b"), events.Stored)
	w.next(early, 1)
	w.next(late, 1)
	if early.At() != late.At() {
		t.Errorf("places behind the same event are %+v and %+v, want the same", early.At(), late.At())
	}
}

// What is erased is handed out no more, also to a reader that had it in hand: one that keeps up, one that is behind and one that reads to
// the end alone.
func TestErasedInHand(t *testing.T) { onEach(t, testErasedInHand) }

func testErasedInHand(t *testing.T, on engine) {
	w := newWorld(t, on)
	for _, id := range []string{"a", "b", "c"} {
		w.add(delivered("f", id), events.Stored)
	}
	w.next(w.watch(events.Place{}, "f"), 3) // so that the hub has all
	w.reopen()
	behind := w.watch(events.Place{}, "f")
	w.next(behind, 1)
	replay, err := w.log.Read(t.Context(), events.Selection{Forms: []string{"f"}}, events.Place{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := replay.Next(t.Context()); err != nil || say(r) != "f 1 a" {
		t.Fatalf("Next() = %v, %v, want the first event", r, err)
	}
	level := w.watch(events.Place{Position: 1, Accepted: 1}, "f")
	w.add(deleted("b"), events.Stored)
	w.next(w.watch(events.Place{}, "f"), 3) // the deletion has come through
	want := []string{"f 3 c", "f 4 deleted b"}
	for name, c := range map[string]*events.Cursor{"level": level, "behind": behind} {
		if got := w.next(c, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: events are %q, want %q", name, got, want)
		}
	}
	if r, err := replay.Next(t.Context()); err != nil || say(r) != "f 3 c" {
		t.Errorf("Next() of a replay = %v, %v, want the third event", r, err)
	}
}
