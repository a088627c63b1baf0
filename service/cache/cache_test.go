package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestFresh(t *testing.T) {
	for _, tt := range []struct {
		name       string
		age        time.Duration
		fresh      time.Duration
		wantSource Source
	}{
		{name: "new", age: 0, fresh: time.Second, wantSource: Stored},
		{name: "just old enough", age: 10 * time.Second, fresh: 10 * time.Second, wantSource: Stored},
		{name: "too old for this caller", age: 10*time.Second + 1, fresh: 10 * time.Second, wantSource: Fetched},
		{name: "none will do", age: 0, fresh: 0, wantSource: Fetched},
		{name: "kept to the end", age: time.Minute - 1, fresh: time.Hour, wantSource: Stored},
		{name: "kept no longer", age: time.Minute, fresh: time.Hour, wantSource: Fetched},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ask, wantBody, wantAge := newStore(t), kept(), "new", time.Duration(0)
				get(t, s, ask, fetch("old"))
				time.Sleep(tt.age)
				ask.Fresh = tt.fresh
				if tt.wantSource == Stored {
					wantBody, wantAge = "old", tt.age
				}
				r := get(t, s, ask, fetch("new"))
				want(t, r, wantBody, tt.wantSource)
				if r.answer.Age != wantAge {
					t.Errorf("Get() is %v old, want %v", r.answer.Age, wantAge)
				}
			})
		})
	}
}

func TestKeep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		keeps []time.Duration
		after time.Duration
		want  bool
	}{
		{name: "not at all", keeps: []time.Duration{0}, after: 0},
		{name: "a while", keeps: []time.Duration{time.Minute}, after: 59 * time.Second, want: true},
		{name: "longer with the next", keeps: []time.Duration{time.Second, time.Minute}, after: 59 * time.Second, want: true},
		{name: "shorter with the next", keeps: []time.Duration{time.Minute, time.Second}, after: time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ask := newStore(t), kept()
				ask.KeepError = func(err error) time.Duration {
					t.Errorf("KeepError(%v) was called, want it not to be for an answer", err)
					return 0
				}
				for _, keep := range tt.keeps {
					ask.Fresh, ask.Keep = 0, keep
					get(t, s, ask, fetch("body"))
				}
				time.Sleep(tt.after)
				if _, found, _ := s.Lookup(blocks, time.Hour); found != tt.want {
					t.Errorf("Lookup() after %v = %v, want %v", tt.after, found, tt.want)
				}
			})
		})
	}
}

func TestLongestKeepCounts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		keeps [2]time.Duration
	}{
		{name: "the leader's", keeps: [2]time.Duration{time.Minute, 0}},
		{name: "a follower's", keeps: [2]time.Duration{0, time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g := newStore(t), newGate()
				var results [2]<-chan got
				for i, keep := range tt.keeps {
					ask := kept()
					ask.Keep = keep
					results[i] = begin(t.Context(), s, ask, g.fetch)
					synctest.Wait()
				}
				g.pass <- "body"
				<-results[0]
				<-results[1]
				want(t, get(t, s, kept(), never(t)), "body", Stored)
			})
		})
	}
}

func TestErrors(t *testing.T) {
	missing := errors.New("missing")
	for _, tt := range []struct {
		name      string
		keep      time.Duration
		keepError func(error) time.Duration
		after     time.Duration
		want      bool
	}{
		{name: "forgotten unless told", keep: time.Minute},
		{name: "forgotten if told", keep: time.Minute, keepError: func(error) time.Duration { return 0 }},
		{name: "remembered", keep: time.Minute, keepError: func(error) time.Duration { return 5 * time.Second }, after: 5*time.Second - 1, want: true},
		{name: "no longer than told", keep: time.Minute, keepError: func(error) time.Duration { return 5 * time.Second }, after: 5 * time.Second},
		{name: "no longer than an answer", keep: time.Second, keepError: func(error) time.Duration { return time.Minute }, after: time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ask := newStore(t), kept()
				ask.Keep, ask.KeepError = tt.keep, tt.keepError
				if r := get(t, s, ask, func(context.Context) ([]byte, error) { return nil, missing }); !errors.Is(r.err, missing) {
					t.Errorf("Get() = %v, want %v", r.err, missing)
				}
				time.Sleep(tt.after)
				answer, found, err := s.Lookup(blocks, time.Hour)
				if found != tt.want || errors.Is(err, missing) != tt.want || found && answer.Age != tt.after {
					t.Errorf("Lookup() = %+v, %v, %v after %v, want found: %v", answer, found, err, tt.after, tt.want)
				}
			})
		})
	}
}

