package events_test

import (
	"context"
	"sync"
	"testing"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

const hooksAt = "https://hooks.example.com"

// age lets it be longer ago that form f was watched.
func (k *kept) age(by time.Duration) {
	k.t.Helper()
	_, err := k.log.UpdateForm(k.t.Context(), "f", func(f *logv1.Form) bool {
		f.WatchTime.Seconds -= int64(by / time.Second)
		return true
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

// form returns what is known of form f.
func (k *kept) form() *logv1.Form {
	k.t.Helper()
	f, err := k.log.Form(k.t.Context(), "f")
	if err != nil {
		k.t.Fatal(err)
	}
	return f
}

// abandoned lets the keeper look at form f and waits until it knows it no more.
func (k *kept) abandoned() {
	k.t.Helper()
	k.keeper.Check("f")
	for deadline := time.Now().Add(10 * time.Second); k.keeper.Knows("f"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatalf("the form is still known: %+v", k.keeper.States())
		}
	}
}

// second returns another keeper of the same log, as another replica has one.
func (k *kept) second(url string) *kept {
	k.t.Helper()
	other := &kept{world: k.world, tally: k.tally, passed: make(chan struct{}, 100)}
	other.keep(url)
	k.t.Cleanup(func() { other.stop() })
	return other
}

// A form that nobody has watched for long is forgotten, and its webhook with it.
func TestAbandon(t *testing.T) { onEach(t, testAbandon) }

func testAbandon(t *testing.T, on engine) {
	k := newKept(t, on, "https://hooks.example.com")
	k.begin()
	k.add(delivered("f", "a"), events.Stored)
	before, err := k.log.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.age(25 * time.Hour)
	k.abandoned()
	if forms, err := k.log.Forms(t.Context()); len(forms) > 0 || err != nil || len(k.tally.hooks) > 0 {
		t.Errorf("left are forms %q, webhooks %v, %v", forms, k.tally.hooks, err)
	}
	// Whoever comes back has missed what came while nobody kept a log, and must hear of it.
	k.begin()
	if left, err := k.log.Left(t.Context(), []string{"f"}, before); err != nil || left == before {
		t.Errorf("Left(%v) = %v, %v, want that the token is too old", before, left, err)
	}
	k.want()
	after, err := k.log.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := k.log.Left(t.Context(), []string{"f"}, after); err != nil || left != after {
		t.Errorf("Left(%v) = %v, %v, want the same", after, left, err)
	}
	k.add(delivered("f", "b"), events.Stored)
	k.want("f 2 b") // no number is used twice
	if len(k.gaps) > 0 {
		t.Errorf("gaps told are %q, want none", k.gaps)
	}
}

// What one replica has abandoned the others forget: they do not bring it back, and whoever watches it later begins its log anew.
func TestAbandonedElsewhere(t *testing.T) { onEach(t, testAbandonedElsewhere) }

func testAbandonedElsewhere(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	k.begin()
	k.tally.submit("a", time.Now().Add(time.Minute))
	k.check()
	k.want("f 1 a")
	other := k.second(hooksAt)
	other.pass()
	k.age(25 * time.Hour)
	k.abandoned()
	other.abandoned()
	if forms, err := k.log.Forms(t.Context()); len(forms) > 0 || err != nil || len(k.tally.hooks) > 0 || len(other.passed) > 0 {
		t.Errorf("left are forms %q, webhooks %v, %v, and %d comparisons", forms, k.tally.hooks, err, len(other.passed))
	}
	k.want()
	other.begin()
	if f := k.form(); f.GetBeginTime() == nil || f.GetWatchTime() == nil || len(k.tally.hooks) != 1 {
		t.Errorf("a log that begins anew is known as %v, with webhooks %v", f, k.tally.hooks)
	}
}

// Whose log is closed elsewhere while somebody watches here begins it anew.
func TestAbandonedElsewhereInUse(t *testing.T) { onEach(t, testAbandonedElsewhereInUse) }

func testAbandonedElsewhereInUse(t *testing.T, on engine) {
	k := newKept(t, on, "")
	k.begin()
	k.stop()
	k.keep("") // which does not remember that it was told
	k.pass()
	k.watch(events.Place{}, "f")
	if err := k.log.Remove(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	k.check()
	if f := k.form(); f.GetBeginTime() == nil || f.GetWatchTime() == nil {
		t.Errorf("the form is known as %v, want that its log has begun", f)
	}
}

// Whoever comes while Tally is told to forget the webhook finds the log as it was, and the webhook is made again.
func TestAbandonIsOvertaken(t *testing.T) { onEach(t, testAbandonIsOvertaken) }

func testAbandonIsOvertaken(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	k.begin()
	k.tally.submit("a", time.Now().Add(time.Minute))
	k.check()
	k.stop()
	k.age(25 * time.Hour)
	before := k.form().GetBeginTime().AsTime()
	var told sync.Once
	k.tally.removing = func() {
		told.Do(func() {
			if err := k.keeper.Watching(context.Background(), []string{"f"}); err != nil {
				t.Error(err)
			}
		})
	}
	k.keep(hooksAt)
	k.pass()
	if f := k.form(); !f.GetBeginTime().AsTime().Equal(before) || !k.keeper.Knows("f") {
		t.Errorf("the form is known as %v, want a log since %v", f, before)
	}
	if len(k.tally.hooks) != 1 || k.tally.made != 2 {
		t.Errorf("webhooks are %v after %d were made, want another one", k.tally.hooks, k.tally.made)
	}
	k.want("f 1 a")
}

// However short the time is that logs live, a note that a form is watched is never as old.
func TestShortRetentionInUse(t *testing.T) { onEach(t, testShortRetentionInUse) }

func testShortRetentionInUse(t *testing.T, on engine) {
	k := newKept(t, on, "")
	for _, retention := range []time.Duration{4, 40 * time.Minute} {
		for range 2 {
			config := k.keeperConfig("")
			config.Retention = retention
			keeper := events.NewKeeper(config)
			if err := keeper.Watching(t.Context(), []string{"f"}); err != nil {
				t.Fatal(err)
			}
			if age := time.Since(k.form().GetWatchTime().AsTime()); age > time.Minute {
				t.Errorf("with a retention of %v the note that a form is watched is %v old", retention, age)
			}
			k.age(11 * time.Minute)
		}
	}
}

// As long as somebody watches, the other replicas can see it.
func TestWatchersAreNoted(t *testing.T) { onEach(t, testWatchersAreNoted) }

func testWatchersAreNoted(t *testing.T, on engine) {
	k := newKept(t, on, "")
	k.begin()
	k.stop()
	k.watch(events.Place{}, "f")
	k.age(25 * time.Hour)
	k.keep("")
	k.pass()
	if age := time.Since(k.form().GetWatchTime().AsTime()); age > time.Minute {
		t.Errorf("the note that the form is watched is %v old", age)
	}
}
