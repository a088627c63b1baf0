package quota_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// TestLateSlotGoesToTheNext holds that a call whose slot comes too late for an answer is refused then, and that the slot is not lost.
func TestLateSlotGoesToTheNext(t *testing.T) {
	const trip = 600 * time.Millisecond
	tests := []struct {
		name        string
		left        time.Duration // to the deadline when the pause ends
		wantRefused bool
		wantNext    time.Duration // of the call behind it, at most
	}{
		{"enough for the round trip", trip, false, 12 * time.Second},
		{"not enough", trip - 1, true, 10 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := quota.New(quota.Config{Rate: 100, Unused: true})
				use(as(t, "first"), t, s, trip)
				s.Limited(4 * time.Second)
				ctx, cancel := context.WithTimeout(as(t, "a"), 10*time.Second+test.left)
				defer cancel()
				hurried, patient := &clients{s: s, trip: trip}, &clients{s: s, trip: trip}
				began := time.Now()
				hurried.call(ctx, 1)
				patient.call(as(t, "b"), 1)
				s.Limited(10 * time.Second)
				hurried.wg.Wait()
				patient.wg.Wait()
				var refused *quota.RefusedError
				if got := len(hurried.errs) == 1 && errors.As(hurried.errs[0], &refused); got != test.wantRefused || len(hurried.got)+len(hurried.errs) != 1 {
					t.Errorf("Take() = %v with %v left, want refused %t", hurried.errs, test.left, test.wantRefused)
				}
				if got := patient.since(began); len(got) != 1 || got[0] > test.wantNext {
					t.Errorf("the next call got its slot after %v, want %v at most", got, test.wantNext)
				}
			})
		})
	}
}

// TestUsualTrip holds that calls compete only for slots that are of use to them: what counts then is how long answers usually take, and
// not the quickest. A call that competes with nobody may try its luck.
func TestUsualTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quota.New(quota.Config{Rate: 100, Unused: true})
		for range 20 {
			use(as(t, "a"), t, s, 20*time.Millisecond)
			use(as(t, "a"), t, s, time.Second)
		}
		time.Sleep(3 * time.Minute)
		soon, cancel := context.WithTimeout(as(t, "a"), 500*time.Millisecond)
		defer cancel()
		use(soon, t, s, 20*time.Millisecond)

		s.Limited(time.Second)
		for _, test := range []struct {
			patience    time.Duration
			wantRefused bool
		}{{1500 * time.Millisecond, true}, {4 * time.Second, false}} {
			ctx, cancel := context.WithTimeout(as(t, "a"), test.patience)
			asked := time.Now()
			slot, err := s.Take(ctx)
			cancel()
			var refused *quota.RefusedError
			if got := errors.As(err, &refused); got != test.wantRefused {
				t.Errorf("Take() with %v = %v, want refused %t", test.patience, err, test.wantRefused)
			}
			if took := time.Since(asked); test.wantRefused && took != 0 {
				t.Errorf("Take() with %v refused after %v, want at once", test.patience, took)
			}
			if slot != nil {
				slot.Done()
			}
		}
	})
}
