package quota_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// BenchmarkTake is what a slot costs when nobody waits, without a log and with one.
func BenchmarkTake(b *testing.B) {
	for _, logged := range []bool{false, true} {
		b.Run(fmt.Sprintf("log=%v", logged), func(b *testing.B) {
			var config quota.Config
			config.Rate = 1_000_000_000 // so that the pace of the first minute does not hold it up
			if logged {
				config.Log = oldLog(b)
			}
			s := quota.New(config)
			ctx := quota.NewContext(b.Context(), quota.Caller{Name: "a"})
			b.ReportAllocs()
			for b.Loop() {
				slot, err := s.Take(ctx)
				if err != nil {
					b.Fatalf("Take() = %v, want a slot", err)
				}
				slot.Done()
			}
		})
	}
}

// oldLog is an empty log that was there before: the scheduler is not cold.
func oldLog(b *testing.B) *quota.Log {
	b.Helper()
	path := filepath.Join(b.TempDir(), "log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatalf("WriteFile() = %v, want a log", err)
	}
	log, err := quota.OpenLog(path, func(err error) { b.Errorf("the log failed: %v", err) })
	if err != nil {
		b.Fatalf("OpenLog() = %v, want a log", err)
	}
	b.Cleanup(func() { log.Close() })
	return log
}

// BenchmarkWaiting is what a slot costs that goes from one of 200 callers who wait to the next, with the log, and what a call costs
// that is refused behind them.
func BenchmarkWaiting(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	s := quota.New(quota.Config{Rate: 100, Log: oldLog(b)})
	var mine []*quota.Slot
	for range 100 {
		slot, err := s.Take(ctx)
		if err != nil {
			b.Fatalf("Take() = %v, want a slot", err)
		}
		mine = append(mine, slot)
	}
	slots := make(chan *quota.Slot)
	var callers sync.WaitGroup
	for i := range 201 {
		own := quota.NewContext(ctx, quota.Caller{Name: fmt.Sprint(i), Weight: 1 + i%3})
		callers.Go(func() {
			for {
				slot, err := s.Take(own)
				if err != nil {
					return
				}
				slots <- slot
			}
		})
	}
	for s.Standing().Waiting < 201 {
		time.Sleep(time.Millisecond)
	}
	b.Run("slot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mine[0].Return()
			mine[0] = <-slots
		}
	})
	b.Run("refused", func(b *testing.B) {
		late, cancel := context.WithTimeout(quota.NewContext(ctx, quota.Caller{Name: "late"}), 30*time.Second)
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Take(late); err == nil {
				b.Fatal("Take() = nil, want a refusal")
			}
		}
	})
	cancel()
	callers.Wait()
}
