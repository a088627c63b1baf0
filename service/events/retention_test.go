package events_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

// unpurging is a store that fails to take away what is of one form.
type unpurging struct {
	*store.Store

	form  string
	fails atomic.Int32 // that are yet to come
}

func (u *unpurging) Purge(ctx context.Context, filter string, before uint64) error {
	if strings.HasPrefix(filter, "ev."+u.form+".") && u.fails.Add(-1) >= 0 {
		return store.ErrFull
	}
	return u.Store.Purge(ctx, filter, before)
}

// on lets a world's log lie in another store.
func (w *world) on(s events.Store) {
	w.t.Helper()
	w.log.Close()
	w.log = events.OpenLog(s, w.logger, events.Observer{})
	w.t.Cleanup(w.log.Close)
}

// left returns how many messages a filter matches.
func (w *world) left(filter string) int {
	w.t.Helper()
	subjects, err := w.store.Subjects(w.t.Context(), filter)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(subjects)
}

// What retention noted and did not come to take it takes the next time, also of a form to which nothing comes any more; and what fails for
// one form does not keep it from others.
func TestRetainTakesLater(t *testing.T) { onEach(t, testRetainTakesLater) }

func testRetainTakesLater(t *testing.T, on engine) {
	for name, test := range map[string]struct {
		retention time.Duration
		bytes     int64
		want      int // entries that are left
	}{
		"by age":  {time.Nanosecond, 1 << 30, 0},
		"by size": {time.Hour, 150, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, on)
			u := &unpurging{Store: w.store, form: "f"}
			u.fails.Store(1)
			w.on(u)
			for _, form := range []string{"f", "g"} {
				w.begun(form)
				w.add(delivered(form, "a"), events.Stored)
				w.add(delivered(form, "b"), events.Stored)
			}
			walk := func() error {
				return events.NewScrub(events.ScrubConfig{
					Log: w.log, Retention: test.retention, Bytes: test.bytes, Logger: slog.New(slog.DiscardHandler),
				}).Walk(t.Context())
			}
			if err := walk(); err == nil {
				t.Fatal("Walk() tells nobody that something is not taken away")
			}
			if f, g := w.left("ev.f.*"), w.left("ev.g.*"); f != 2 || g != test.want {
				t.Errorf("left are %d and %d entries, want 2 of the form that fails and %d of the other", f, g, test.want)
			}
			w.on(u) // the process that noted it is gone
			if err := walk(); err != nil {
				t.Errorf("Walk() = %v", err)
			}
			if n := w.left("ev.f.*"); n != test.want {
				t.Errorf("left are %d entries, want %d", n, test.want)
			}
		})
	}
}

// What one replica takes away no other one holds on to, in memory, nor lets come again.
func TestRetainEverywhere(t *testing.T) {
	worlds := pair(t)
	for _, w := range worlds {
		w.begun("f")
	}
	old := delivered("f", "a")
	old.Time = time.Now().Add(-time.Second)
	worlds[0].add(old, events.Stored)
	worlds[1].add(old, events.Known)
	worlds[0].add(delivered("f", "b"), events.Stored)
	watcher := worlds[1].watch(placeZero, "f")
	worlds[1].next(watcher, 2)
	cut := time.Now()
	for _, w := range worlds {
		if err := w.log.Retain(t.Context(), "f", cut); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := worlds[1].watch(placeZero, "f").Next(t.Context()); r != nil || err != nil {
		t.Errorf("the other replica hands out %v, %v, want nothing", r, err)
	}
	worlds[1].add(old, events.Stale)
}
