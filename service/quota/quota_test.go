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
	return quota.NewContext(t.Context(), quota.Caller{Name: name})
}

// warm is a scheduler that has been idle for long, with a known round trip.
func warm(t *testing.T, config quota.Config) *quota.Scheduler {
	t.Helper()
	s := quota.New(config)
	use(as(t, "warm"), t, s, trip)
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

// clients make calls and remember when each got its slot.
type clients struct {
	s    *quota.Scheduler
	trip time.Duration

	wg   sync.WaitGroup
	mu   sync.Mutex
	got  []grant
	errs []error
}

type grant struct {
	caller quota.Caller
	at     time.Time
}

// call begins n calls, one after another.
func (c *clients) call(ctx context.Context, n int) {
	for range n {
		c.wg.Go(func() { c.once(ctx) })
		synctest.Wait()
	}
}

// loop keeps n calls waiting until ctx ends.
func (c *clients) loop(ctx context.Context, n int) {
	for range n {
		c.wg.Go(func() {
			for c.once(ctx) {
			}
		})
		synctest.Wait()
	}
}

func (c *clients) once(ctx context.Context) bool {
	slot, err := c.s.Take(ctx)
	c.mu.Lock()
	if err != nil {
		c.errs = append(c.errs, err)
		c.mu.Unlock()
		return false
	}
	c.got = append(c.got, grant{quota.CallerOf(ctx), time.Now()})
	c.mu.Unlock()
	time.Sleep(c.trip)
	slot.Done()
	return true
}

// since returns how long after a time each call got its slot.
func (c *clients) since(from time.Time) []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []time.Duration
	for _, g := range c.got {
		all = append(all, g.at.Sub(from))
	}
	return all
}

// by returns how many slots each caller got from a time on.
func (c *clients) by(from time.Time) map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]float64{}
	for _, g := range c.got {
		if !g.at.Before(from) {
			all[g.caller.Name]++
		}
	}
	return all
}

// TestNoMinuteHasMore holds the promise for a window that slides: no 60 s see more requests than the rate, however hard callers try,
// and all but nothing of the rate stays unused.
func TestNoMinuteHasMore(t *testing.T) {
	for _, rate := range []int{1, 10, 50, 100} {
		synctest.Test(t, func(t *testing.T) {
			s := warm(t, quota.Config{Rate: rate})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var arrivals arrivals
			var callers sync.WaitGroup
			for i := range 20 + rate {
				random := rand.New(rand.NewPCG(uint64(i), 1))
				callers.Go(func() {
					own := quota.NewContext(ctx, quota.Caller{Name: fmt.Sprint(i % 6), Batch: i%10 == 0})
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
			if most := arrivals.most(time.Minute); most > rate {
				t.Errorf("a minute saw %d requests, want at most %d", most, rate)
			}
			// 59 are what a mean round trip of a second allows.
			if n, want := len(arrivals.at), rate*59*99/100; n < want {
				t.Errorf("rate %d: an hour saw %d requests, want at least %d", rate, n, want)
			}
		})
	}
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
