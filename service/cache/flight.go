package cache

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Ask is one caller's read.
type Ask struct {
	// Key names the answer, and Path what it tells of, such as "/forms/abc/blocks".
	Key  Key
	Path string
	// Fresh is how old a remembered answer may be; 0 for none at all.
	Fresh time.Duration
	// Keep is how long the answer may be remembered; 0 for not at all.
	Keep time.Duration
	// Alone tells that the caller wants an answer that was asked for after it came: it joins nobody's flight.
	Alone bool
	// Join is told of the flight's context before a caller waits for it, also before the one who began it does; an error turns that
	// caller away and nobody else. May be nil.
	Join func(flight context.Context) error
	// KeepError says how long an error may be remembered; 0 for not at all. May be nil.
	KeepError func(error) time.Duration
}

// flight is a request that callers wait for.
type flight struct {
	key    Key
	path   string
	ctx    context.Context //nolint:containedctx // the flight's own life, which outlasts each caller's
	cancel context.CancelFunc
	done   chan struct{}
	body   []byte // these two are set before done is closed
	err    error

	// Guarded by the store's mutex.
	aboard int
	keep   time.Duration
	stale  bool
}

// PanicError is a panic of a fetch, for the callers who waited for it.
type PanicError struct {
	// Value is the panic's, and Stack where it happened.
	Value any
	Stack []byte
}

// Error describes the panic for a log.
func (p *PanicError) Error() string { return fmt.Sprintf("%v\n%s", p.Value, p.Stack) }

// Get returns a remembered answer, or that of a flight that is under way, or else begins one: fetch runs once for all who ask for the
// same meanwhile, with the values of the first one's context, until the last of them is gone. It returns the error of fetch or of
// Join, a *PanicError, or the cause of ctx's end.
func (s *Store) Get(ctx context.Context, ask Ask, fetch func(ctx context.Context) ([]byte, error)) (Answer, error) {
	if !ask.Alone {
		if answer, err, found := s.Lookup(ask.Key, ask.Fresh); found {
			return answer, err
		}
	}
	f, source, stored := s.board(ctx, ask, fetch)
	if stored != nil {
		return Answer{Body: stored.body, Age: time.Since(stored.at), Source: Stored}, stored.err
	}
	defer s.leave(f)
	if ask.Join != nil {
		if err := ask.Join(f.ctx); err != nil {
			return Answer{}, err
		}
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		select {
		case <-f.done: // at the same moment
		default:
			return Answer{}, context.Cause(ctx)
		}
	}
	return Answer{Body: f.body, Source: source}, f.err
}

// board takes a caller aboard a flight, or returns what was remembered in the meantime.
func (s *Store) board(ctx context.Context, ask Ask, fetch func(context.Context) ([]byte, error)) (*flight, Source, *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[ask.Key]; f != nil && !ask.Alone {
		f.aboard++
		f.keep = max(f.keep, ask.Keep)
		s.shared.Add(1)
		return f, Shared, nil
	}
	if e, ok := s.stored.GetIfPresent(ask.Key); ok && !ask.Alone && time.Since(e.at) <= min(ask.Fresh, e.keep) {
		s.hits.Add(1)
		return nil, Stored, e
	}
	f := &flight{key: ask.Key, path: ask.Path, done: make(chan struct{}), aboard: 1, keep: ask.Keep}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.flights[ask.Key] = f
	s.fetched.Add(1)
	go s.fly(f, ask.KeepError, fetch)
	return f, Fetched, nil
}

// fly makes the request. Whoever waits for it, or the last of them who leaves, ends it.
func (s *Store) fly(f *flight, keepError func(error) time.Duration, fetch func(context.Context) ([]byte, error)) {
	defer f.cancel()
	f.body, f.err = survive(f.ctx, fetch)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	}
	keep := f.keep
	if f.err != nil {
		keep = 0
		if keepError != nil {
			keep = min(f.keep, keepError(f.err))
		}
	}
	if f.stale || f.aboard == 0 || keep <= 0 || int64(len(f.body)) > s.most/largest {
		return
	}
	s.stored.Set(f.key, &entry{body: f.body, err: f.err, path: f.path, at: time.Now(), keep: keep})
}

// survive turns a panic into an error: nobody above this goroutine would catch it.
func survive(ctx context.Context, fetch func(context.Context) ([]byte, error)) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fetch(ctx)
}

// leave lets a caller go. A flight without one is over: who comes then begins another.
func (s *Store) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.aboard--; f.aboard > 0 {
		return
	}
	f.cancel()
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	}
}
