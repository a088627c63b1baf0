package quota_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallyd/tallyd/service/quota"
)

// TestDeadline holds that a call whose slot comes too late is refused at once, and one whose slot comes in time is not.
func TestDeadline(t *testing.T) {
	tests := []struct {
		name     string
		deadline time.Duration
		want     error
	}{
		{name: "far too short", deadline: time.Second, want: &quota.RefusedError{Caller: "a", Wait: time.Minute + trip}},
		{name: "no time left for the request", deadline: time.Minute + 2*trip - 1, want: &quota.RefusedError{Caller: "a", Wait: time.Minute + trip}},
		{name: "just enough", deadline: time.Minute + 2*trip},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := warm(t, quota.Config{Rate: 10})
				began := time.Now()
				c := &clients{s: s, trip: trip}
				c.call(as(t, "a"), 10)
				c.wg.Wait()
				time.Sleep(time.Second)
				ctx, cancel := context.WithDeadline(as(t, "a"), began.Add(tt.deadline))
				defer cancel()
				asked := time.Now()
				slot, err := s.Take(ctx)
				if tt.want != nil {
					var got *quota.RefusedError
					if !errors.As(err, &got) {
						t.Fatalf("Take() = %v, want a refusal", err)
					}
					got.Wait += asked.Sub(began)
					if diff := cmp.Diff(tt.want, err); diff != "" || !time.Now().Equal(asked) {
						t.Errorf("Take() after %v: -want +got\n%s", time.Since(asked), diff)
					}
					return
				}
				if err != nil {
					t.Fatalf("Take() = %v, want a slot", err)
				}
				slot.Done()
			})
		})
	}
}

// TestQueueBounds holds that neither one caller nor all fill the memory with calls that wait.
func TestQueueBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := warm(t, quota.Config{Rate: 1, CallerQueue: 3, Queue: 5})
		use(as(t, "a"), t, s, 0)
		c := &clients{s: s, trip: trip}
		for _, tt := range []struct {
			name      string
			wantFull  int
			wantQueue int
		}{
			{name: "a", wantFull: 2, wantQueue: 3},
			{name: "b", wantFull: 5, wantQueue: 5},
		} {
			c.call(quota.NewContext(ctx, quota.Caller{Name: tt.name}), 5)
			if got := s.Standing().Waiting; got != tt.wantQueue || len(c.errs) != tt.wantFull {
				t.Errorf("%s: %d calls wait and %d were refused, want %d and %d", tt.name, got, len(c.errs), tt.wantQueue, tt.wantFull)
			}
		}
		for _, err := range c.errs {
			var refused *quota.RefusedError
			if !errors.As(err, &refused) || !refused.Full || refused.Wait <= 0 {
				t.Errorf("Take() = %v, want a refusal because too many wait", err)
			}
		}
		cancel()
		c.wg.Wait()
		if got := s.Standing().Waiting; got != 0 {
			t.Errorf("%d calls wait after all were cancelled, want 0", got)
		}
	})
}

// TestPrediction holds that a call gets its slot when it was said to, if nobody else comes, whatever went before.
func TestPrediction(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			s := warm(t, quota.Config{Rate: []int{1, 5, 30, 100}[random.IntN(4)]})
			c := &clients{s: s, trip: trip}
			caller := func() context.Context {
				weight := random.IntN(5)
				return quota.NewContext(t.Context(), quota.Caller{Name: fmt.Sprint(weight), Weight: weight, Batch: random.IntN(3) == 0})
			}
			for range random.IntN(30) {
				for range 1 + random.IntN(8) {
					c.call(caller(), 1)
				}
				time.Sleep(time.Duration(random.Int64N(int64(4 * time.Second))))
				if random.IntN(20) == 0 {
					s.Limited(time.Duration(random.Int64N(int64(30 * time.Second))))
				}
			}
			ctx := caller()
			want, asked, margin := s.Wait(quota.CallerOf(ctx)), time.Now(), s.Standing().Margin
			again := slices.ContainsFunc(s.Standing().Callers, func(c quota.CallerStanding) bool { return c.Waiting > 0 && c.Used > 0 })
			use(ctx, t, s, trip)
			// It is not foreseen that a margin is forgiven meanwhile, nor that those do not come again who did before: then the slot comes
			// sooner.
			sooner := again || s.Standing().Margin != margin
			if got := time.Since(asked) - trip; (got < want-s.Pace() && !sooner) || got > want+s.Pace() {
				t.Errorf("seed %d: a call of %+v waited %v, want the %v that was said (a pace is %v)", seed, quota.CallerOf(ctx), got, want, s.Pace())
			}
			c.wg.Wait()
		})
	}
}

