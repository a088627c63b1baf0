package quota

import (
	"context"
	"math"
	"slices"
	"time"
)

// predict returns how long a call that waits will have to, if nobody comes before it.
func (s *Scheduler) predict(w *waiter, now time.Time) time.Duration {
	wait := time.Duration(math.MaxInt64)
	for _, c := range w.callers {
		if at := slices.Index(c.queue, w); at >= 0 {
			wait = min(wait, s.predictAt(c, at, now))
		}
	}
	return wait
}

// predictAt returns how long the call at index of a caller's queue will have to wait.
func (s *Scheduler) predictAt(c *caller, index int, now time.Time) time.Duration {
	pace := s.pace(now)
	nth := c.ahead(index) + 1
	var paced time.Duration
	if c.Batch {
		people := 0
		for _, other := range s.people.waiting {
			people += len(other.queue)
		}
		first := max(s.lastBatch.Add(pace).Sub(now), 0)
		// After everybody, or by the part that batch calls have whoever waits.
		paced = min(first+time.Duration(people+nth-1)*pace, max(s.batchTurn(now).Sub(now), 0)+time.Duration(nth-1)*batchShare*pace)
		if people == 0 {
			paced = first + time.Duration(nth-1)*pace
		}
		nth += min(people, nth*(batchShare-1))
	} else {
		if len(s.batch.waiting) > 0 {
			nth += nth / (batchShare - 1)
		}
		level := min(s.burst.level, smallBurst(s.capacity(now)))
		paced = time.Duration(max(float64(nth)-level, 0) * float64(pace))
	}
	pause := max(s.brake.until.Sub(now), 0)
	return max(paced, pause, s.nthSlot(nth, now))
}

// nthSlot returns how long it takes until so many slots have been free.
func (s *Scheduler) nthSlot(nth int, now time.Time) time.Duration {
	free, _ := s.free(now)
	capacity := s.capacity(now)
	behind := nth - 1 - free
	if behind < 0 {
		return 0
	}
	turn := window + s.leastTrip()
	// With a margin that grew, more slots may be out than there are now.
	behind += max(s.flying+len(s.held)-capacity, 0)
	rounds := time.Duration(behind/capacity) * turn
	behind %= capacity
	if behind < len(s.held) {
		return rounds + s.held[behind].until.Sub(now)
	}
	return rounds + turn
}

// Wait returns how long a call of c would wait for a slot if it came now.
func (s *Scheduler) Wait(c Caller) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wait(c, time.Now())
}

func (s *Scheduler) wait(c Caller, now time.Time) time.Duration {
	who := s.caller(c)
	if s.waiting == 0 && !c.Batch && !s.brake.until.After(now) {
		if free, _ := s.free(now); free > 0 && !s.burst.ready(now, s.pace(now), s.capacity(now)).After(now) {
			return 0
		}
	}
	return s.predictAt(who, len(who.queue), now)
}

// Pace returns the time from one slot of a batch call to the next when nobody else wants one.
func (s *Scheduler) Pace() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pace(time.Now())
}

// group is those who want the answer to the same request.
type group struct {
	callers []Caller
	waiter  *waiter // the wait of its latest request
}

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
	wait := s.wait(c, now)
	if g.waiter != nil {
		if g.waiter.slot != nil {
			return nil
		}
		wait = min(wait, s.predict(g.waiter, now))
	}
	if deadline, ok := ctx.Deadline(); ok && wait > 0 && now.Add(wait+s.leastTrip()).After(deadline) {
		return &RefusedError{Caller: c.Name, Wait: wait}
	}
	if slices.ContainsFunc(g.callers, func(other Caller) bool { return other.Name == c.Name && other.Batch == c.Batch }) {
		return nil
	}
	g.callers = append(g.callers, c)
	if g.waiter != nil {
		s.caller(c).join(g.waiter)
		s.dispatch(now)
	}
	return nil
}

// Served reports whether the request of a context of NewGroup got a slot.
func (s *Scheduler) Served(of context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := groupOf(of)
	return g != nil && g.waiter != nil && g.waiter.slot != nil
}
