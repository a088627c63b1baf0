package quota

import (
	"context"
	"errors"
	"fmt"
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
	backlogBurst = 20
)

// Config is what a Scheduler needs.
type Config struct {
	// Rate is how many requests a minute Tally grants; at least 1.
	Rate int
	// Queue is how many calls of one caller may wait, and Queues how many of all; 0 for 200 and 2000.
	Queue, Queues int
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

	mu        sync.Mutex
	timer     *time.Timer
	flying    int    // slots whose request is under way
	held      []hold // slots that wait for their minute to end, the first to end first
	batchUsed int    // of both, those of batch calls
	callers   map[callerKey]*caller
	people    class // interactive
	batch     class
	waiting   int
	lastBatch time.Time
	burst     credit
	trips     trips
	brake     brake
}

type callerKey struct {
	name  string
	batch bool
}

// hold is a slot whose request was answered.
type hold struct {
	until  time.Time
	caller *caller // nil for one of an earlier process
}

// New returns a scheduler.
func New(config Config) *Scheduler {
	now := time.Now()
	s := &Scheduler{config: config, callers: map[callerKey]*caller{}}
	s.config.Rate = max(config.Rate, 1)
	if config.Queue == 0 {
		s.config.Queue = 200
	}
	if config.Queues == 0 {
		s.config.Queues = 2000
	}
	s.burst = credit{level: float64(s.config.Rate), at: now}
	if !config.Unused && (config.Log == nil || config.Log.fresh) {
		s.burst = credit{level: 1, at: now, coldUntil: now.Add(window)}
	}
	if config.Log != nil {
		for _, taken := range config.Log.taken {
			s.hold(hold{until: earliest(taken.Add(window+late), now.Add(window))})
		}
	}
	return s
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
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

// Slot is the right to make one request. Exactly one of its methods is to be called, once.
type Slot struct {
	scheduler *Scheduler
	caller    *caller
	since     time.Time
}

// Take waits for a slot. It returns a *RefusedError at once when it is known that none comes in time, and the error of ctx when that
// is cancelled.
func (s *Scheduler) Take(ctx context.Context) (*Slot, error) {
	arrived := time.Now()
	w := &waiter{granted: make(chan struct{})}
	s.mu.Lock()
	callers := s.enqueue(ctx, w)
	s.dispatch(arrived)
	if w.slot == nil {
		if err := s.refusal(ctx, w, arrived); err != nil {
			s.forget(ctx, w)
			s.mu.Unlock()
			return nil, err
		}
	}
	s.mu.Unlock()
	select {
	case <-w.granted:
	case <-ctx.Done():
		if err := s.abandon(ctx, w, callers); err != nil {
			return nil, err
		}
	}
	if s.config.Waited != nil {
		s.config.Waited(w.slot.caller.Caller, time.Since(arrived))
	}
	return w.slot, nil
}

// enqueue lets a call wait in the queues of all who want its answer.
func (s *Scheduler) enqueue(ctx context.Context, w *waiter) []Caller {
	callers := []Caller{CallerOf(ctx)}
	if g := groupOf(ctx); g != nil {
		g.waiter = w
		if len(g.callers) == 0 {
			g.callers = callers
		}
		callers = g.callers
	}
	for _, c := range callers {
		s.caller(c).join(w)
	}
	s.waiting++
	return callers
}

// forget removes a call that waits.
func (s *Scheduler) forget(ctx context.Context, w *waiter) {
	w.leave()
	s.waiting--
	if g := groupOf(ctx); g != nil {
		g.waiter = nil
	}
}

// abandon ends the wait of a call whose context ended. A slot that came at the same moment is the call's all the same.
func (s *Scheduler) abandon(ctx context.Context, w *waiter, callers []Caller) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.slot != nil {
		return nil
	}
	wait := s.predict(w, time.Now())
	s.forget(ctx, w)
	s.dispatch(time.Now())
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &RefusedError{Caller: callers[0].Name, Wait: wait}
	}
	return ctx.Err()
}

// refusal tells whether it is known already that no slot comes in time.
func (s *Scheduler) refusal(ctx context.Context, w *waiter, now time.Time) error {
	wait := s.predict(w, now)
	c := w.callers[0]
	if len(c.queue) > s.config.Queue || s.waiting > s.config.Queues {
		return &RefusedError{Caller: c.Name, Full: true, Wait: wait}
	}
	if deadline, ok := ctx.Deadline(); ok && now.Add(wait+s.leastTrip()).After(deadline) {
		return &RefusedError{Caller: c.Name, Wait: wait}
	}
	return nil
}

// caller returns the queue of a caller. What is said of its weight last counts.
func (s *Scheduler) caller(c Caller) *caller {
	key := callerKey{c.Name, c.Batch}
	known := s.callers[key]
	if known == nil {
		known = &caller{class: &s.people}
		if c.Batch {
			known.class = &s.batch
		}
		s.callers[key] = known
	}
	known.Caller = c
	return known
}
