package quota_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// TestPause holds how long everything pauses after a 429, and that nothing is sent meanwhile.
func TestPause(t *testing.T) {
	tests := []struct {
		name       string
		retryAfter time.Duration
		want       time.Duration
	}{
		{name: "as Tally says", retryAfter: 7 * time.Second, want: 7 * time.Second},
		{name: "too short", retryAfter: time.Millisecond, want: time.Second},
		{name: "negative", retryAfter: -time.Second, want: time.Second},
		{name: "too long", retryAfter: 1e9 * time.Second, want: 2 * time.Minute},
		{name: "unsaid is the rest of the minute", want: 50 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := warm(t, quota.Config{Rate: 100})
				use(as(t, "a"), t, s, 0)
				time.Sleep(10 * time.Second)
				began := time.Now()
				open, err := s.Take(as(t, "a"))
				if err != nil {
					t.Fatalf("Take() = %v, want a slot", err)
				}
				if got := s.Limited(tt.retryAfter); got != tt.want {
					t.Errorf("Limited(%v) = %v, want %v", tt.retryAfter, got, tt.want)
				}
				if got := s.Standing().PausedUntil; !got.Equal(began.Add(tt.want)) {
					t.Errorf("paused for %v, want %v", got.Sub(began), tt.want)
				}
				c := &clients{s: s, trip: trip}
				c.call(as(t, "a"), 3)
				c.call(quota.AsBatch(as(t, "b")), 1)
				open.Return()
				c.wg.Wait()
				if got := c.since(began); got[0] != tt.want {
					t.Errorf("the first slot came after %v, want %v", got[0], tt.want)
				}
			})
		})
	}
}

// TestUnsaidPauseAgain holds that after a guess that was wrong the next pause is a whole minute, as it is with nothing to guess by.
func TestUnsaidPauseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		if got := s.Limited(0); got != time.Minute {
			t.Errorf("Limited(0) of an idle key = %v, want a minute", got)
		}
		time.Sleep(2 * time.Minute)
		use(as(t, "a"), t, s, 0)
		time.Sleep(50 * time.Second)
		use(as(t, "a"), t, s, 0)
		if got := s.Limited(0); got != 10*time.Second {
			t.Errorf("Limited(0) = %v, want the 10 s until the oldest slot ends", got)
		}
		time.Sleep(10 * time.Second)
		use(as(t, "a"), t, s, 0)
		if got := s.Limited(0); got != time.Minute {
			t.Errorf("Limited(0) after a wrong guess = %v, want a minute", got)
		}
	})
}

// TestMargin holds what a 429 teaches of those who spend on the same key, and how it is forgotten.
func TestMargin(t *testing.T) {
	margin := func(t *testing.T, s *quota.Scheduler, want int) {
		t.Helper()
		if got := s.Standing().Margin; got != want {
			t.Errorf("margin = %d, want %d", got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		for range 80 {
			use(as(t, "a"), t, s, 0)
		}
		s.Limited(10 * time.Second)
		margin(t, s, 21) // Tally saw 100 before the 80th of ours
		if got := s.Limited(time.Second); got != 10*time.Second {
			t.Errorf("Limited(1s) in a longer pause = %v, want the 10s of it", got)
		}
		margin(t, s, 21) // in the same pause
		time.Sleep(10*time.Minute - 1)
		margin(t, s, 21)
		time.Sleep(time.Nanosecond)
		margin(t, s, 10)
		time.Sleep(10 * time.Minute)
		margin(t, s, 5)
		s.Limited(time.Second)
		margin(t, s, 5+95/2) // half of the way at most
		s.Limited(time.Second)
		margin(t, s, 5+95/2) // and once in a pause
		time.Sleep(time.Hour)
		margin(t, s, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		s := quota.New(quota.Config{Rate: 100})
		time.Sleep(time.Minute - 1)
		s.Limited(time.Second)
		margin(t, s, 0) // it may have been the process before
	})
}

// TestRefusedInPause holds that a call that is refused while everything pauses does not spoil the burst after it.
func TestRefusedInPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		s.Limited(10 * time.Second)
		ctx, cancel := context.WithTimeout(as(t, "a"), time.Second)
		defer cancel()
		if _, err := s.Take(ctx); err == nil {
			t.Error("Take() in a pause longer than its deadline = nil, want a refusal")
		}
		time.Sleep(10 * time.Second)
		began := time.Now()
		c := &clients{s: s, trip: trip}
		c.call(as(t, "a"), 50)
		c.wg.Wait()
		if last := slices.Max(c.since(began)); last != 0 {
			t.Errorf("the last of a burst after the pause came after %v, want at once", last)
		}
	})
}

// TestMarginLeavesOne holds that calls go on, a few, however much others spend.
func TestMarginLeavesOne(t *testing.T) {
	for _, rate := range []int{1, 2, 100} {
		synctest.Test(t, func(t *testing.T) {
			s := warm(t, quota.Config{Rate: rate})
			for range 20 {
				s.Limited(time.Second)
				time.Sleep(time.Second)
			}
			if got := s.Standing(); got.Margin >= max(rate, 1) {
				t.Errorf("margin = %d of %d, want less", got.Margin, rate)
			}
			c := &clients{s: s, trip: trip}
			c.call(as(t, "a"), 5)
			c.call(quota.AsBatch(as(t, "b")), 5)
			c.wg.Wait()
		})
	}
}

// TestMarginGrowsUnderUse holds that slots that are out beyond a margin that grew do not come back.
func TestMarginGrowsUnderUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 10})
		c := &clients{s: s, trip: trip}
		c.call(as(t, "a"), 5)
		time.Sleep(20 * time.Second)
		c.call(as(t, "a"), 3)
		c.wg.Wait()
		s.Limited(time.Second) // others take 3, which leaves 7, of which 8 are out
		began := time.Now()
		use(as(t, "a"), t, s, 0)
		if got, want := time.Since(began), 40*time.Second; got != want {
			t.Errorf("the next slot came after %v, want %v", got, want)
		}
		if got := s.Standing(); got.Margin != 3 || got.Used > 7 {
			t.Errorf("margin %d and %d slots out, want 3 and at most 7", got.Margin, got.Used)
		}
	})
}
