package events_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

// halving is a store whose disk fails in the middle of what it is asked.
type halving struct {
	*store.Store

	batches, erasures atomic.Int32 // that are yet to fail
}

// AppendAll leaves the first draft of a batch that fails, as the engine does.
func (h *halving) AppendAll(ctx context.Context, drafts []store.Draft) ([]uint64, error) {
	if h.batches.Add(-1) < 0 {
		return h.Store.AppendAll(ctx, drafts)
	}
	if _, err := h.Append(ctx, drafts[:1]); err != nil {
		return nil, err
	}
	return nil, store.ErrFull
}

// Erase takes nothing away where it fails.
func (h *halving) Erase(ctx context.Context, position uint64) error {
	if h.erasures.Add(-1) < 0 {
		return h.Store.Erase(ctx, position)
	}
	return store.ErrFull
}

// halve makes the disk of a world fail in the middle, and logs three submissions.
func (w *world) halve() *halving {
	w.t.Helper()
	w.begun("f")
	for _, id := range []string{"a", "b", "c"} {
		w.add(delivered("f", id), events.Stored)
	}
	w.log.Close()
	h := &halving{Store: w.store}
	w.log = events.OpenLog(h, slog.New(slog.DiscardHandler), events.Observer{Gap: func(string, uint64, uint64) { w.t.Error("an erased entry is told as lost") }})
	w.t.Cleanup(w.log.Close)
	return h
}

func deleted(submission string) events.News {
	return events.News{Form: "f", Submission: submission, Source: logv1.Source_SOURCE_CALLER, Deleted: true}
}

// wantErased demands that nothing is left of a form's submission b but that it was deleted.
func (w *world) wantErased() {
	w.t.Helper()
	messages, _, err := w.store.Read(w.t.Context(), store.Query{Filter: "ev.f.b"})
	if err != nil || len(messages) != 1 || messages[0].Position < 4 {
		w.t.Errorf("of the submission are left %d entries, %v, want the tombstone alone", len(messages), err)
	}
	marks, err := w.store.Subjects(w.t.Context(), "er.f.*.*")
	if want := []string{"er.f.2.b"}; err != nil || !slices.Equal(marks, want) {
		w.t.Errorf("marks are %q, %v, want %q", marks, err, want)
	}
	want := []string{"f 1 a", "f 3 c", "f 4 deleted b"}
	if got := w.next(w.watch(placeZero, "f"), len(want)); !slices.Equal(got, want) {
		w.t.Errorf("events are %q, want %q", got, want)
	}
}

// Row 92: the disk takes the tombstone of a deletion and then nothing more. Told again, the deletion is known, and the next walk does what
// is left of it, once.
func TestScrubMarks(t *testing.T) { onEach(t, testScrubMarks) }

func testScrubMarks(t *testing.T, on engine) {
	w := newWorld(t, on)
	h := w.halve()
	h.batches.Store(1)
	if _, err := w.log.Add(t.Context(), deleted("b")); err == nil {
		t.Fatal("Add() of half a deletion succeeds")
	}
	w.add(deleted("b"), events.Known)
	w.scrub(1 << 30)
	w.wantErased()
	before, err := w.store.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.scrub(1 << 30)
	if after, err := w.store.State(t.Context()); err != nil || after.Last != before.Last {
		t.Errorf("a walk through a whole log appends up to %d, %v, want nothing behind %d", after.Last, err, before.Last)
	}
	w.add(delivered("f", "d"), events.Stored)
}

// Row 92: what a deletion does not get to erase, a later walk of the same process does.
func TestScrubErasesLater(t *testing.T) { onEach(t, testScrubErasesLater) }

func testScrubErasesLater(t *testing.T, on engine) {
	w := newWorld(t, on)
	h := w.halve()
	s := events.NewScrub(events.ScrubConfig{Log: w.log, Retention: time.Hour, Bytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	h.erasures.Store(2)
	for walks := range 3 { // the first before the deletion, the second while the disk still fails
		if walks == 1 {
			w.add(deleted("b"), events.Stored)
		}
		if err := s.Walk(t.Context()); err != nil {
			t.Fatalf("Walk() = %v", err)
		}
	}
	w.wantErased()
}

// roomless is a store whose disk has room for nothing but what makes room.
type roomless struct{ *store.Store }

func (roomless) Room() error { return store.ErrFull }

// Row 92: on a full disk the log takes deletions, which make room, and nothing else, which would take it.
func TestFullTakesDeletions(t *testing.T) { onEach(t, testFullTakesDeletions) }

func testFullTakesDeletions(t *testing.T, on engine) {
	w := newWorld(t, on)
	w.halve()
	w.on(roomless{w.store})
	if got, err := w.log.Add(t.Context(), delivered("f", "d")); !errors.Is(err, store.ErrFull) {
		t.Errorf("Add() of a delivery = %v, %v, want ErrFull", got, err)
	}
	w.add(deleted("b"), events.Stored)
	w.wantErased()
}
