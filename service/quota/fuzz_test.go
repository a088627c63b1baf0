package quota_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// FuzzScheduler does what the bytes say and holds after each that no more slots are out than the rate, that no count is wrong, and at
// the end that everybody who waited got a slot.
func FuzzScheduler(f *testing.F) {
	f.Add(uint8(1), []byte{0, 0, 0, 14, 6, 6, 6})
	f.Add(uint8(10), []byte{0, 8, 16, 24, 32, 1, 2, 3, 4, 5, 0, 0, 6, 0, 7, 14, 22, 30, 2, 0, 8, 6, 254, 246})
	f.Add(uint8(3), []byte{5, 0, 8, 7, 15, 23, 6, 2, 13, 0, 126, 3, 5, 6, 4})
	f.Fuzz(func(t *testing.T, rate uint8, ops []byte) {
		if len(ops) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, rate: max(int(rate), 1)}
			w.s = quota.New(quota.Config{Rate: w.rate})
			w.flight = quota.NewGroup(t.Context())
			for _, op := range ops {
				w.do(op&7, int(op>>3))
				synctest.Wait()
				w.check()
			}
			w.finish()
		})
	})
}

// world is a scheduler with what happened to it.
type world struct {
	t       *testing.T
	rate    int
	s       *quota.Scheduler
	flight  context.Context
	cancels []context.CancelFunc
	until   []time.Time // when the slots end whose request was answered or lost

	mu      sync.Mutex // calls get their slots at once
	waiting int
	open    []*quota.Slot
}

// do does one of eight things with a small number.
func (w *world) do(what byte, n int) {
	switch what {
	case 0, 1:
		w.take(quota.NewContext(w.t.Context(), quota.Caller{Name: fmt.Sprint(n % 4), Weight: n % 4, Batch: n%3 == 0}))
	case 2:
		if n < len(w.cancels) {
			w.cancels[n]()
		}
	case 3:
		w.end(n, time.Minute, (*quota.Slot).Done)
	case 4:
		if n%2 == 0 {
			w.end(n, 70*time.Second, (*quota.Slot).Lost)
		} else {
			w.end(n, 0, (*quota.Slot).Return)
		}
	case 5:
		w.s.Limited(time.Duration(n) * time.Second)
	case 6:
		time.Sleep(time.Duration(n*n) * 100 * time.Millisecond)
	case 7:
		if n%2 == 0 {
			w.take(w.flight)
			return
		}
		_ = w.s.Join(w.flight, quota.NewContext(w.t.Context(), quota.Caller{Name: fmt.Sprint(n % 4), Batch: n%3 == 0}))
	}
}

func (w *world) take(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	w.cancels = append(w.cancels, cancel)
	w.mu.Lock()
	w.waiting++
	w.mu.Unlock()
	go func() {
		slot, err := w.s.Take(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting--
		if err == nil {
			w.open = append(w.open, slot)
		}
	}()
	synctest.Wait() // so that they come in order
}

func (w *world) end(n int, held time.Duration, how func(*quota.Slot)) {
	if open, _ := w.counts(); n >= open {
		return
	}
	w.mu.Lock()
	slot := w.open[n]
	w.open = slices.Delete(w.open, n, n+1)
	w.mu.Unlock()
	how(slot)
	if held > 0 {
		w.until = append(w.until, time.Now().Add(held))
	}
}

func (w *world) counts() (open, waiting int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open), w.waiting
}

func (w *world) check() {
	out, waiting := w.counts()
	for _, until := range w.until {
		if until.After(time.Now()) {
			out++
		}
	}
	got := w.s.Standing()
	if out > w.rate || got.Used != out || got.Waiting != waiting {
		w.t.Fatalf("rate %d: %d slots out and %d calls wait, want %+v", w.rate, out, waiting, got)
	}
	used := 0
	for _, c := range got.Callers {
		if c.Used < 0 || c.Waiting < 0 {
			w.t.Fatalf("caller %+v has less than nothing", c)
		}
		used += c.Used
	}
	if wait, waits := w.s.Waiting(w.flight); used != out || wait < 0 {
		w.t.Fatalf("callers hold %d slots of %d; the flight waits %v, %v", used, out, waits, wait)
	}
}

// finish ends what is open until nobody waits, which must not take longer than one slot at a time does.
func (w *world) finish() {
	_, waiting := w.counts()
	for range 10 + 2*waiting {
		for open := 1; open > 0; open, waiting = w.counts() {
			w.end(0, time.Minute, (*quota.Slot).Done)
			synctest.Wait()
		}
		w.check()
		if waiting == 0 {
			return
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
	}
	w.t.Fatalf("%d calls wait for ever: %+v", waiting, w.s.Standing())
}
