package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

var blocks = Key{Account: "acme", Method: "ListBlocks", Request: "abc"}

func newStore(t *testing.T) *Store {
	t.Helper()
	s := New(1 << 20)
	t.Cleanup(s.Close)
	return s
}

// kept asks for a minute-old answer at most and lets it be kept for a minute.
func kept() Ask {
	return Ask{Key: blocks, Path: "/forms/abc/blocks", Fresh: time.Minute, Keep: time.Minute}
}

// fetch brings the body at once.
func fetch(body string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(body), nil }
}

// never is a fetch that must not run.
func never(t *testing.T) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		t.Error("Get() fetched, want it not to")
		return nil, nil
	}
}

// gate is a fetch that waits until it is let through or its context ends, and counts.
type gate struct {
	pass  chan string
	calls atomic.Int64
}

func newGate() *gate { return &gate{pass: make(chan string)} }

func (g *gate) fetch(ctx context.Context) ([]byte, error) {
	g.calls.Add(1)
	select {
	case body := <-g.pass:
		return []byte(body), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type got struct {
	answer Answer
	err    error
}

// begin starts a Get and returns where its result will be.
func begin(ctx context.Context, s *Store, ask Ask, fetch func(context.Context) ([]byte, error)) <-chan got {
	results := make(chan got, 1)
	go func() {
		answer, err := s.Get(ctx, ask, fetch)
		results <- got{answer, err}
	}()
	return results
}

// want fails the test unless the result is the body from the source.
func want(t *testing.T, result got, wantBody string, wantSource Source) {
	t.Helper()
	if result.err != nil || string(result.answer.Body) != wantBody || result.answer.Source != wantSource {
		t.Errorf("Get() = %q from %v, %v, want %q from %v", result.answer.Body, result.answer.Source, result.err, wantBody, wantSource)
	}
}

// get is a Get that ends at once.
func get(t *testing.T, s *Store, ask Ask, fetch func(context.Context) ([]byte, error)) got {
	t.Helper()
	answer, err := s.Get(t.Context(), ask, fetch)
	return got{answer, err}
}
