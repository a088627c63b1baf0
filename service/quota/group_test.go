package quota_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// full is a scheduler of which every slot ends in a minute.
func full(t *testing.T) *quota.Scheduler {
	t.Helper()
	s := warm(t, quota.Config{Rate: 20})
	for range 20 {
		use(as(t, "before"), t, s, 0)
	}
	return s
}

func join(flight, ctx context.Context, t *testing.T, s *quota.Scheduler) {
	t.Helper()
	if err := s.Join(flight, ctx); err != nil {
		t.Errorf("Join() = %v, want to wait", err)
	}
}

// TestGroupPays holds that the one whose turn comes first pays for a request that several want, and nobody else.
func TestGroupPays(t *testing.T) {
	tests := []struct {
		name  string
		first func(t *testing.T) context.Context // began the flight
		then  func(t *testing.T) context.Context // joined it
		wants string
	}{
		{
			name:  "the first alone",
			first: func(t *testing.T) context.Context { return as(t, "a") },
			then:  func(t *testing.T) context.Context { return as(t, "a") },
			wants: "a",
		},
		{
			name:  "one with a shorter queue",
			first: func(t *testing.T) context.Context { return as(t, "busy") },
			then:  func(t *testing.T) context.Context { return as(t, "b") },
			wants: "b",
		},
		{
			name:  "a person before a batch",
			first: func(t *testing.T) context.Context { return quota.AsBatch(as(t, "a")) },
			then:  func(t *testing.T) context.Context { return as(t, "busy") },
			wants: "busy",
		},
		{
			name:  "batch both",
			first: func(t *testing.T) context.Context { return quota.AsBatch(as(t, "fill")) },
			then:  func(t *testing.T) context.Context { return quota.AsBatch(as(t, "b")) },
			wants: "b",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := full(t)
				c := &clients{s: s, trip: trip}
				c.call(as(t, "busy"), 3)
				c.call(quota.AsBatch(as(t, "fill")), 3)
				flight := quota.NewGroup(tt.first(t))
				join(flight, tt.first(t), t, s)
				c.wg.Go(func() { use(flight, t, s, 10*time.Minute) })
				synctest.Wait()
				alone, waits := s.Waiting(flight)
				join(flight, tt.then(t), t, s)
				shared, _ := s.Waiting(flight)
				if !waits || alone < time.Minute-trip || shared > alone {
					t.Errorf("Waiting() = %v alone and %v shared, want a minute and not more", alone, shared)
				}
				time.Sleep(8 * time.Minute) // when all but the flight's slot have ended
				for _, caller := range s.Standing().Callers {
					if caller.Name != tt.wants || caller.Used != 1 || caller.Waiting != 0 {
						t.Errorf("caller %+v has slots or calls, want only %q with 1", caller, tt.wants)
					}
				}
				if used := s.Standing().Used; used != 1 {
					t.Errorf("slots used = %d, want 1", used)
				}
				c.wg.Wait()
			})
		})
	}
}

// TestGroupLife holds what joining does before, while and after its request waits, and when the request is repeated.
func TestGroupLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := full(t)
		hurry, cancel := context.WithTimeout(as(t, "hurry"), 10*time.Second)
		defer cancel()
		flight, end := context.WithCancel(quota.NewGroup(t.Context()))
		var refused *quota.RefusedError
		if err := s.Join(flight, hurry); !errors.As(err, &refused) || refused.Caller != "hurry" {
			t.Errorf("Join() with a short deadline before the request waits = %v, want a refusal", err)
		}
		join(flight, as(t, "a"), t, s)
		slots := make(chan *quota.Slot)
		take := func() {
			slot, err := s.Take(flight)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Take() = %v, want a slot or that it was cancelled", err)
			}
			slots <- slot
		}
		go take()
		synctest.Wait()
		if err := s.Join(flight, hurry); !errors.As(err, &refused) {
			t.Errorf("Join() with a short deadline while the request waits = %v, want a refusal", err)
		}
		join(flight, as(t, "b"), t, s)
		if got := s.Standing(); got.Waiting != 1 || len(got.Callers) != 3 {
			t.Errorf("standing = %+v, want one call that waits for two callers", got)
		}
		slot := <-slots
		// Who comes when the request has left waits for no slot.
		join(flight, hurry, t, s)
		if wait, waits := s.Waiting(flight); waits {
			t.Errorf("Waiting() of a request that left = %v, want that it does not wait", wait)
		}
		slot.Done()
		for range 19 {
			use(as(t, "before"), t, s, 0)
		}
		go take()
		synctest.Wait()
		if got := s.Standing(); got.Waiting != 1 {
			t.Errorf("standing at the second request = %+v, want one call that waits", got)
		}
		end()
		if slot := <-slots; slot != nil {
			t.Errorf("Take() of a cancelled flight = %v, want none", slot)
		}
		for _, caller := range s.Standing().Callers {
			if caller.Waiting != 0 {
				t.Errorf("caller %+v waits after everybody left, want none", caller)
			}
		}
	})
}

// TestJoinInTime holds that a caller in a hurry may join where the slot comes in time for another, or at once.
func TestJoinInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 20})
		flight := quota.NewGroup(t.Context())
		hurry, cancel := context.WithTimeout(as(t, "busy"), time.Millisecond)
		defer cancel()
		join(flight, hurry, t, s)
		s = full(t)
		c := &clients{s: s, trip: trip}
		flight = quota.NewGroup(as(t, "a"))
		c.wg.Go(func() { use(flight, t, s, 0) })
		synctest.Wait()
		c.call(as(t, "busy"), 10)
		hurry, cancel = context.WithTimeout(as(t, "busy"), time.Minute+5*time.Second)
		defer cancel()
		join(flight, hurry, t, s)
		c.wg.Wait()
	})
}

// TestGroupAlone holds that a request is predicted that stands in several queues in which nobody else waits.
func TestGroupAlone(t *testing.T) {
	for _, asWhom := range []func(context.Context) context.Context{quota.AsBatch, context.WithoutCancel} {
		synctest.Test(t, func(t *testing.T) {
			s := full(t)
			flight := quota.NewGroup(t.Context())
			for _, name := range []string{"a", "b", "c"} {
				join(flight, asWhom(as(t, name)), t, s)
			}
			asked := time.Now()
			done := make(chan struct{})
			go func() {
				use(flight, t, s, 0)
				close(done)
			}()
			synctest.Wait()
			want, _ := s.Waiting(flight)
			<-done
			if got := time.Since(asked); got > want || got < want-3*s.Pace() {
				t.Errorf("a request of three waited %v, want the %v that was said", got, want)
			}
		})
	}
}

// TestLateJoinerHastensRepeat holds that a person who joined a batch request when it had left does not wait at batch priority for
// its repetition.
func TestLateJoinerHastensRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, quota.Config{Rate: 20})
		flight := quota.NewGroup(quota.AsBatch(as(t, "fill")))
		use(flight, t, s, trip)
		join(flight, as(t, "person"), t, s)
		asked := time.Now()
		use(flight, t, s, 0)
		if wait := time.Since(asked); wait != 0 {
			t.Errorf("the repetition waited %v, want none of it", wait)
		}
	})
}
