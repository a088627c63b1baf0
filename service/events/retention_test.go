package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
	w.log = events.OpenLog(s, w.logger, events.Observer{Gap: func(form string, first, last uint64) {
		w.t.Errorf("entries %d to %d of form %s are told as lost", first, last, form)
	}})
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

// asking is a store that counts how often it is asked for the mark of an erased entry.
type asking struct {
	*store.Store

	marks atomic.Int32
}

func (a *asking) Last(ctx context.Context, filter string) (store.Message, bool, error) {
	if strings.HasPrefix(filter, "er.") {
		a.marks.Add(1)
	}
	return a.Store.Last(ctx, filter)
}

// rest returns what a reader has left.
func (w *world) rest(r *events.Reader) (got []string) {
	w.t.Helper()
	for {
		next, err := r.Next(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if next == nil {
			return got
		}
		got = append(got, say(next))
	}
}

// A reader that retention overtakes has lost nothing, and does not ask for each entry where it is.
func TestRetainOvertakes(t *testing.T) { onEach(t, testRetainOvertakes) }

func testRetainOvertakes(t *testing.T, on engine) {
	w := newWorld(t, on)
	w.begun("f")
	a := &asking{Store: w.store}
	w.on(a)
	for i := range 30 {
		w.add(delivered("f", fmt.Sprint(i+1)), events.Stored)
	}
	m, found, err := w.store.Last(t.Context(), "ev.f.25")
	if err != nil || !found {
		t.Fatalf("Last() = %v, %v", found, err)
	}
	forms := []string{"f"} // so many that few entries of each are read at once
	for i := range 40 {
		forms = append(forms, fmt.Sprintf("other%d", i))
	}
	r, err := w.log.Read(t.Context(), events.Selection{Forms: forms}, placeZero)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		next, err := r.Next(t.Context())
		if err != nil || next == nil {
			t.Fatalf("Next() = %v, %v", next, err)
		}
		got = append(got, say(next))
	}
	if err := w.log.Retain(t.Context(), "f", m.Time.Add(time.Nanosecond)); err != nil {
		t.Fatal(err)
	}
	got = append(got, w.rest(r)...)
	want := []string{"f 1 1", "f 2 2", "f 3 3", "f 4 4", "f 5 5", "f 6 6", "f 7 7", "f 8 8", "f 26 26", "f 27 27", "f 28 28", "f 29 29", "f 30 30"}
	if !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
	if n := a.marks.Load(); n > 1 {
		t.Errorf("the store is asked for %d marks, want 1 at most", n)
	}
}

// Retention by size goes by when entries came. What happened before and comes later, as Tally repeats it, is logged; what was there once
// is not, nor what is older than Tally repeats.
func TestLateIsLogged(t *testing.T) { onEach(t, testLateIsLogged) }

func testLateIsLogged(t *testing.T, on engine) {
	w := newWorld(t, on)
	w.begun("f")
	at := func(submission string, ago time.Duration) events.News {
		news := delivered("f", submission)
		news.Time = time.Now().Add(-ago)
		return news
	}
	w.add(at("a", 20*time.Hour), events.Stored)
	w.add(at("b", 20*time.Hour), events.Stored)
	w.scrub(150)
	if n := w.left("ev.f.*"); n != 1 {
		t.Fatalf("left are %d entries, want 1: the test takes the other one", n)
	}
	w.add(at("late", 30*time.Hour), events.Stored)
	w.add(at("a", 20*time.Hour), events.Stale)
	w.add(at("ancient", 50*time.Hour), events.Stale)
	w.reopen()
	w.add(at("later", 30*time.Hour), events.Stored)
	w.add(at("ancient", 50*time.Hour), events.Stale)
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
