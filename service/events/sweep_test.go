package events_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

// old is a log that began ten days ago, with a submission a day from then on, numbered from 0: Tally lists two at a time.
func old(t *testing.T, on engine) *kept {
	t.Helper()
	k := newKept(t, on, "")
	k.stop()
	k.keepFor("", 30*24*time.Hour)
	k.begin()
	const days = 10
	k.change(func(f *logv1.Form) { f.BeginTime = timestamppb.New(time.Now().AddDate(0, 0, -days)) })
	for i := range days {
		id := fmt.Sprint(i)
		k.tally.submit(id, time.Now().AddDate(0, 0, i-days).Add(time.Hour))
		k.add(delivered("f", id), events.Stored)
	}
	k.change(func(f *logv1.Form) { f.SweepTime = nil })
	k.check()
	return k
}

// change changes what is kept of form f.
func (k *kept) change(change func(*logv1.Form)) {
	k.t.Helper()
	_, err := k.log.UpdateForm(k.t.Context(), "f", func(f *logv1.Form) bool {
		change(f)
		return true
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

// cost compares and returns how many lists that takes.
func (k *kept) cost() int {
	k.t.Helper()
	k.tally.mu.Lock()
	k.tally.lists = nil
	k.tally.mu.Unlock()
	k.check()
	k.tally.mu.Lock()
	defer k.tally.mu.Unlock()
	return len(k.tally.lists)
}

// takeUpTo lets retention take the entries of form f up to that of a submission.
func (k *kept) takeUpTo(submission string) {
	k.t.Helper()
	m, found, err := k.store.Last(k.t.Context(), "ev.f."+submission)
	if err != nil || !found {
		k.t.Fatalf("Last() = %v, %v", found, err)
	}
	if err := k.log.Retain(k.t.Context(), "f", m.Time.Add(time.Nanosecond)); err != nil {
		k.t.Fatal(err)
	}
	// As if it had come when it happened.
	k.change(func(f *logv1.Form) { f.Floor.Time = timestamppb.New(time.Now().AddDate(0, 0, -10)) })
}

// What retention takes does not make Tally's count look as if something had changed: a comparison goes on to read what is recent alone.
func TestRetentionIsCheap(t *testing.T) { onEach(t, testRetentionIsCheap) }

func testRetentionIsCheap(t *testing.T, on engine) {
	k := old(t, on)
	recent := k.cost()
	if recent > 2 {
		t.Fatalf("comparing an unchanged form takes %d lists, want those of two days: 2", recent)
	}
	k.add(events.News{Form: "f", Submission: "1", Source: logv1.Source_SOURCE_CALLER, Deleted: true}, events.Stored)
	k.tally.remove("1")
	k.check()
	for _, last := range []string{"2", "4"} {
		k.takeUpTo(last)
		if n := k.cost(); n != recent {
			t.Errorf("comparing after retention took some takes %d lists, want %d", n, recent)
		}
	}
	k.tally.remove("6")
	if n := k.cost(); n <= recent {
		t.Errorf("comparing after a deletion takes %d lists, want all", n)
	}
	if n := k.left("er.f.*.6"); n != 1 {
		t.Errorf("the deletion is noted %d times, want once", n)
	}
}

// A deletion that Tally's count hides, for something else came that nobody should log, is seen within a day.
func TestDailySweep(t *testing.T) { onEach(t, testDailySweep) }

func testDailySweep(t *testing.T, on engine) {
	k := old(t, on)
	k.tally.remove("3")
	k.tally.submit("before", time.Now().AddDate(0, 0, -20)) // of before the log began, and completed late
	k.check()
	if n := k.left("er.f.*.3"); n != 0 {
		t.Fatal("the deletion is seen at once: the test hides nothing")
	}
	k.change(func(f *logv1.Form) { f.SweepTime = timestamppb.New(time.Now().Add(-25 * time.Hour)) })
	k.check()
	if n := k.left("er.f.*.3"); n != 1 {
		t.Errorf("a deletion that the count hides is noted %d times after a day, want once", n)
	}
	const recent = 2
	if n := k.cost(); n > recent {
		t.Errorf("comparing after the sweep of the day takes %d lists, want %d at most", n, recent)
	}
}
