package events_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

// kept is a log with its keeper and a Tally.
type kept struct {
	*world

	tally  *pretended
	keeper *events.Keeper
	passed chan struct{} // a comparison has ended
	stop   func()

	secretAge time.Duration
}

func newKept(t *testing.T, on engine, url string) *kept {
	t.Helper()
	k := &kept{world: newWorld(t, on), tally: &pretended{}, passed: make(chan struct{}, 100), secretAge: 90 * day}
	k.keep(url)
	t.Cleanup(func() { k.stop() })
	return k
}

// keeperConfig is what a keeper needs.
func (k *kept) keeperConfig(url string) events.KeeperConfig {
	return events.KeeperConfig{
		Log: k.log, Hub: k.hub, Upstream: k.tally, PublicURL: url, Reconcile: time.Hour, Poll: time.Hour, Retention: 24 * time.Hour, SecretAge: k.secretAge,
		Found: func(string, int, int) { k.passed <- struct{}{} }, Logger: slog.New(slog.DiscardHandler),
	}
}

// keep runs a keeper.
func (k *kept) keep(url string) { k.keepFor(url, 24*time.Hour) }

// keepFor runs a keeper of events that are kept for a while.
func (k *kept) keepFor(url string, retention time.Duration) {
	config := k.keeperConfig(url)
	config.Retention = retention
	k.keeper = events.NewKeeper(config)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { k.keeper.Run(ctx) })
	k.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

// begin begins the log of form f and waits for the first comparison.
func (k *kept) begin() {
	k.t.Helper()
	if err := k.keeper.Watching(k.t.Context(), []string{"f"}); err != nil {
		k.t.Fatal(err)
	}
	k.pass()
}

// check compares and waits for the end of that.
func (k *kept) check() {
	k.t.Helper()
	for len(k.passed) > 0 {
		<-k.passed
	}
	k.keeper.Check("f")
	k.pass()
}

func (k *kept) pass() {
	k.t.Helper()
	select {
	case <-k.passed:
	case <-time.After(10 * time.Second):
		k.t.Fatalf("no comparison ends: %+v", k.keeper.States())
	}
}

// all returns all events of form f.
func (k *kept) all() []string {
	k.t.Helper()
	c := k.hub.Watch(events.Selection{Forms: []string{"f"}}, events.Place{})
	defer c.Close()
	var got []string
	for {
		r, err := c.Next(k.t.Context())
		if err != nil {
			k.t.Fatal(err)
		}
		if r == nil {
			return got
		}
		got = append(got, say(r))
	}
}

func (k *kept) want(want ...string) {
	k.t.Helper()
	got := k.all()
	for deadline := time.Now().Add(5 * time.Second); !slices.Equal(got, want) && time.Now().Before(deadline); got = k.all() {
		time.Sleep(time.Millisecond) // the reader of the process is a moment behind the writer
	}
	if !slices.Equal(got, want) {
		k.t.Errorf("the log says %q, want %q", got, want)
	}
}

// What Tally has and the log has not enters the log, whatever the reason; what was there before the log began does not.
func TestReconcile(t *testing.T) { onEach(t, testReconcile) }

func testReconcile(t *testing.T, on engine) {
	now := time.Now()
	k := newKept(t, on, "https://hooks.example.com")
	k.tally.submit("before", now.Add(-time.Hour))
	k.tally.partials = []events.Item{{ID: "late", Time: now.Add(-30 * time.Hour)}, {ID: "never", Time: now.Add(-31 * time.Hour)}}
	k.begin()
	k.want()

	k.tally.submit("a", now.Add(time.Minute))
	k.add(delivered("f", "a"), events.Stored)
	k.tally.submit("b", now.Add(2*time.Minute))
	k.check()
	k.want("f 1 a", "f 2 b")

	// A partial one that is completed lies far below the newest, where Tally counts by when it was begun.
	k.tally.submit("late", now.Add(-30*time.Hour))
	k.check()
	k.want("f 1 a", "f 2 b", "f 3 late")

	// Tally says itself what it did not deliver.
	k.tally.submit("c", now.Add(3*time.Minute))
	k.tally.failed = []string{"c", "a", "nosuch"}
	k.check()
	k.want("f 1 a", "f 2 b", "f 3 late", "f 4 c")

	k.tally.remove("b")
	k.check()
	k.want("f 1 a", "f 3 late", "f 4 c", "f 5 deleted b")

	k.tally.remove("before") // of no concern
	k.check()
	k.check()
	k.want("f 1 a", "f 3 late", "f 4 c", "f 5 deleted b")
}

