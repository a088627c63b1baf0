package quota_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallyd/tallyd/service/quota"
)

func TestStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var waits []string
		s := warm(t, quota.Config{Rate: 4, Waited: func(c quota.Caller, wait time.Duration) {
			waits = append(waits, fmt.Sprint(c.Name, " ", wait))
		}})
		c := &clients{s: s, trip: trip}
		a, fill := quota.Caller{Name: "a", Weight: 2}, quota.Caller{Name: "a", Batch: true}
		c.call(quota.NewContext(ctx, fill), 2)
		c.call(quota.NewContext(ctx, a), 4)
		time.Sleep(time.Second)
		want := quota.Standing{Rate: 4, Used: 4, Waiting: 2, BatchWaiting: 1, Callers: []quota.CallerStanding{
			{Caller: a, Used: 3, Waiting: 1}, {Caller: fill, Used: 1, Waiting: 1},
		}}
		if diff := cmp.Diff(want, s.Standing()); diff != "" {
			t.Errorf("Standing() -want +got\n%s", diff)
		}
		cancel()
		c.wg.Wait()
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff(quota.Standing{Rate: 4}, s.Standing()); diff != "" {
			t.Errorf("Standing() after all -want +got\n%s", diff)
		}
		if diff := cmp.Diff([]string{"warm 0s", "a 0s", "a 0s", "a 0s", "a 0s"}, waits); diff != "" {
			t.Errorf("waits told -want +got\n%s", diff)
		}
	})
}

// TestCallersAreForgotten holds that the memory does not grow with the callers that ever came or were asked about.
func TestCallersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 1000})
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		for i := range 100_000 {
			own := quota.Caller{Name: fmt.Sprint(i)}
			_ = s.Wait(own)
			slot, err := s.Take(quota.NewContext(t.Context(), own))
			if err != nil {
				t.Fatalf("Take() = %v, want a slot", err)
			}
			slot.Return()
		}
		if after := heap(); after > before+4<<20 {
			t.Errorf("heap after 100,000 callers = %d bytes more, want at most 4 MiB", after-before)
		}
		runtime.KeepAlive(s)
	})
}
