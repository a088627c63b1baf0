package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// model is a source whose every fetch tells a higher number, and what must hold of the numbers.
type model struct {
	fetches atomic.Uint64
	// floors holds, for each path, the lowest number that a Get may bring that begins now.
	mu     sync.Mutex
	floors map[string]uint64
}

func (m *model) fetch(pause time.Duration) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		number := m.fetches.Add(1)
		select {
		case <-time.After(pause):
			return binary.BigEndian.AppendUint64(nil, number), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (m *model) floor(path string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.floors[path]
}

func (m *model) drop(s *Store, path string, covers []string) {
	next := m.fetches.Load() + 1
	s.Drop(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, covered := range covers {
		m.floors[covered] = max(m.floors[covered], next)
	}
}

// get is one random read, and what must hold of it.
func (m *model) get(t *testing.T, s *Store, random *rand.Rand, path string) {
	ask := Ask{Key: Key{Request: path}, Path: path, Alone: random.IntN(8) == 0}
	ask.Fresh, ask.Keep = time.Duration(random.IntN(50))*time.Millisecond, time.Duration(random.IntN(60))*time.Millisecond
	ctx, gone := context.Background(), errors.New("gone")
	if random.IntN(3) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(random.IntN(10))*time.Millisecond, gone)
		defer cancel()
	}
	pause := time.Duration(random.IntN(15)) * time.Millisecond
	floor := m.floor(path)
	if ask.Alone {
		floor = max(floor, m.fetches.Load()+1)
	}
	answer, err := s.Get(ctx, ask, m.fetch(pause))
	switch {
	case err != nil && (ctx.Err() == nil || !errors.Is(err, gone)):
		t.Errorf("Get(%q) = %v, want its own end at most", path, err)
	case err == nil && binary.BigEndian.Uint64(answer.Body) < floor:
		t.Errorf("Get(%q) = %d, want %d or later", path, binary.BigEndian.Uint64(answer.Body), floor)
	case err == nil && answer.Age > ask.Fresh:
		t.Errorf("Get(%q) is %v old, want %v at most", path, answer.Age, ask.Fresh)
	}
}

func TestRandomCallers(t *testing.T) {
	covers := map[string][]string{
		"/forms/a": {"/forms", "/forms/a", "/forms/a/blocks"}, "/forms/b": {"/forms", "/forms/b"},
		"/forms/a/blocks": {"/forms/a", "/forms/a/blocks"}, "/forms": {"/forms", "/forms/a", "/forms/a/blocks", "/forms/b"},
	}
	paths := []string{"/forms", "/forms/a", "/forms/a/blocks", "/forms/b"}
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			s, m := New(1<<20), &model{floors: map[string]uint64{}}
			var callers sync.WaitGroup
			for caller := range uint64(12) {
				random := rand.New(rand.NewPCG(seed, caller))
				callers.Go(func() {
					for range 150 {
						time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
						path := paths[random.IntN(len(paths))]
						if random.IntN(10) == 0 {
							m.drop(s, path, covers[path])
							continue
						}
						m.get(t, s, random, path)
					}
				})
			}
			callers.Wait()
			s.Close()
			if len(s.flights) != 0 {
				t.Errorf("%d flights are left, want 0", len(s.flights))
			}
		})
	}
}
