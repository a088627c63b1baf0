package events_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/tallyd/tallyd/service/events"
)

// holds tells whether a file of the log has a text in it.
func (w *world) holds(text string) bool {
	w.t.Helper()
	for _, file := range w.blocks() {
		data, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			return true
		}
	}
	return false
}

// Of a submission that is deleted no file holds an answer any more, neither of the first delivery nor of those that are kept aside.
func TestEraseOverwrites(t *testing.T) {
	w := newWorld(t, embedded)
	answers := []string{"the answer of the first", "the answer of the second", "the answer of the third"}
	for i, answer := range answers {
		told := delivered("f", "a")
		told.Delivery = delivery("f", "a", answer)
		want := events.Conflicting
		if i == 0 {
			want = events.Stored
		}
		w.add(told, want)
	}
	w.add(delivered("f", "c"), events.Stored)
	for _, answer := range answers {
		if !w.holds(answer) {
			t.Fatalf("no file holds %q: the test looks in the wrong place", answer)
		}
	}
	w.add(deleted("a"), events.Stored)
	for _, answer := range answers {
		if w.holds(answer) {
			t.Errorf("a file still holds %q of a submission that is deleted", answer)
		}
	}
	if n := w.left("cf.f.a.*"); n != 0 {
		t.Errorf("%d deliveries of it are still kept aside", n)
	}
}
