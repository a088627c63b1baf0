package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// window is the span in which Tally counts requests.
	window = time.Minute
	// late is how much longer a slot is held whose request got no answer: it may reach Tally after we gave it up.
	late = 10 * time.Second
	// unknownTrip stands for the round trip before the first is known: rather long, so that the first batch calls do not bunch.
	unknownTrip = 2 * time.Second
	// leastUse is the time in which a request to Tally can succeed at the very least.
	leastUse = 10 * time.Millisecond
	// batchShare is the part of the slots that batch calls get while people's calls wait as well: one in so many.
	batchShare = 10
	// backlogBurst is the part of the slots that may go at once while calls wait: one in so many. More would bunch up for good, and
	// who comes after the bunch would wait for a minute.
	backlogBurst = 50
)

// Config is what a Scheduler needs.
type Config struct {
	// Rate is how many requests a minute Tally grants; at least 1.
	Rate int
	// CallerQueue is how many calls of one caller may wait, and Queue how many of all; 0 for 200 and 2000.
	CallerQueue, Queue int
	// Log keeps the slots taken over a restart. Without one, or with a new one, the first minute is paced evenly, unless Unused tells
	// that the minute before the start saw no request.
	Log    *Log
	Unused bool
	// Waited is told of each slot how long its call waited; it must be quick. May be nil.
	Waited func(c Caller, wait time.Duration)
}

// Scheduler hands out slots. A slot is held until a minute after the response, so that no minute of Tally's, however it counts them,
// sees more requests than its rate. It is safe for concurrent use.
type Scheduler struct {
	config Config

	mu      sync.Mutex
	timer   *time.Timer
	pool    pool
	scratch []hold // for predictions
	callers map[callerKey]*caller
	people  class // interactive
	batch   class
	waiting int
	trips   trips
	brake   brake
}

// New returns a scheduler.
func New(config Config) *Scheduler {
	now := time.Now()
	s := &Scheduler{config: config, callers: map[callerKey]*caller{}}
	s.config.Rate = max(config.Rate, 1)
	if config.CallerQueue == 0 {
		s.config.CallerQueue = 200
	}
	if config.Queue == 0 {
		s.config.Queue = 2000
	}
	s.pool.burst = credit{level: float64(s.config.Rate), at: now}
	if !config.Unused && (config.Log == nil || config.Log.fresh) {
		s.pool.burst = credit{level: 1, at: now, coldUntil: now.Add(window)}
	}
	if config.Log != nil {
		for _, taken := range config.Log.taken {
			// Only the difference is the wall clock's, which may be set while we run. A request of just now may still arrive.
			s.pool.hold(hold{until: now.Add(taken.Sub(now) + window + late)})
		}
	}
	return s
}

// RefusedError is a call that got no slot.
type RefusedError struct {
	// Caller is who was refused.
	Caller string
	// Full tells that too many calls wait; else the slot would come after the call's deadline.
	Full bool
	// Wait is when a slot would come.
	Wait time.Duration
}

// Error says why.
func (e *RefusedError) Error() string {
	if e.Full {
		return fmt.Sprintf("too many calls of caller %q wait, a slot would come in %v", e.Caller, e.Wait)
	}
	return fmt.Sprintf("a slot for caller %q would come in %v, after the deadline", e.Caller, e.Wait)
}

// Take waits for a slot. It returns a *RefusedError at once when it is known that none comes in time, and the error of ctx when that
// is cancelled.
func (s *Scheduler) Take(ctx context.Context) (*Slot, error) {
	arrived := time.Now()
	w, err := s.enqueue(ctx, arrived)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.granted:
	case <-ctx.Done():
		if err := s.abandon(ctx, w); err != nil {
			return nil, err
		}
	}
	if w.refused != nil {
		return nil, w.refused
	}
	if s.config.Waited != nil {
		s.config.Waited(w.payer, time.Since(arrived))
	}
	return w.slot, nil
}

// enqueue lets a call wait in the queues of all who want its answer, unless it is known that no slot comes in time.
func (s *Scheduler) enqueue(ctx context.Context, now time.Time) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	callers := []Caller{CallerOf(ctx)}
	g := groupOf(ctx)
	if g != nil && len(g.callers) > 0 {
		callers = g.callers
	}
	if ctx.Err() != nil {
		return nil, gaveUp(ctx, callers[0], s.wait(callers[0], now))
	}
	w := &waiter{granted: make(chan struct{}), group: g}
	w.deadline, _ = ctx.Deadline()
	for _, c := range callers {
		s.caller(c).join(w)
	}
	s.waiting++
	if g != nil {
		g.callers, g.waiter = callers, w
	}
	s.dispatch(now)
	if w.waits() {
		if err := s.refusal(ctx, w, now); err != nil {
			s.forget(w)
			return nil, err
		}
	}
	return w, nil
}

// forget removes a call that waits.
func (s *Scheduler) forget(w *waiter) {
	w.leave()
	s.waiting--
	s.mind()
	if w.group != nil {
		w.group.waiter = nil
	}
}

// abandon ends the wait of a call whose context ended. A slot that came at the same moment is the call's all the same.
func (s *Scheduler) abandon(ctx context.Context, w *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.waits() {
		return nil
	}
	now := time.Now()
	wait := s.predict(w, now)
	s.forget(w)
	s.dispatch(now)
	return gaveUp(ctx, w.callers[0].Caller, wait)
}

// gaveUp returns the error of a call whose context ended before a slot came.
func gaveUp(ctx context.Context, c Caller, wait time.Duration) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &RefusedError{Caller: c.Name, Wait: wait}
	}
	return ctx.Err()
}

// refusal tells whether it is known already that no slot comes in time.
func (s *Scheduler) refusal(ctx context.Context, w *waiter, now time.Time) error {
	full := s.waiting > s.config.Queue ||
		!slices.ContainsFunc(w.callers, func(c *caller) bool { return len(c.queue) <= s.config.CallerQueue })
	if !full && w.deadline.IsZero() {
		return nil
	}
	wait := s.predict(w, now)
	if full || s.tooLate(ctx, now.Add(wait)) {
		return &RefusedError{Caller: w.callers[0].Name, Full: full, Wait: wait}
	}
	return nil
}

// tooLate tells whether a slot at a time to come is of no use for ctx: no answer is to be expected before its deadline.
func (s *Scheduler) tooLate(ctx context.Context, slot time.Time) bool {
	deadline, ok := ctx.Deadline()
	return ok && slot.Add(s.trips.usual()).After(deadline)
}
