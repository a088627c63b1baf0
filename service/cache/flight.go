package cache

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// PanicError is the panic of a fetch as an error for each participant, so that each can panic with it where somebody recovers.
type PanicError struct {
	// Value is what the fetch panicked with; nil if it ended its goroutine instead.
	Value any
	// Stack is the text of the fetch's stack.
	Stack string
}

// Error returns the value as text, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("fetch panicked: %v", e.Value) }

// flight is one fetch and those who wait for it.
type flight struct {
	key  Key
	path string
	// ctx has the values of the first participant's context; cancel is called when the last one leaves.
	ctx    context.Context //nolint:containedctx // it is the flight's own, and outlives each participant's call
	cancel context.CancelFunc

	// The store's mu guards these.
	participants int
	airborne     bool
	keep         time.Duration

	// landed is closed when body and err are there.
	landed chan struct{}
	body   []byte
	err    error
}

// board makes the caller a participant of the flight for its key, a new one if there is none to join. It returns no flight but the
// answer if a flight has landed since the caller looked.
func (s *Store) board(ctx context.Context, ask Ask) (*flight, Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.flights[ask.Key]; ok && !ask.Alone {
		f.participants++
		return f, Answer{}, nil
	}
	if answer, found, err := s.lookup(ask); found {
		return nil, answer, err
	}
	f := &flight{key: ask.Key, path: ask.Path, participants: 1, landed: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// One who wants to be alone takes the place of the flight under way, which then stores nothing: the newer answer counts.
	s.flights[f.key] = f
	return f, Answer{}, nil
}

// takeOff starts the fetch, unless another participant has. So nobody whom Join turns away starts one.
func (s *Store) takeOff(f *flight, ask Ask, fetch func(context.Context) ([]byte, error)) Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.keep = max(f.keep, ask.Keep)
	if f.airborne {
		s.shared.Add(1)
		return Shared
	}
	f.airborne = true
	s.misses.Add(1)
	s.running.Go(func() { s.fly(f, ask.KeepError, fetch) })
	return Fetched
}

// fly runs the fetch and lands whatever becomes of it, also if it panics or ends its goroutine.
func (s *Store) fly(f *flight, keepError func(error) time.Duration, fetch func(context.Context) ([]byte, error)) {
	errorFor, returned := time.Duration(0), false
	defer func() {
		if !returned {
			f.body, f.err, errorFor = nil, &PanicError{Value: recover(), Stack: string(debug.Stack())}, 0
		}
		s.land(f, errorFor)
	}()
	f.body, f.err = fetch(f.ctx)
	if f.err != nil && keepError != nil {
		errorFor = keepError(f.err)
	}
	returned = true
}

// land stores what the flight brought, if the flight is still good, and gives it to the participants.
func (s *Store) land(f *flight, errorFor time.Duration) {
	defer close(f.landed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[f.key] != f {
		return
	}
	delete(s.flights, f.key)
	kept := &stored{path: f.path, body: f.body, err: f.err, arrived: time.Now(), keep: f.keep}
	if f.err != nil {
		kept.keep = min(f.keep, errorFor)
	}
	if kept.keep > 0 && weight(f.key, kept) <= s.largest {
		s.answers.Set(f.key, kept)
	}
}

// leave ends one participation, and the flight with the last: whoever comes then starts a new one.
func (s *Store) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.participants--
	if f.participants > 0 {
		return
	}
	f.cancel()
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	}
}
