package events_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

// listing is a store that takes its time to list.
type listing struct {
	*store.Store

	release chan struct{}
}

func (l listing) Subjects(ctx context.Context, filter string) ([]string, error) {
	select {
	case <-l.release:
		return l.Store.Subjects(ctx, filter)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A large log takes a while to be listed after a start. What is told meanwhile is logged once all the same, and nothing waits.
func TestListingHoldsUpNothing(t *testing.T) {
	w := newWorld(t, embedded)
	for _, id := range []string{"a", "b"} {
		w.add(delivered("f", id), events.Stored)
	}
	w.log.Close()
	slow := listing{w.store, make(chan struct{})}
	w.log = events.OpenLog(slow, slog.New(slog.DiscardHandler), events.Observer{})
	t.Cleanup(w.log.Close)
	again := func(ids ...string) {
		for _, id := range ids {
			w.add(delivered("f", id), events.Known)
		}
	}
	again("a")
	w.add(delivered("f", "c"), events.Stored)
	again("c")
	close(slow.release)
	w.add(delivered("f", "d"), events.Stored)
	again("b", "c", "d")
}
