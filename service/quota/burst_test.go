package quota_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

const trip = 100 * time.Millisecond

// TestBurst holds that people's calls may have all slots at once after quiet, and then none until a minute after the responses.
func TestBurst(t *testing.T) {
	for _, rate := range []int{1, 2, 9, 100, 5000} {
		synctest.Test(t, func(t *testing.T) {
			s := warm(t, quota.Config{Rate: rate})
			began := time.Now()
			c := &clients{s: s, trip: trip}
			c.call(as(t, "a"), rate+1)
			c.wg.Wait()
			got := c.since(began)
			if got[rate-1] != 0 || got[rate] != time.Minute+trip {
				t.Errorf("the slots %d and %d of a burst came after %v and %v, want 0s and %v", rate, rate+1, got[rate-1], got[rate], time.Minute+trip)
			}
		})
	}
}

// TestBacklogIsSpread holds that calls that wait for the slots of a burst do not make another one.
func TestBacklogIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		began := time.Now()
		c := &clients{s: s, trip: trip}
		c.call(as(t, "a"), 290)
		c.wg.Wait()
		later := c.since(began)[100:]
		for i, at := range later {
			if i > 0 && at-later[i-1] > 2*s.Pace()+time.Millisecond {
				t.Errorf("slot %d of the backlog came %v after the one before, want at most %v", i, at-later[i-1], 2*s.Pace())
			}
			if i >= 3 && at-later[i-3] < s.Pace() {
				t.Errorf("four slots of the backlog came in %v, want at most two at once", at-later[i-3])
			}
		}
	})
}

// TestColdStartIsEven holds that without a log the first minute is paced, and that a burst may follow it.
func TestColdStartIsEven(t *testing.T) {
	for _, batch := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := quota.New(quota.Config{Rate: 100})
			began := time.Now()
			c := &clients{s: s, trip: trip}
			ctx := as(t, "a")
			if batch {
				ctx = quota.AsBatch(ctx)
			}
			c.call(ctx, 50)
			c.wg.Wait()
			got := c.since(began)
			for i := range got[1:] {
				if gap := got[i+1] - got[i]; gap < 600*time.Millisecond || gap > 621*time.Millisecond {
					t.Errorf("batch %v: slot %d came %v after the one before, want 600 to 621 ms", batch, i+1, gap)
				}
			}
			time.Sleep(2 * time.Minute)
			began, c.got = time.Now(), nil
			c.call(as(t, "a"), 100)
			c.wg.Wait()
			if last := slices.Max(c.since(began)); last != 0 {
				t.Errorf("batch %v: the last of a burst after the first minute came after %v, want at once", batch, last)
			}
		})
	}
}

// TestColdStartIsSharedEvenly holds that in the first minute people's calls and batch calls have one pace between them, and that idle
// time saves up nothing.
func TestColdStartIsSharedEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quota.New(quota.Config{Rate: 100})
		time.Sleep(30 * time.Second)
		began := time.Now()
		c := &clients{s: s, trip: trip}
		for range 20 {
			c.call(as(t, "a"), 1)
			c.call(quota.AsBatch(as(t, "a")), 1)
		}
		c.wg.Wait()
		got := c.since(began)
		for i := range got[1:] {
			if gap := got[i+1] - got[i]; gap < 600*time.Millisecond {
				t.Errorf("slot %d came %v after the one before, want at least 600 ms", i+1, gap)
			}
		}
	})
}

// TestSlotEnds holds when each end of a slot makes room for the next.
func TestSlotEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(*quota.Slot)
		want time.Duration
	}{
		{name: "done", end: (*quota.Slot).Done, want: time.Minute},
		{name: "lost", end: (*quota.Slot).Lost, want: 70 * time.Second},
		{name: "returned", end: (*quota.Slot).Return},
		{name: "twice", end: func(x *quota.Slot) { x.Done(); x.Return(); x.Lost() }, want: time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := warm(t, quota.Config{Rate: 3})
				for range 3 {
					slot, err := s.Take(as(t, "a"))
					if err != nil {
						t.Fatalf("Take() = %v, want a slot", err)
					}
					tt.end(slot)
				}
				began := time.Now()
				use(as(t, "a"), t, s, 0)
				if wait := time.Since(began); wait != tt.want {
					t.Errorf("the next slot came after %v, want %v", wait, tt.want)
				}
			})
		})
	}
}

// TestTakeWithEndedContext holds that nothing is spent on a call that nobody waits for any more.
func TestTakeWithEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 1})
		cancelled, cancel := context.WithCancel(as(t, "a"))
		cancel()
		if _, err := s.Take(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("Take() of a cancelled call = %v, want %v", err, context.Canceled)
		}
		late, cancel := context.WithTimeout(as(t, "a"), 0)
		defer cancel()
		var refused *quota.RefusedError
		if _, err := s.Take(late); !errors.As(err, &refused) || refused.Full || refused.Caller != "a" {
			t.Errorf("Take() of a call past its deadline = %v, want a refusal", err)
		}
		if used := s.Standing().Used; used != 0 {
			t.Errorf("slots used = %d, want 0", used)
		}
	})
}
