package cache

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Key names an answer: the account that asks, the RPC, and the canonical bytes of its request.
type Key struct{ Account, Method, Request string }

// Answer is what came.
type Answer struct {
	// Body is shared by all who got it and must not be changed.
	Body []byte
	// Age is how long ago it came from the source.
	Age time.Duration
	// Source is where this caller has it from.
	Source Source
}

// Source is where an answer comes from.
type Source int

// The sources.
const (
	// Fetched is a flight that this caller began.
	Fetched Source = iota
	// Shared is somebody else's flight.
	Shared
	// Stored is an answer of before.
	Stored
)

// entry is an answer, or an error, that is remembered.
type entry struct {
	body []byte
	err  error
	path string
	at   time.Time
	keep time.Duration
}

// entryCost is what an entry takes beside its texts, in bytes.
const entryCost = 256

// largest is the part of the whole that one answer may take: one in so many.
const largest = 8

// Store remembers answers and the flights under way. It is safe for concurrent use.
type Store struct {
	most   int64
	stored *otter.Cache[Key, *entry]

	mu      sync.Mutex // orders what is stored with what is forgotten
	flights map[Key]*flight

	hits, fetched, shared atomic.Int64
}

// New returns a store for answers of so many bytes in all.
func New(most int64) *Store {
	return &Store{
		most:    most,
		flights: map[Key]*flight{},
		stored: otter.Must(&otter.Options[Key, *entry]{
			MaximumWeight:    uint64(max(most, 1)),
			Weigher:          weigh,
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[Key, *entry]) time.Duration { return e.Value.keep }),
		}),
	}
}

func weigh(key Key, e *entry) uint32 {
	return uint32(len(key.Account) + len(key.Method) + len(key.Request) + len(e.body) + len(e.path) + entryCost) //nolint:gosec // bounded by largest
}

// Close ends what the store does in the background.
func (s *Store) Close() { s.stored.StopAllGoroutines() }

// Lookup returns an answer that is remembered and no older than fresh. An error that is remembered counts as found.
func (s *Store) Lookup(key Key, fresh time.Duration) (answer Answer, err error, found bool) { //nolint:revive // the error is the answer
	if fresh <= 0 {
		return Answer{}, nil, false
	}
	e, ok := s.stored.GetIfPresent(key)
	if !ok {
		return Answer{}, nil, false
	}
	age := time.Since(e.at)
	if age > fresh || age >= e.keep {
		return Answer{}, nil, false
	}
	s.hits.Add(1)
	return Answer{Body: e.body, Age: age, Source: Stored}, e.err, true
}

// Drop forgets what these paths tell of: answers about them, about all that lies below them, and about the collection that they lie
// in. What is under way about them is for those alone who wait for it already.
func (s *Store) Drop(paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, f := range s.flights {
		if touched(paths, f.path) {
			f.stale = true
			delete(s.flights, key)
		}
	}
	for key, e := range s.stored.All() {
		if touched(paths, e.path) {
			s.stored.Invalidate(key)
		}
	}
}

// touched reports whether an answer about path changes with one of the paths.
func touched(paths []string, path string) bool {
	for _, changed := range paths {
		below := strings.HasPrefix(path, changed) && (len(path) == len(changed) || path[len(changed)] == '/')
		collection := changed[:max(strings.LastIndexByte(changed, '/'), 0)]
		if below || path == collection {
			return true
		}
	}
	return false
}

// Stats is what a store did so far and holds now.
type Stats struct {
	// Hits are answers of before, Fetched flights, and Shared the calls that joined one.
	Hits, Fetched, Shared int64
	// Entries are remembered, in about so many Bytes.
	Entries int
	Bytes   uint64
}

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	return Stats{
		Hits: s.hits.Load(), Fetched: s.fetched.Load(), Shared: s.shared.Load(),
		Entries: s.stored.EstimatedSize(), Bytes: s.stored.WeightedSize(),
	}
}
