package cache

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// someKeys stores answers and returns their keys.
func someKeys(b *testing.B, s *Store) []Key {
	b.Helper()
	keys := make([]Key, 64)
	for i := range keys {
		keys[i] = Key{Account: "acme", Method: "/tallyd.v1.FormService/ListBlocks", Request: strings.Repeat("x", 16) + fmt.Sprint(i)}
		if _, err := s.Get(b.Context(), Ask{Key: keys[i], Keep: time.Hour}, fetch("body")); err != nil {
			b.Fatal(err)
		}
	}
	return keys
}

func TestLookupAllocatesNothing(t *testing.T) {
	s := newStore(t)
	get(t, s, kept(), fetch("body"))
	if allocs := testing.AllocsPerRun(1000, func() { _, _, _ = s.Lookup(blocks, time.Hour) }); allocs != 0 {
		t.Errorf("Lookup() allocates %v times, want 0", allocs)
	}
}

func BenchmarkLookup(b *testing.B) {
	s := New(1 << 20)
	defer s.Close()
	keys := someKeys(b, s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, found, _ := s.Lookup(keys[i%len(keys)], time.Hour); !found {
				b.Error("Lookup() found nothing")
				return
			}
		}
	})
}

func BenchmarkGetStored(b *testing.B) {
	s := New(1 << 20)
	defer s.Close()
	keys := someKeys(b, s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			_, _ = s.Get(b.Context(), Ask{Key: keys[i%len(keys)], Fresh: time.Hour}, nil)
		}
	})
}

// BenchmarkFlight is a fetch of nothing by one caller: what a miss costs beside the fetch.
func BenchmarkFlight(b *testing.B) {
	s := New(1 << 20)
	defer s.Close()
	nothing := fetch("")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Get(b.Context(), Ask{Key: blocks}, nothing)
	}
}

// BenchmarkFollower is what one more participant of a flight costs, its goroutine included.
func BenchmarkFollower(b *testing.B) {
	s, g := New(1<<20), newGate()
	defer s.Close()
	var callers sync.WaitGroup
	b.ReportAllocs()
	for range b.N {
		callers.Go(func() { _, _ = s.Get(b.Context(), Ask{Key: blocks}, g.fetch) })
	}
	for s.misses.Load()+s.shared.Load() < int64(b.N) {
		runtime.Gosched()
	}
	g.pass <- "body"
	callers.Wait()
}

func BenchmarkDrop(b *testing.B) {
	s := New(64 << 20)
	defer s.Close()
	for i := range 10_000 {
		path := fmt.Sprintf("/forms/%d/blocks", i)
		_, _ = s.Get(b.Context(), Ask{Key: Key{Request: path}, Path: path, Keep: time.Hour}, fetch("body"))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Drop("/forms/none")
	}
}
