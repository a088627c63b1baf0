package quota_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// TestBatchAlone holds that batch calls are even from the first on, and that a person's call waits one pace at most meanwhile.
func TestBatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		s := warm(t, quota.Config{Rate: 100})
		began := time.Now()
		c := &clients{s: s, trip: trip}
		c.loop(quota.NewContext(ctx, quota.Caller{Name: "fill", Batch: true}), 20)
		time.Sleep(3 * time.Minute)
		got := c.since(began)
		for i := range got[1:] {
			if gap := got[i+1] - got[i]; gap < s.Pace()-time.Millisecond || gap > s.Pace()+time.Millisecond {
				t.Errorf("batch slot %d came %v after the one before, want %v", i+1, gap, s.Pace())
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			time.Sleep(time.Duration(random.Int64N(int64(5 * time.Second))))
			asked := time.Now()
			use(as(t, "person"), t, s, trip)
			if wait := time.Since(asked) - trip; wait > s.Pace() {
				t.Errorf("a person's call waited %v, want at most %v", wait, s.Pace())
			}
		}
		c.wg.Wait()
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

// TestBatchIsNotStarved holds the longest wait of batch calls: ten paces from one slot to the next however many people wait, and,
// behind a burst that took every slot before they came, until its first slot ends.
func TestBatchIsNotStarved(t *testing.T) {
	for _, rate := range []int{1, 7, 15, 100, 1000} {
		synctest.Test(t, func(t *testing.T) {
			s := warm(t, quota.Config{Rate: rate, Queue: 3000, Queues: 3000})
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