// As long as Tally's count tells that nothing changed unseen, a comparison reads the recent submissions alone.
func TestReconcileIsCheap(t *testing.T) { onEach(t, testReconcileIsCheap) }

func testReconcileIsCheap(t *testing.T, on engine) {
	k := newKept(t, on, "")
	for i := range 9 {
		k.tally.submit(string(rune('a'+i)), time.Now().Add(-time.Hour))
	}
	k.begin()
	k.tally.lists = nil
	k.check()
	if n := len(k.tally.lists); n != 1 {
		t.Errorf("comparing an unchanged form takes %d lists, want 1: %v", n, k.tally.lists)
	}
}

// Tally lists deliveries by 25: only those are asked for that came since the comparison before.
func TestDeliveriesAreReadOnce(t *testing.T) { onEach(t, testDeliveriesAreReadOnce) }

func testDeliveriesAreReadOnce(t *testing.T, on engine) {
	k := newKept(t, on, "https://hooks.example.com")
	k.begin()
	begun := time.Now()
	k.check()
	k.check()
	if n := len(k.tally.asked); n != 2 || k.tally.asked[1].Before(begun.Add(-2*time.Minute)) {
		t.Errorf("deliveries were asked for from %v on, want twice, the last time from about %v on", k.tally.asked, begun)
	}
}

// A Tally that fails leaves the log as it is, says why, and is asked again.
func TestReconcileFails(t *testing.T) { onEach(t, testReconcileFails) }

func testReconcileFails(t *testing.T, on engine) {
	k := newKept(t, on, "")
	k.begin()
	k.tally.submit("a", time.Now().Add(time.Minute))
	k.tally.mu.Lock()
	k.tally.broken = errBroken
	k.tally.mu.Unlock()
	k.keeper.Check("f")
	for deadline := time.Now().Add(5 * time.Second); k.keeper.States()[0].Failure == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody hears of the failure")
		}
	}
	k.tally.mu.Lock()
	k.tally.broken = nil
	k.tally.mu.Unlock()
	k.check()
	k.want("f 1 a")
	k.keeper.Check("f") // the state changes behind the comparison that was waited for
	k.pass()
	if got := k.keeper.States()[0].Failure; got != "" {
		t.Errorf("failure is still %q", got)
	}
}

// What retention takes is no loss, is told to tokens from before, and does not come back.
func TestRetain(t *testing.T) { onEach(t, testRetain) }

func testRetain(t *testing.T, on engine) {
	k := newKept(t, on, "")
	k.begin()
	old := delivered("f", "old")
	old.Time = time.Now().Add(-time.Second)
	k.add(old, events.Stored)
	k.add(delivered("f", "b"), events.Stored)
	k.add(events.News{Form: "f", Submission: "old", Source: logv1.Source_SOURCE_CALLER, Deleted: true}, events.Stored)
	k.want("f 2 b", "f 3 deleted old")
	token := events.Place{Position: 1}
	cut := time.Now()
	if err := k.log.Retain(t.Context(), "f", cut); err != nil {
		t.Fatal(err)
	}
	k.want()
	k.add(old, events.Stale)
	k.tally.submit("old", old.Time)
	k.check()
	k.tally.submit("c", time.Now().Add(time.Minute))
	k.add(delivered("f", "c"), events.Stored)
	k.want("f 4 c")
	if left, err := k.log.Left(t.Context(), []string{"f"}, token); err != nil || left == token {
		t.Errorf("Left() = %v, %v, want that the token is too old", left, err)
	}
	k.stop()
	k.reopen()
	k.keep("")
	k.add(old, events.Stale)
	k.want("f 4 c")
	if len(k.gaps) > 0 {
		t.Errorf("gaps told are %q, want none", k.gaps)
	}
}
