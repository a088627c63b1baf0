package cache

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// overhead is what an entry costs beside its texts and its body, in bytes: see TestBytesAreBounded.
	overhead = 320
	// parts is how many answers of the largest size that is still stored fit in the bound: one huge list must not push out all others.
	parts = 8
)

// Key names an answer: the account whose key asks, the RPC, and the canonical bytes of its request.
type Key struct{ Account, Method, Request string }

// Ask is one caller's read.
type Ask struct {
	Key Key
	// Path is what the answer tells of, for example "/forms/abc/blocks", without a query. See Store.Drop.
	Path string
	// Fresh is how old a stored answer may be for this caller; 0: no stored one will do.
	Fresh time.Duration
	// Keep is how long the answer may be stored; 0: not at all. Of several participants the longest counts.
	Keep time.Duration
	// Alone asks for an answer that was asked for after this caller came: neither a stored one nor that of a flight under way will do.
	// Who comes later may join this caller's flight.
	Alone bool
	// Join is called for every participant of a flight before it waits, for the first one before the fetch begins, with the flight's
	// context. Its error turns this one participant away, and Get returns it. It may be nil.
	Join func(flight context.Context) error
	// KeepError tells for how long an error may be remembered, Keep at most; 0 is not at all. It may be nil: no error is remembered.
	KeepError func(err error) time.Duration
}

// Source tells where an answer comes from.
type Source int

// The sources.
const (
	// Stored answers were kept since an earlier fetch.
	Stored Source = iota + 1
	// Fetched answers were fetched by this very call.
	Fetched
	// Shared answers were fetched by another call under way.
	Shared
)

// Answer is what came.
type Answer struct {
	// Body is shared by all who got it and must not be changed.
	Body []byte
	// Age is the time since a stored answer arrived; 0 for others.
	Age    time.Duration
	Source Source
}

// Stats are a store's counts since it began; Entries and Bytes are those of now.
type Stats struct {
	Entries, Bytes int64
	// Hits were answered from the store, Misses led to a fetch, Shared took part in somebody else's, Dropped are answers that a Drop
	// took out of the store.
	Hits, Misses, Shared, Dropped int64
}

// stored is an answer, or an error, in the store; it never changes.
type stored struct {
	path    string
	body    []byte
	err     error
	arrived time.Time
	keep    time.Duration
}

func weight(key Key, answer *stored) int {
	// The capacity is what the body holds on to.
	return overhead + len(key.Account) + len(key.Method) + len(key.Request) + len(answer.path) + cap(answer.body)
}

// Store holds the answers and the flights under way. Make one with New.
type Store struct {
	answers *otter.Cache[Key, *stored]
	largest int

	// mu makes one step of a flight's landing (is it still good? then store) and one of a Drop. Lookup does without it.
	mu sync.Mutex
	// flights are those that may be joined and may store what they bring; a flight that is not in here any more can do neither.
	flights map[Key]*flight
	running sync.WaitGroup

	hits, misses, shared, dropped atomic.Int64
}

// New returns an empty store for about maxBytes bytes; with 0 it stores nothing and still shares fetches. Close it after use.
func New(maxBytes int64) *Store {
	return &Store{
		answers: otter.Must(&otter.Options[Key, *stored]{
			MaximumWeight: uint64(max(maxBytes, 1)),
			Weigher:       func(key Key, answer *stored) uint32 { return uint32(weight(key, answer)) }, //nolint:gosec // land stores none beyond largest
			ExpiryCalculator: otter.ExpiryWritingFunc(func(entry otter.Entry[Key, *stored]) time.Duration {
				return entry.Value.keep
			}),
			// Upkeep runs in the call that makes it necessary: the bound holds at once, and no goroutine is left behind.
			Executor: func(upkeep func()) { upkeep() },
		}),
		largest: int(min(maxBytes/parts, math.MaxInt32)),
		flights: map[Key]*flight{},
	}
}

// Close ends the store's own goroutine and waits for the flights under way; it comes after the last Get has returned.
func (s *Store) Close() {
	s.answers.StopAllGoroutines()
	s.running.Wait()
}

// Lookup returns the stored answer, or the remembered error, if there is one that is not older than fresh.
func (s *Store) Lookup(key Key, fresh time.Duration) (answer Answer, found bool, err error) {
	if fresh <= 0 {
		return Answer{}, false, nil
	}
	kept, ok := s.answers.GetIfPresent(key)
	if !ok {
		return Answer{}, false, nil
	}
	age := time.Since(kept.arrived)
	if age > fresh {
		return Answer{}, false, nil
	}
	s.hits.Add(1)
	return Answer{Body: kept.body, Age: age, Source: Stored}, true, kept.err
}

// Get answers from the store, from a flight under way, or by fetch, which then runs in a goroutine of its own, with the values of a
// participant's context but for as long as anybody waits. It returns fetch's error, Join's, a *PanicError if fetch panicked, or the
// cause of ctx's end; errors are shared, too. fetch may still run when Get has returned: for others, or until it heeds its context's end.
func (s *Store) Get(ctx context.Context, ask Ask, fetch func(ctx context.Context) ([]byte, error)) (Answer, error) {
	if answer, found, err := s.lookup(ask); found {
		return answer, err
	}
	if ctx.Err() != nil {
		return Answer{}, context.Cause(ctx)
	}
	f, answer, err := s.board(ctx, ask)
	if f == nil {
		return answer, err
	}
	defer s.leave(f)
	if ask.Join != nil {
		if err := ask.Join(f.ctx); err != nil { //nolint:contextcheck // what Join is told of is the flight
			return Answer{}, err
		}
	}
	source := s.takeOff(f, ask, fetch)
	select {
	case <-f.landed:
		return Answer{Body: f.body, Source: source}, f.err
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
}

func (s *Store) lookup(ask Ask) (answer Answer, found bool, err error) {
	if ask.Alone {
		return Answer{}, false, nil
	}
	return s.Lookup(ask.Key, ask.Fresh)
}

// Drop forgets what is stored about each path, about what lies below it, and about the collection that it lies in: of "/forms/a" also
// "/forms/a/blocks" and "/forms", but neither "/forms/ab" nor "/forms/b". "/" is everything. Flights under way about any of these keep
// their participants, but get no more of them and store nothing: who asks after Drop has returned gets what was fetched after it began.
func (s *Store) Drop(paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, f := range s.flights {
		if touched(f.path, paths) {
			delete(s.flights, key)
		}
	}
	for key, kept := range s.answers.All() {
		if !touched(kept.path, paths) {
			continue
		}
		if _, ok := s.answers.Invalidate(key); ok {
			s.dropped.Add(1)
		}
	}
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	return Stats{
		Entries: int64(s.answers.EstimatedSize()), Bytes: int64(min(s.answers.WeightedSize(), math.MaxInt64)),
		Hits: s.hits.Load(), Misses: s.misses.Load(), Shared: s.shared.Load(), Dropped: s.dropped.Load(),
	}
}
