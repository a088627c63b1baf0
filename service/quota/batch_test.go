package quota_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallyd/tallyd/service/quota"
)

// TestBatchAlone holds that batch calls are even from the first on and use nearly all.
func TestBatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		began := time.Now()
		c := &clients{s: s, trip: trip}
		c.call(quota.AsBatch(as(t, "fill")), 180)
		c.wg.Wait()
		got := c.since(began)
		for i := range got[1:] {
			if gap := got[i+1] - got[i]; gap < s.Pace() || gap > s.Pace()+time.Millisecond {
				t.Errorf("batch slot %d came %v after the one before, want %v", i+1, gap, s.Pace())
			}
		}
		if got := s.Pace(); got < 600*time.Millisecond || got > 620*time.Millisecond {
			t.Errorf("Pace() = %v, want nearly 600ms", got)
		}
	})
}

// TestPersonBesideBatch holds that a person's call waits one pace at most while batch calls take all they can get. Slots end as unevenly
// as answers come, so it may be another pace where these differ.
func TestPersonBesideBatch(t *testing.T) {
	for _, rate := range []int{3, 24, 30, 75, 100, 300} {
		besideBatch(t, rate, 0, 1)
		besideBatch(t, rate, time.Second, 2)
	}
}

// besideBatch lets a person call beside a back-fill, with round trips that differ by so much.
func besideBatch(t *testing.T, rate int, spread time.Duration, paces int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		uneven := func(random *rand.Rand) time.Duration { return trip + time.Duration(random.Int64N(int64(spread)+1)) }
		s := warm(t, quota.Config{Rate: rate})
		ctx, cancel := context.WithCancel(t.Context())
		var fill sync.WaitGroup
		for i := range 20 {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			fill.Go(func() {
				for {
					slot, err := s.Take(quota.AsBatch(quota.NewContext(ctx, quota.Caller{Name: "fill"})))
					if err != nil {
						return
					}
					time.Sleep(uneven(random))
					slot.Done()
				}
			})
		}
		time.Sleep(5 * time.Minute)
		random := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			time.Sleep(time.Duration(random.Int64N(int64(10*time.Second + 3*s.Pace()))))
			asked := time.Now()
			answer := uneven(random)
			use(as(t, "person"), t, s, answer)
			most := time.Duration(paces)*s.Pace() + spread + 2 // rounding
			if wait := time.Since(asked) - answer; wait > most {
				t.Errorf("rate %d: a person's call waited %v, want at most %v", rate, wait, most)
			}
		}
		cancel()
		fill.Wait()
	})
}

// TestPeopleBurstBesideBatch holds that batch calls that wait for their pace do not keep people's calls from the slots that are free.
func TestPeopleBurstBesideBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := warm(t, quota.Config{Rate: 100})
		fill := &clients{s: s, trip: trip}
		fill.call(quota.NewContext(ctx, quota.Caller{Name: "fill", Batch: true}), 50)
		time.Sleep(time.Second)
		began := time.Now()
		people := &clients{s: s, trip: trip}
		people.call(as(t, "a"), 80)
		people.wg.Wait()
		for i, at := range people.since(began) {
			if at != 0 {
				t.Errorf("the slot of person %d came after %v, want at once", i, at)
			}
		}
		cancel()
		fill.wg.Wait()
	})
}

// TestReserve holds which slots a burst of people leaves to batch calls that wait, and that they go to people when those give up.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 100})
		history := &clients{s: s, trip: trip}
		history.call(quota.AsBatch(as(t, "fill")), 30)
		history.wg.Wait()
		for range 10 {
			slot, err := s.Take(quota.AsBatch(as(t, "fill")))
			if err != nil {
				t.Fatalf("Take() = %v, want a slot", err)
			}
			slot.Return()
		}
		time.Sleep(time.Minute)
		use(as(t, "early"), t, s, 0)
		time.Sleep(58 * time.Second)
		began := time.Now()
		fill, people := &clients{s: s, trip: trip}, &clients{s: s, trip: trip}
		fill.call(quota.AsBatch(as(t, "fill")), 5)
		ctx, cancel := context.WithCancel(as(t, "a"))
		people.call(ctx, 97)
		time.Sleep(3 * time.Second)
		// Four more batch calls wait, and the early one's slot ends before the turn of the first of them.
		want := make([]time.Duration, 95)
		if diff := cmp.Diff(want, people.since(began)); diff != "" {
			t.Errorf("slots of people -want +got\n%s", diff)
		}
		cancel()
		fill.wg.Wait()
		want = []time.Duration{0, 3 * time.Second, 3*time.Second + s.Pace(), 3*time.Second + 2*s.Pace(), 3*time.Second + 3*s.Pace()}
		if diff := cmp.Diff(want, fill.since(began)); diff != "" {
			t.Errorf("slots of batch calls -want +got\n%s", diff)
		}
		people.wg.Wait()
	})
}