// TestCancelledLeaveNoHole holds that slots come at the same times whether or not calls waited between that gave up.
func TestCancelledLeaveNoHole(t *testing.T) {
	for seed := range uint64(10) {
		run := func(extra bool) (times []time.Duration) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 4))
				s := warm(t, quota.Config{Rate: 20})
				began := time.Now()
				stay, leave := &clients{s: s, trip: trip}, &clients{s: s, trip: trip}
				stay.call(as(t, "a"), 20)
				for i := range 40 {
					own := quota.NewContext(t.Context(), quota.Caller{Name: fmt.Sprint(random.IntN(3)), Batch: random.IntN(4) == 0})
					stay.call(own, 1)
					ctx, cancel := context.WithCancel(own)
					time.AfterFunc(time.Duration(random.Int64N(int64(time.Minute-time.Duration(i+1)*time.Second))), cancel)
					if extra {
						leave.call(ctx, 1)
					}
					time.Sleep(time.Second)
				}
				stay.wg.Wait()
				leave.wg.Wait()
				if len(leave.got) > 0 {
					t.Errorf("seed %d: %d calls got a slot that were to give up, want none", seed, len(leave.got))
				}
				times = stay.since(began)
				slices.Sort(times)
			})
			return times
		}
		if diff := cmp.Diff(run(false), run(true)); diff != "" {
			t.Errorf("seed %d: slots without and with cancelled calls: -without +with\n%s", seed, diff)
		}
	}
}

// TestPromiseIsKept holds that calls which are let wait get their turn in time, also where the others call anew after each answer and so
// never show more than a few calls at a time; and that what is refused is refused at once.
func TestPromiseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		answers, late := map[string]int{}, 0
		var workers sync.WaitGroup
		hammer := func(name string, weight int) {
			own := quota.NewContext(ctx, quota.Caller{Name: name, Weight: weight})
			for ctx.Err() == nil {
				asked := time.Now()
				within, stop := context.WithTimeout(own, 30*time.Second)
				slot, err := s.Take(within)
				if err == nil {
					time.Sleep(trip)
					slot.Done()
				}
				stop()
				mu.Lock()
				if err == nil {
					answers[name]++
				} else if time.Since(asked) > 0 && ctx.Err() == nil {
					late++
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(200 * time.Millisecond)
				}
			}
		}
		for name, c := range map[string]struct{ workers, weight int }{"app": {8, 2}, "sync": {4, 1}, "greedy": {50, 1}} {
			for range c.workers {
				workers.Go(func() { hammer(name, c.weight) })
			}
		}
		// What a minute holds is known when there was one; the burst at the beginning is first come, first served.
		time.Sleep(2 * time.Minute)
		mu.Lock()
		clear(answers)
		late = 0
		mu.Unlock()
		time.Sleep(10 * time.Minute)
		cancel()
		workers.Wait()
		if late > 10 {
			t.Errorf("%d calls waited and were refused, want hardly any of %v", late, answers)
		}
		for name, want := range map[string]int{"app": 500, "sync": 250, "greedy": 250} {
			if got := answers[name]; got < want*9/10 || got > want*12/10 {
				t.Errorf("%s got %d slots, want about %d", name, got, want)
			}
		}
	})
}
