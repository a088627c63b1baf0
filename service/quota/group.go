package quota

import (
	"context"
	"slices"
	"time"
)

// group is those who want the answer to the same request.
type group struct {
	callers []Caller
	waiter  *waiter // the wait of its latest request
}

// waits tells whether its request waits for a slot.
func (g *group) waits() bool { return g.waiter != nil && g.waiter.waits() }

type groupContext struct{}

// NewGroup returns a context for a request whose answer several callers may want. Its slots are paid by whose turn comes first among
// those who joined.
func NewGroup(ctx context.Context) context.Context {
	return context.WithValue(ctx, groupContext{}, &group{})
}

func groupOf(ctx context.Context) *group {
	g, _ := ctx.Value(groupContext{}).(*group)
	return g
}

// Join lets the caller of ctx wait for the request of a context of NewGroup. It returns a *RefusedError if it is known that the slot
// comes too late for ctx.
func (s *Scheduler) Join(of, ctx context.Context) error {
	g, c := groupOf(of), CallerOf(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if g.waiter == nil || g.waits() {
		wait := s.wait(c, now)
		if g.waits() {
			wait = min(wait, s.predict(g.waiter, now))
		}
		if wait > 0 && s.tooLate(ctx, now.Add(wait)) {
			return &RefusedError{Caller: c.Name, Wait: wait}
		}
	}
	if slices.ContainsFunc(g.callers, func(other Caller) bool { return other.Name == c.Name && other.Batch == c.Batch }) {
		return nil
	}
	// Who joins when the request has left may have to wait for the next one, should it be repeated.
	g.callers = append(g.callers, c)
	if g.waits() {
		s.caller(c).join(g.waiter)
		s.dispatch(now)
	}
	return nil
}

// Waiting reports whether the request of a context of NewGroup has yet to get a slot, and how long it will wait, or would.
func (s *Scheduler) Waiting(of context.Context) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, now := groupOf(of), time.Now()
	switch {
	case g == nil || (g.waiter != nil && !g.waits()):
		return 0, false
	case g.waiter != nil:
		return s.predict(g.waiter, now), true
	}
	wait := time.Duration(0)
	for i, c := range g.callers {
		if own := s.wait(c, now); i == 0 || own < wait {
			wait = own
		}
	}
	return wait, true
}