// TestBatchTurnBetween holds that the turn of a batch call may come while people's calls wait for their pace.
func TestBatchTurnBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 2})
		began := time.Now()
		use(quota.AsBatch(as(t, "fill")), t, s, trip)
		turn := 10 * s.Pace()
		time.Sleep(220*time.Second - trip)
		people, fill := &clients{s: s, trip: trip}, &clients{s: s, trip: trip}
		people.call(as(t, "a"), 5)
		fill.call(quota.AsBatch(as(t, "fill")), 1)
		fill.wg.Wait()
		people.wg.Wait()
		if got := fill.since(began)[0]; got != turn {
			t.Errorf("the batch call got its slot after %v, want %v", got, turn)
		}
	})
}

// TestBatchIsNotStarved holds the longest wait of batch calls: ten paces from one slot to the next however many people wait, and,
// behind a burst that took every slot before they came, until its first slot ends.
func TestBatchIsNotStarved(t *testing.T) {
	for _, rate := range []int{1, 7, 15, 100, 250} {
		synctest.Test(t, func(t *testing.T) {
			s := warm(t, quota.Config{Rate: rate, CallerQueue: 3000, Queue: 3000})
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour/time.Duration(max(rate/10, 1)))
			defer cancel()
			people, fill := &clients{s: s, trip: trip}, &clients{s: s, trip: trip}
			people.loop(quota.NewContext(ctx, quota.Caller{Name: "a"}), 2*rate)
			began := time.Now()
			fill.loop(quota.NewContext(ctx, quota.Caller{Name: "fill", Batch: true}), 2+rate/5)
			fill.wg.Wait()
			people.wg.Wait()
			got := fill.since(began)
			if len(got) < 5 {
				t.Fatalf("rate %d: %d batch slots (%v), want more", rate, len(got), fill.errs)
			}
			if first, most := got[0], time.Minute+trip; first > most {
				t.Errorf("rate %d: the first batch slot came after %v, want at most %v", rate, first, most)
			}
			// A slot that is due waits for one to be free, which they are a pace apart.
			most := 11*s.Pace() + trip
			for i := range got[1:] {
				if gap := got[i+1] - got[i]; gap > most {
					t.Errorf("rate %d: batch slot %d came %v after the one before, want at most %v", rate, i+1, gap, most)
				}
			}
		})
	}
}

// TestBackfillJoinsWithoutAPause holds that people's calls go on when a back-fill begins: slots are held back for it only if none ends
// until its turn. Else they lie idle, and end in bunches for as long as people's calls wait.
func TestBackfillJoinsWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		s := quota.New(quota.Config{Rate: 100})
		people, fill := &clients{s: s, trip: trip}, &clients{s: s, trip: trip}
		people.loop(quota.NewContext(ctx, quota.Caller{Name: "person"}), 150)
		time.Sleep(5 * time.Minute)
		joined, pace := time.Now(), s.Pace()
		fill.loop(quota.NewContext(ctx, quota.Caller{Name: "fill", Batch: true}), 20)
		people.wg.Wait()
		fill.wg.Wait()
		got := people.since(joined)
		if len(got) < 1000 {
			t.Errorf("people got %d slots in 15 minutes beside a back-fill, want nine of ten", len(got))
		}
		for i := range got[1:] {
			if gap := got[i+1] - got[i]; gap > 2*pace+time.Millisecond {
				t.Errorf("slot %d of people came %v after the one before, want at most %v: one slot may be the back-fill's", i+1, gap, 2*pace)
			}
		}
	})
}
