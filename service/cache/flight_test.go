package cache

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestThousandAreOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := newStore(t), newGate()
		// Not even an answer that nobody may keep is fetched twice.
		ask := Ask{Key: blocks, Path: "/forms/abc/blocks"}
		var results []<-chan got
		for range 1000 {
			results = append(results, begin(t.Context(), s, ask, g.fetch))
		}
		synctest.Wait()
		g.pass <- "body"
		bodies, sources := map[*byte]int{}, map[Source]int{}
		for _, result := range results {
			r := <-result
			if r.err != nil {
				t.Fatalf("Get() = %v, want an answer", r.err)
			}
			bodies[&r.answer.Body[0]]++
			sources[r.answer.Source]++
		}
		if g.calls.Load() != 1 || len(bodies) != 1 || sources[Fetched] != 1 || sources[Shared] != 999 {
			t.Errorf("%d fetches, %d bodies, sources %v, want 1, 1, and 1 fetched for 999", g.calls.Load(), len(bodies), sources)
		}
		if stats := s.Stats(); stats.Misses != 1 || stats.Shared != 999 {
			t.Errorf("Stats() = %+v, want 1 miss and 999 shared", stats)
		}
	})
}

// TestNoGapBetweenFlightAndStore has callers who look just before an answer is stored and board just after.
func TestNoGapBetweenFlightAndStore(t *testing.T) {
	s := newStore(t)
	for round := range 2000 {
		ask := kept()
		ask.Key.Request = string(rune(round))
		var fetches atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				_, _ = s.Get(t.Context(), ask, func(context.Context) ([]byte, error) {
					fetches.Add(1)
					return nil, nil
				})
			})
		}
		callers.Wait()
		if fetches.Load() != 1 {
			t.Fatalf("round %d: %d fetches, want 1", round, fetches.Load())
		}
	}
}

func TestOtherKeysFlyAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  Key
	}{
		{name: "account", key: Key{"other", blocks.Method, blocks.Request}},
		{name: "method", key: Key{blocks.Account, "ListQuestions", blocks.Request}},
		{name: "request", key: Key{blocks.Account, blocks.Method, "abd"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g := newStore(t), newGate()
				first := begin(t.Context(), s, kept(), g.fetch)
				synctest.Wait()
				ask := kept()
				ask.Key = tt.key
				want(t, get(t, s, ask, fetch("mine")), "mine", Fetched)
				g.pass <- "first's"
				want(t, <-first, "first's", Fetched)
				want(t, get(t, s, ask, never(t)), "mine", Stored)
			})
		})
	}
}

func TestWhoLeavesLeavesAlone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		leaver int
	}{
		{name: "the leader", leaver: 0},
		{name: "a follower", leaver: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g, gone := newStore(t), newGate(), errors.New("gone")
				var results [3]<-chan got
				var cancels [3]context.CancelCauseFunc
				for i := range results {
					var ctx context.Context
					ctx, cancels[i] = context.WithCancelCause(t.Context())
					defer cancels[i](nil)
					results[i] = begin(ctx, s, kept(), g.fetch)
					synctest.Wait()
				}
				cancels[tt.leaver](gone)
				if r := <-results[tt.leaver]; !errors.Is(r.err, gone) {
					t.Errorf("Get() of who left = %v, want %v", r.err, gone)
				}
				synctest.Wait()
				g.pass <- "body"
				for i, result := range results {
					if i == tt.leaver {
						continue
					}
					if r := <-result; r.err != nil || string(r.answer.Body) != "body" {
						t.Errorf("Get() of who stayed = %q, %v, want %q", r.answer.Body, r.err, "body")
					}
				}
				if g.calls.Load() != 1 {
					t.Errorf("%d fetches, want 1", g.calls.Load())
				}
			})
		})
	}
}

func TestOwnDeadlineEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := newStore(t), newGate()
		leader := begin(t.Context(), s, kept(), g.fetch)
		synctest.Wait()
		late := errors.New("my deadline")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, late)
		defer cancel()
		began := time.Now()
		_, err := s.Get(ctx, kept(), never(t))
		if waited := time.Since(began); !errors.Is(err, late) || waited != 2*time.Second {
			t.Errorf("Get() = %v after %v, want %v after 2s", err, waited, late)
		}
		if _, err := s.Get(ctx, Ask{}, never(t)); !errors.Is(err, late) {
			t.Errorf("Get() with an ended context = %v, want %v", err, late)
		}
		g.pass <- "body"
		want(t, <-leader, "body", Fetched)
	})
}

// TestLastOneLeaves lets a caller come while a flight that everybody has left is still ending.
func TestLastOneLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		cancelled, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		slow := func(ctx context.Context) ([]byte, error) {
			defer close(ended)
			<-ctx.Done()
			close(cancelled)
			<-end
			return []byte("too late"), nil
		}
		var cancels []context.CancelFunc
		var results []<-chan got
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels, results = append(cancels, cancel), append(results, begin(ctx, s, kept(), slow))
			synctest.Wait()
		}
		for i, cancel := range cancels {
			cancel()
			if r := <-results[i]; !errors.Is(r.err, context.Canceled) {
				t.Errorf("Get() = %v, want %v", r.err, context.Canceled)
			}
		}
		<-cancelled
		g := newGate()
		next := begin(t.Context(), s, kept(), g.fetch)
		synctest.Wait()
		close(end)
		<-ended
		synctest.Wait()
		if stats := s.Stats(); stats.Entries != 0 {
			t.Errorf("Stats() = %+v, want nothing stored by the flight that was left", stats)
		}
		follower := begin(t.Context(), s, kept(), never(t))
		synctest.Wait()
		g.pass <- "new"
		want(t, <-next, "new", Fetched)
		want(t, <-follower, "new", Shared)
	})
}

type label struct{}

func TestFlightsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := newStore(t), newGate()
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), label{}, "first's"), time.Second)
		defer cancel()
		flights := make(chan context.Context, 1)
		first := begin(ctx, s, kept(), func(ctx context.Context) ([]byte, error) {
			flights <- ctx
			return g.fetch(ctx)
		})
		flight := <-flights
		second := begin(t.Context(), s, kept(), never(t))
		if _, has := flight.Deadline(); has || flight.Value(label{}) != "first's" {
			t.Errorf("the flight has a deadline: %v, value %v, want none and the first's", has, flight.Value(label{}))
		}
		synctest.Wait()
		cancel()
		<-first
		if flight.Err() != nil {
			t.Errorf("the flight's context ended with %v while somebody waits", flight.Err())
		}
		g.pass <- "body"
		<-second
		if flight.Err() == nil {
			t.Error("the flight's context has not ended after the last one has left")
		}
	})
}

func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, old, young := newStore(t), newGate(), newGate()
		alone := kept()
		alone.Alone = true
		first := begin(t.Context(), s, kept(), old.fetch)
		synctest.Wait()
		second := begin(t.Context(), s, alone, young.fetch)
		synctest.Wait()
		joins := begin(t.Context(), s, kept(), never(t))
		synctest.Wait()
		young.pass <- "young"
		want(t, <-second, "young", Fetched)
		want(t, <-joins, "young", Shared)
		old.pass <- "old"
		want(t, <-first, "old", Fetched)
		want(t, get(t, s, kept(), never(t)), "young", Stored)
		want(t, get(t, s, alone, fetch("younger")), "younger", Fetched)
		want(t, get(t, s, kept(), never(t)), "younger", Stored)
	})
}

