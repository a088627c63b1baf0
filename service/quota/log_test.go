package quota_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

func openLog(t *testing.T, path string) *quota.Log {
	t.Helper()
	log, err := quota.OpenLog(path, func(err error) { t.Errorf("the log failed: %v", err) })
	if err != nil {
		t.Fatalf("OpenLog(%q) = %v, want a log", path, err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// TestRestartNeverExceeds holds the promise over a crash at any moment: what was taken before counts after, with the requests that
// were under way then.
func TestRestartNeverExceeds(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 5))
			dir := t.TempDir()
			var arrivals arrivals
			var requests sync.WaitGroup
			for life := range 4 {
				path := filepath.Join(dir, fmt.Sprint(life))
				s := quota.New(quota.Config{Rate: 20, Log: openLog(t, path)})
				ctx, cancel := context.WithCancel(t.Context())
				var crashed bool
				for range 40 {
					requests.Go(func() {
						for {
							slot, err := s.Take(ctx)
							if err != nil || crashed {
								return
							}
							time.Sleep(trip)
							arrivals.note(time.Now())
							time.Sleep(trip)
							slot.Done()
						}
					})
				}
				time.Sleep(time.Duration(random.Int64N(int64(2 * time.Minute))))
				synctest.Wait()
				// What the dead process would have done is of no effect on the next: it has a copy of the log.
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatalf("ReadFile(%q) = %v, want the log", path, err)
				}
				crashed = true
				cancel()
				synctest.Wait()
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(life+1)), text, 0o600); err != nil {
					t.Fatalf("WriteFile() = %v, want a copy of the log", err)
				}
			}
			requests.Wait()
			if most := arrivals.most(time.Minute); most > 20 {
				t.Errorf("seed %d: a minute saw %d requests, want at most 20", seed, most)
			}
		})
	}
}

// TestLogLines holds what is made of what a log may contain: how many slots are free at once, and when one more is.
func TestLogLines(t *testing.T) {
	at := func(ago time.Duration) string { return fmt.Sprintln(time.Now().Add(-ago).UnixMilli()) }
	tests := []struct {
		name     string
		text     func() string
		wantFree int
		wantNext time.Duration
	}{
		{name: "empty", text: func() string { return "" }, wantFree: 10, wantNext: time.Minute},
		{name: "one that counts", text: func() string { return at(30 * time.Second) }, wantFree: 9, wantNext: 40 * time.Second},
		{name: "one that may have come late", text: func() string { return at(65 * time.Second) }, wantFree: 9, wantNext: 5 * time.Second},
		{name: "one of long ago", text: func() string { return at(70 * time.Second) }, wantFree: 10, wantNext: time.Minute},
		{name: "cut", text: func() string { return at(0) + at(0)[:9] }, wantFree: 9, wantNext: time.Minute},
		{name: "foreign", text: func() string { return "hello\n\x00\xff\n-1\n99999999999999999999999\n\n" + at(0) }, wantFree: 9, wantNext: time.Minute},
		{name: "a time to come counts as now", text: func() string { return at(-1e6 * time.Hour) }, wantFree: 9, wantNext: time.Minute},
		{name: "without its last line end", text: func() string { return at(0) + at(0)[:13] }, wantFree: 8, wantNext: time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "log")
				if err := os.WriteFile(path, []byte(tt.text()), 0o600); err != nil {
					t.Fatalf("WriteFile() = %v, want a log", err)
				}
				s := quota.New(quota.Config{Rate: 10, Log: openLog(t, path)})
				began := time.Now()
				for free := 0; ; free++ {
					slot, err := s.Take(as(t, "a"))
					if err != nil {
						t.Fatalf("Take() = %v, want a slot", err)
					}
					slot.Done()
					if next := time.Since(began); next > 0 {
						if free != tt.wantFree || next != tt.wantNext {
							t.Errorf("%d slots were free and the next came after %v, want %d and %v", free, next, tt.wantFree, tt.wantNext)
						}
						return
					}
				}
			})
		})
	}
}

// TestTimeToComeIsForgotten holds that a clock that was wrong once does not cost slots at every start.
func TestTimeToComeIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, fmt.Appendln(nil, time.Now().Add(1e6*time.Hour).UnixMilli()), 0o600); err != nil {
			t.Fatalf("WriteFile() = %v, want a log", err)
		}
		openLog(t, path)
		time.Sleep(71 * time.Second)
		s := quota.New(quota.Config{Rate: 10, Log: openLog(t, path)})
		if used := s.Standing().Used; used != 0 {
			t.Errorf("slots used after the second start = %d, want 0", used)
		}
	})
}

// TestLogVanishes holds that slots are handed out when the log cannot be written, that it is told once, and that the log is whole
// again when it can.
func TestLogVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		path := filepath.Join(dir, "log")
		var told []error
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatalf("Mkdir() = %v, want a directory", err)
		}
		log, err := quota.OpenLog(path, func(err error) { told = append(told, err) })
		if err != nil {
			t.Fatalf("OpenLog() = %v, want a log", err)
		}
		defer log.Close()
		s := quota.New(quota.Config{Rate: 100, Log: log})
		time.Sleep(time.Minute)
		for round := range 2 {
			use(as(t, "a"), t, s, 0)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatalf("RemoveAll() = %v, want it gone", err)
			}
			for range 5 {
				use(as(t, "a"), t, s, 0)
			}
			if len(told) != round+1 {
				t.Errorf("failures told = %v, want %d", told, round+1)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatalf("Mkdir() = %v, want a directory", err)
			}
			use(as(t, "a"), t, s, 0)
			text, err := os.ReadFile(path)
			if lines, want := bytes.Count(text, []byte{'\n'}), 7*(round+1); lines != want {
				t.Errorf("the log has %d lines (%v), want %d", lines, err, want)
			}
		}
	})
}

// TestLogStaysSmall holds that the log is written anew with what still counts, and not at every slot when that is much.
func TestLogStaysSmall(t *testing.T) {
	for _, rate := range []int{100, 10000} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			s := quota.New(quota.Config{Rate: rate, Log: openLog(t, path)})
			time.Sleep(2 * time.Minute)
			var anew, before, most int64
			for i := range 3 * rate * max(10000/rate, 1) {
				if i%rate == 0 {
					time.Sleep(time.Minute)
				}
				use(as(t, "a"), t, s, 0)
				info, err := os.Stat(path)
				if err != nil {
					t.Fatalf("Stat(%q) = %v, want the log", path, err)
				}
				if info.Size() < before {
					anew++
				}
				before, most = info.Size(), max(most, info.Size())
			}
			if limit := int64(max(64<<10, 4*14*rate)); anew == 0 || anew > 20 || most > limit+14 {
				t.Errorf("rate %d: the log was written anew %d times and had up to %d bytes, want a few times and %d", rate, anew, most, limit)
			}
		})
	}
}

// TestNewLogIsCold holds that a log that was not there tells nothing of the minute before, and one that was does.
func TestNewLogIsCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		for _, want := range []int{1, 10} {
			s := quota.New(quota.Config{Rate: 10, Log: openLog(t, path)})
			ctx, cancel := context.WithCancel(t.Context())
			c := &clients{s: s, trip: trip}
			c.call(quota.NewContext(ctx, quota.Caller{}), 11)
			if got := len(c.since(time.Now())); got != want {
				t.Errorf("slots at once = %d, want %d", got, want)
			}
			cancel()
			c.wg.Wait()
			time.Sleep(2 * time.Minute)
		}
	})
}
