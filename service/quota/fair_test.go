package quota_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// TestShares holds that callers who always want more share by weight.
func TestShares(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
	}{
		{name: "equal", weights: make([]int, 16)},
		{name: "by weight", weights: []int{1, 2, 3, 10}},
		{name: "far apart", weights: []int{1, 50}},
		{name: "below one is one", weights: []int{-3, 0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
				defer cancel()
				c := &clients{s: warm(t, quota.Config{Rate: 100}), trip: trip}
				for i, weight := range tt.weights {
					c.loop(quota.NewContext(ctx, quota.Caller{Name: fmt.Sprint(i), Weight: weight}), 20)
				}
				time.Sleep(2 * time.Minute)
				from := time.Now()
				c.wg.Wait()
				var sum, squares float64
				for name, n := range c.by(from) {
					var i int
					_, _ = fmt.Sscan(name, &i)
					x := n / float64(max(tt.weights[i], 1))
					sum, squares = sum+x, squares+x*x
				}
				if jain := sum * sum / float64(len(tt.weights)) / squares; jain < 0.99 {
					t.Errorf("Jain's index of the shares = %v (%v), want at least 0.99", jain, c.by(from))
				}
			})
		})
	}
}

// TestNewcomer holds that who comes while others wait gets its first slot after at most one of each of the others, and that nobody
// is paid for having been idle.
func TestNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &clients{s: warm(t, quota.Config{Rate: 100}), trip: trip}
		for i := range 5 {
			c.loop(quota.NewContext(ctx, quota.Caller{Name: fmt.Sprint(i)}), 30)
		}
		time.Sleep(10*time.Minute + 7*time.Second)
		from := time.Now()
		c.loop(quota.NewContext(ctx, quota.Caller{Name: "newcomer"}), 30)
		before := 0
		for c.by(from)["newcomer"] == 0 {
			before = 0
			for _, n := range c.by(from) {
				before += int(n)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if before > 5 {
			t.Errorf("%d slots went to others before the newcomer's first, want at most 5", before)
		}
		time.Sleep(2 * time.Minute)
		got := c.by(from)
		for i := range 5 {
			if other := got[fmt.Sprint(i)]; got["newcomer"] > other+2 || got["newcomer"] < other-2 {
				t.Errorf("slots since the newcomer came = %v, want equal shares", got)
			}
		}
		cancel()
		c.wg.Wait()
	})
}
