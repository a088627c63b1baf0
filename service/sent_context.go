package service

import (
	"context"
	"sync"
)

// sentContext is a caller's context until the write has left; from then on nothing ends it but the write's own time limits.
type sentContext struct {
	context.Context //nolint:containedctx // it is one

	mu   sync.Mutex
	done chan struct{}
	err  error
	left bool
}

func newSentContext(ctx context.Context) *sentContext {
	s := &sentContext{Context: ctx, done: make(chan struct{})}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.left {
			s.err = ctx.Err()
			close(s.done)
		}
	})
	return s
}

// send tells that the write leaves; false when the caller has left before.
func (s *sentContext) send() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = s.err == nil
	return s.left
}

func (s *sentContext) sent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Done is closed when the caller leaves before the write does.
func (s *sentContext) Done() <-chan struct{} { return s.done }

// Err returns why Done is closed.
func (s *sentContext) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
