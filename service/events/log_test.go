package events_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

// What is told again is stored once: at once, after a restart, from another source and after its deletion.
func TestOnce(t *testing.T) { onEach(t, testOnce) }

func testOnce(t *testing.T, on engine) {
	w := newWorld(t, on)
	changed := delivered("f", "a")
	changed.Delivery = delivery("f", "a", "something else")
	reconciled := events.News{Form: "f", Submission: "a", Source: logv1.Source_SOURCE_RECONCILED, Reconciled: []byte("x")}
	deleted := events.News{Form: "f", Submission: "a", Source: logv1.Source_SOURCE_CALLER, Deleted: true}

	w.add(delivered("f", "a"), events.Stored)
	w.add(delivered("f", "a"), events.Known)
	w.add(changed, events.Conflicting)
	w.add(reconciled, events.Known)
	w.reopen()
	w.add(delivered("f", "a"), events.Known)
	w.add(delivered("g", "a"), events.Stored)
	w.add(deleted, events.Stored)
	w.add(deleted, events.Known)
	w.add(delivered("f", "a"), events.Gone)
	w.reopen()
	w.add(delivered("f", "a"), events.Gone)
	w.add(delivered("f", "b"), events.Stored)

	want := []string{"g 1 a", "f 2 deleted a", "f 3 b"}
	if got := w.next(w.watch(events.Place{}, "f", "g"), len(want)); !slices.Equal(got, want) {
		t.Errorf("the log says %q, want %q", got, want)
	}
}

// Many at once, each told by several at the same time, are stored once each and numbered without a gap.
func TestParallel(t *testing.T) { onEach(t, testParallel) }

func testParallel(t *testing.T, on engine) {
	w := newWorld(t, on)
	const forms, each, tellers = 3, 100, 3
	var stored, running sync.WaitGroup
	results := make(chan events.Result, forms*each*tellers)
	for k := range forms * each * tellers {
		stored.Add(1)
		running.Go(func() {
			defer stored.Done()
			i := k % (forms * each)
			result, err := w.log.Add(t.Context(), delivered(fmt.Sprintf("f%d", i%forms), fmt.Sprintf("s%d", i)))
			if err != nil {
				t.Errorf("Add() = %v", err)
			}
			results <- result
		})
	}
	running.Wait()
	close(results)
	counts := map[events.Result]int{}
	for r := range results {
		counts[r]++
	}
	if counts[events.Stored] != forms*each {
		t.Errorf("%d were stored, want %d", counts[events.Stored], forms*each)
	}
	for f := range forms {
		form := fmt.Sprintf("f%d", f)
		got := w.next(w.watch(events.Place{}, form), each)
		for i, event := range got {
			var sequence int
			var submission string
			if _, err := fmt.Sscanf(event, form+" %d %s", &sequence, &submission); err != nil || sequence != i+1 {
				t.Fatalf("event %d of %s is %q", i+1, form, event)
			}
		}
	}
}

// A reader that stops behind any event and goes on from there, in this process or in the next, misses nothing and sees nothing twice.
func TestResumeEverywhere(t *testing.T) { onEach(t, testResumeEverywhere) }

func testResumeEverywhere(t *testing.T, on engine) {
	w := newWorld(t, on)
	var want []string
	for i := range 40 {
		form := fmt.Sprintf("f%d", i%3)
		w.add(delivered(form, fmt.Sprintf("s%d", i)), events.Stored)
		if i%3 != 2 {
			want = append(want, fmt.Sprintf("%s %d s%d", form, i/3+1, i))
		}
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.reopen()
		}
		at := events.Place{}
		for i := range want {
			c := w.watch(at, "f0", "f1")
			if got := w.next(c, 1); got[0] != want[i] {
				t.Fatalf("event %d is %q, want %q", i, got[0], want[i])
			}
			at = c.At()
		}
		// Behind the last there is nothing, until there is.
		c := w.watch(at, "f0", "f1")
		if r, err := c.Next(t.Context()); r != nil || err != nil {
			t.Errorf("Next() behind the last = %v, %v", r, err)
		}
	}
	c := w.watch(events.Place{}, "f0", "f1")
	if got := w.next(c, len(want)); !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
	w.add(delivered("f2", "other"), events.Stored)
	w.add(delivered("f1", "live"), events.Stored)
	if got := w.next(c, 1); got[0] != "f1 14 live" {
		t.Errorf("live event is %q", got[0])
	}
}

// What the engine has lost is told, once, whoever reads; what was deleted is not.
func TestGapIsTold(t *testing.T) { onEach(t, testGapIsTold) }

func testGapIsTold(t *testing.T, on engine) {
	w := newWorld(t, on)
	for i := range 6 {
		w.add(delivered("f", fmt.Sprint(i+1)), events.Stored)
	}
	w.add(events.News{Form: "f", Submission: "2", Source: logv1.Source_SOURCE_CALLER, Deleted: true}, events.Stored)
	if err := w.store.Erase(t.Context(), 4); err != nil { // nobody accounts for it
		t.Fatal(err)
	}
	if err := w.store.Erase(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	w.reopen() // what is in memory is not lost
	want := []string{"f 1 1", "f 3 3", "f lost 4-5", "f 6 6", "f 7 deleted 2"}
	at := events.Place{}
	var got []string
	for range want {
		c := w.watch(at, "f")
		got = append(got, w.next(c, 1)...)
		at = c.At()
	}
	if !slices.Equal(got, want) {
		t.Errorf("events one by one are %q, want %q", got, want)
	}
	if got := w.next(w.watch(events.Place{}, "f"), len(want)); !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
	if len(w.gaps) == 0 || w.gaps[0] != "f 4-5" {
		t.Errorf("gaps told are %q", w.gaps)
	}
}

// What was deleted is not handed out again to anybody, from memory or from the disk.
func TestErased(t *testing.T) { onEach(t, testErased) }

func testErased(t *testing.T, on engine) {
	w := newWorld(t, on)
	c := w.watch(events.Place{}, "f")
	w.add(delivered("f", "a"), events.Stored)
	w.add(delivered("f", "b"), events.Stored)
	w.next(c, 2)
	w.add(events.News{Form: "f", Submission: "a", Source: logv1.Source_SOURCE_CALLER, Deleted: true}, events.Stored)
	if got := w.next(c, 1); got[0] != "f 3 deleted a" {
		t.Errorf("a watcher hears %q", got[0])
	}
	want := []string{"f 2 b", "f 3 deleted a"}
	if got := w.next(w.watch(events.Place{}, "f"), 2); !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
	w.reopen()
	if got := w.next(w.watch(events.Place{}, "f"), 2); !slices.Equal(got, want) {
		t.Errorf("events after a restart are %q, want %q", got, want)
	}
}