func TestTooLargeIsNotStored(t *testing.T) {
	for _, tt := range []struct {
		name       string
		bound      int64
		size       int
		wantStored bool
	}{
		{name: "less than an eighth", bound: 1 << 20, size: 120 << 10, wantStored: true},
		{name: "more", bound: 1 << 20, size: 1 << 17},
		{name: "no store", bound: 0, size: 0},
		{name: "less than none", bound: -1, size: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(tt.bound)
			defer s.Close()
			get(t, s, kept(), fetch(string(make([]byte, tt.size))))
			if _, found, _ := s.Lookup(blocks, time.Hour); found != tt.wantStored {
				t.Errorf("Lookup() found %d of %d bytes: %v, want %v", tt.size, tt.bound, found, tt.wantStored)
			}
		})
	}
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestBytesAreBounded fills a store with several times its bound, and compares what it says with what it costs.
func TestBytesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		body int
	}{
		{name: "tiny", body: 16},
		{name: "small", body: 1 << 10},
		{name: "large", body: 200 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const bound = 4 << 20
			before := heap()
			s := New(bound)
			defer s.Close()
			for i := range 3 * bound / (tt.body + overhead) {
				key := Key{Account: "acme", Method: "GetForm", Request: fmt.Sprint("form", i)}
				get(t, s, Ask{Key: key, Path: "/forms/" + key.Request, Keep: time.Hour}, func(context.Context) ([]byte, error) {
					return make([]byte, tt.body), nil
				})
			}
			stats, cost := s.Stats(), heap()-before
			if stats.Bytes > bound || stats.Bytes < bound/2 || cost > bound*5/4 {
				t.Errorf("%d entries are %d bytes and cost %d, want at most %d", stats.Entries, stats.Bytes, cost, bound)
			}
		})
	}
}

func TestEmptyStoreCostsLittle(t *testing.T) {
	before, goroutines := heap(), runtime.NumGoroutine()
	s := New(1 << 30)
	if cost := heap() - before; cost > 128<<10 {
		t.Errorf("an empty store costs %d bytes, want at most 128 KiB", cost)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 1 {
		t.Errorf("an empty store runs %d goroutines, want at most 1", more)
	}
	s.Close()
}

// TestExpiredAnswersGo shows that nobody needs to call for an answer's memory to be given back.
func TestExpiredAnswersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		get(t, s, kept(), fetch("body"))
		if stats := s.Stats(); stats.Entries != 1 {
			t.Errorf("Stats() = %+v, want 1 entry", stats)
		}
		time.Sleep(time.Minute + 5*time.Second)
		synctest.Wait()
		if stats := s.Stats(); stats.Entries != 0 || stats.Bytes != 0 {
			t.Errorf("Stats() = %+v, want no entries and no bytes", stats)
		}
	})
}

func TestCloseWaitsForFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end, ended := New(1<<20), make(chan struct{}), false
		ctx, cancel := context.WithCancel(t.Context())
		left := begin(ctx, s, kept(), func(context.Context) ([]byte, error) {
			<-end
			ended = true
			return nil, nil
		})
		synctest.Wait()
		cancel()
		<-left
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			s.Close()
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close() has returned while a flight was under way")
		default:
		}
		close(end)
		<-closed
		if !ended {
			t.Error("the flight has not ended")
		}
	})
}
