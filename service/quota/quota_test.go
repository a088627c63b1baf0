package quota_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

func as(t *testing.T, name string) context.Context {
	t.Helper()
	return quota.NewContext(t.Context(), quota.Caller{Name: name, Weight: 1})
}

// warm is a scheduler that has been idle for long, with a known round trip.
func warm(t *testing.T, config quota.Config) *quota.Scheduler {
	t.Helper()
	s := quota.New(config)
	use(as(t, "warm"), t, s, 10*time.Millisecond)
	time.Sleep(3 * time.Minute)
	return s
}

func use(ctx context.Context, t *testing.T, s *quota.Scheduler, trip time.Duration) {
	t.Helper()
	slot, err := s.Take(ctx)
	if err != nil {
		t.Errorf("Take() = %v, want a slot", err)
		return
	}
	time.Sleep(trip)
	slot.Done()
}

// TestNoMinuteHasMore holds the promise for a window that slides: no 60 s see more requests than the rate, however hard callers try,
// and all but nothing of the rate stays unused.
func TestNoMinuteHasMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var arrivals arrivals
		var callers sync.WaitGroup
		for i := range 120 {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			callers.Go(func() {
				own := quota.NewContext(ctx, quota.Caller{Name: fmt.Sprint(i % 6)})
				for {
					slot, err := s.Take(own)
					if err != nil {
						return
					}
					there, back := time.Duration(random.IntN(int(time.Second))), time.Duration(random.IntN(int(time.Second)))
					time.Sleep(there)
					arrivals.note(time.Now())
					time.Sleep(back)
					slot.Done()
				}
			})
		}
		callers.Wait()
		if most := arrivals.most(time.Minute); most > 100 {
			t.Errorf("a minute saw %d requests, want at most 100", most)
		}
		if n := len(arrivals.at); n < 5850 {
			t.Errorf("an hour saw %d requests, want nearly the 5902 that a mean round trip of a second allows", n)
		}
	})
}

// arrivals are when requests reached Tally.
type arrivals struct {
	mu sync.Mutex
	at []time.Time
}

func (a *arrivals) note(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = append(a.at, at)
}

// most returns how many came within one span.
func (a *arrivals) most(span time.Duration) int {
	slices.SortFunc(a.at, time.Time.Compare)
	most, first := 0, 0
	for last, at := range a.at {
		for at.Sub(a.at[first]) >= span {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