func TestJoin(t *testing.T) {
	away := errors.New("turned away")
	refuse := func(context.Context) error { return away }
	t.Run("the only one", func(t *testing.T) {
		s, ask := newStore(t), kept()
		var flight context.Context
		ask.Join = func(ctx context.Context) error {
			flight = ctx
			return away
		}
		if _, err := s.Get(t.Context(), ask, never(t)); !errors.Is(err, away) {
			t.Errorf("Get() = %v, want %v", err, away)
		}
		if flight.Err() == nil {
			t.Error("the flight's context has not ended")
		}
		want(t, get(t, s, kept(), fetch("next")), "next", Fetched)
	})
	t.Run("a follower", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, g, ask := newStore(t), newGate(), kept()
			leader := begin(t.Context(), s, kept(), g.fetch)
			synctest.Wait()
			ask.Join = refuse
			if _, err := s.Get(t.Context(), ask, never(t)); !errors.Is(err, away) {
				t.Errorf("Get() = %v, want %v", err, away)
			}
			g.pass <- "body"
			want(t, <-leader, "body", Fetched)
		})
	})
	t.Run("the first of two", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, g, ask, refused := newStore(t), newGate(), kept(), make(chan struct{})
			ask.Join = func(context.Context) error {
				<-refused
				return away
			}
			first := begin(t.Context(), s, ask, never(t))
			synctest.Wait()
			second := begin(t.Context(), s, kept(), g.fetch)
			synctest.Wait()
			close(refused)
			if r := <-first; !errors.Is(r.err, away) {
				t.Errorf("Get() = %v, want %v", r.err, away)
			}
			g.pass <- "body"
			want(t, <-second, "body", Fetched)
		})
	})
	t.Run("everyone, with one flight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, g, ask, flights := newStore(t), newGate(), kept(), map[context.Context]int{}
			var mu sync.Mutex
			ask.Join = func(flight context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				flights[flight]++
				return nil
			}
			first, second := begin(t.Context(), s, ask, g.fetch), begin(t.Context(), s, ask, g.fetch)
			synctest.Wait()
			g.pass <- "body"
			<-first
			<-second
			want(t, get(t, s, ask, never(t)), "body", Stored)
			for flight, joined := range flights {
				if len(flights) != 1 || joined != 2 || flight == t.Context() {
					t.Errorf("joined %d of %d flights, want 2 of 1", joined, len(flights))
				}
			}
		})
	})
}

// TestJoinPanics shows that the panic stays with its participant, who still leaves the flight.
func TestJoinPanics(t *testing.T) {
	s, ask := newStore(t), kept()
	var flight context.Context
	ask.Join = func(ctx context.Context) error {
		flight = ctx
		panic("oh no")
	}
	func() {
		defer func() {
			if value := recover(); value != "oh no" {
				t.Errorf("Get() panicked with %v, want %q", value, "oh no")
			}
		}()
		_, _ = s.Get(t.Context(), ask, never(t))
	}()
	if flight.Err() == nil {
		t.Error("the flight's context has not ended")
	}
	want(t, get(t, s, kept(), fetch("next")), "next", Fetched)
}

func TestFetchThatDoesNotReturn(t *testing.T) {
	for _, tt := range []struct {
		name      string
		end       func()
		wantValue any
	}{
		{name: "panic", end: func() { panic("oh no") }, wantValue: "oh no"},
		{name: "goroutine ended", end: runtime.Goexit, wantValue: nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, end, ask := newStore(t), make(chan struct{}), kept()
				ask.KeepError = func(error) time.Duration { return time.Minute }
				fails := func(context.Context) ([]byte, error) {
					<-end
					tt.end()
					return nil, nil
				}
				results := []<-chan got{begin(t.Context(), s, ask, fails), begin(t.Context(), s, ask, fails)}
				synctest.Wait()
				close(end)
				for _, result := range results {
					r := <-result
					panicked, ok := errors.AsType[*PanicError](r.err)
					if !ok || panicked.Value != tt.wantValue || !strings.Contains(panicked.Stack, "flight_test.go") {
						t.Errorf("Get() = %v, want a PanicError of %v with its stack", r.err, tt.wantValue)
					}
				}
				want(t, get(t, s, kept(), fetch("next")), "next", Fetched)
			})
		})
	}
}
