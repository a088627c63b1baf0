package apikey

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errDown = errors.New("dial tcp: connection refused")

func TestFirstCheckTellsWhoseKeyItIs(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org"), func(b *bench) {
		b.wantCurrent(keyA, false)
		b.wantChecks(1)
		want := State{
			Alias: keyA.Alias(), Since: time.Now(), Checked: time.Now(), Known: true,
			Identity: Identity{UserID: "user", OrganizationID: "org", Plan: "PRO"},
		}
		if diff := cmp.Diff(want, b.State()); diff != "" {
			t.Errorf("State() differs (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, b.states[len(b.states)-1]); diff != "" {
			t.Errorf("last notified state differs (-want +got):\n%s", diff)
		}
		time.Sleep(24 * time.Hour)
		b.wantChecks(1)
	})
}

func TestDeadKeyLatchesAndComesBack(t *testing.T) {
	inBubble(t, tallyWith(), func(b *bench) {
		b.wantCurrent(keyA, true)
		var rejected *RejectedError
		if err := b.Err(); !errors.As(err, &rejected) || !errors.Is(err, ErrRejected) {
			t.Fatalf("Err() = %v, want a *RejectedError", err)
		}
		if wait := rejected.RetryAfter; wait < 24*time.Second || wait > 36*time.Second {
			t.Errorf("RetryAfter = %v, want 30 s ±20 %%", wait)
		}
		if rejected.Alias != keyA.Alias() || !rejected.Since.Equal(time.Now()) {
			t.Errorf("Err() = %+v, want alias %s and now", rejected, keyA.Alias())
		}
		time.Sleep(10 * time.Minute)
		b.wantLines(map[string]int{lineSet: 1, lineClear: 0})

		b.upstream.set(func(u *upstream) { u.orgs[keyA.Alias()] = "org" })
		time.Sleep(37 * time.Second)
		b.wantCurrent(keyA, false)
		b.wantLines(map[string]int{lineSet: 1, lineClear: 1})
		spent := b.upstream.checks()
		time.Sleep(time.Hour)
		b.wantChecks(spent)
	})
}

func TestNetworkDownAtTheStart(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.down = errDown
	inBubble(t, u, func(b *bench) {
		b.wantCurrent(keyA, false)
		if err := b.wantConfirm(keyA, VerdictUnknown); !errors.Is(err, errDown) {
			t.Errorf("Confirm() = %v, want %v", err, errDown)
		}
		b.wantChecks(1)
		time.Sleep(5 * time.Minute)
		b.wantCurrent(keyA, false)
		b.upstream.set(func(u *upstream) { u.down = nil })
		time.Sleep(37 * time.Second)
		if !b.State().Known {
			t.Errorf("State() = %+v, want the identity known", b.State())
		}
		b.wantLines(map[string]int{lineSet: 0, lineClear: 0})
	})
}

func TestConfirmSharesAGoodVerdict(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.delay = 200 * time.Millisecond
	inBubble(t, u, func(b *bench) {
		time.Sleep(time.Hour)
		confirmAtOnce := func(n int) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() { _ = b.wantConfirm(keyA, VerdictGood) })
			}
			all.Wait()
		}
		confirmAtOnce(1000)
		b.wantChecks(2)
		time.Sleep(29 * time.Second)
		confirmAtOnce(10)
		b.wantChecks(2)
		time.Sleep(2 * time.Second)
		confirmAtOnce(10)
		b.wantChecks(3)
		b.wantCurrent(keyA, false)
	})
}

func TestConfirmOfADeadKeyLatchesOnce(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.delay = 200 * time.Millisecond
	inBubble(t, u, func(b *bench) {
		time.Sleep(time.Hour)
		b.upstream.revoke(keyA)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				var rejected *RejectedError
				if err := b.wantConfirm(keyA, VerdictRejected); !errors.As(err, &rejected) {
					t.Errorf("Confirm() = %v, want a *RejectedError", err)
				}
			})
		}
		all.Wait()
		b.wantChecks(2)
		b.wantCurrent(keyA, true)
		b.wantLines(map[string]int{lineSet: 1})
	})
}

func TestUnknownOutcomeNeitherSetsNorClearsTheLatch(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org"), func(b *bench) {
		time.Sleep(time.Hour)
		b.upstream.set(func(u *upstream) { u.down = errDown })
		for range 100 {
			_ = b.wantConfirm(keyA, VerdictUnknown)
		}
		b.wantChecks(2)
		b.wantCurrent(keyA, false)
		time.Sleep(11 * time.Second)
		b.upstream.set(func(u *upstream) { u.down = nil; u.orgs = nil })
		_ = b.wantConfirm(keyA, VerdictRejected)
		b.upstream.set(func(u *upstream) { u.down = errDown })
		time.Sleep(10 * time.Minute)
		b.wantCurrent(keyA, true)
		b.wantLines(map[string]int{lineSet: 1, lineClear: 0})
	})
}

func TestConfirmOfTheOldKeyDoesNotTouchTheNewOne(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org", keyB, "org"), func(b *bench) {
		used := b.Current()
		b.place.swap(keyB, nil)
		synctest.Wait()
		b.upstream.revoke(keyA)
		spent := b.upstream.checks()
		for range 100 {
			_ = b.wantConfirm(used, VerdictSuperseded)
		}
		b.wantChecks(spent)
		b.wantCurrent(keyB, false)
		b.wantLines(map[string]int{lineSet: 0})
	})
}

func TestConfirmOutlivesItsCaller(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.delay = time.Second
	inBubble(t, u, func(b *bench) {
		time.Sleep(time.Hour)
		ctx, cancel := context.WithTimeout(b.t.Context(), 100*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if got, err := b.Confirm(ctx, keyA); got != VerdictUnknown || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Confirm() = %v, %v, want %v, %v", got, err, VerdictUnknown, context.DeadlineExceeded)
			}
		})
		all.Go(func() { _ = b.wantConfirm(keyA, VerdictGood) })
		all.Wait()
		b.wantChecks(2)
	})
}

// The request that a check costs must be counted as, and traced to, the call that caused it.
func TestCheckHasTheValuesOfItsCaller(t *testing.T) {
	u := tallyWith(keyA, "org")
	inBubble(t, u, func(b *bench) {
		time.Sleep(time.Hour)
		ctx := context.WithValue(b.t.Context(), callerKey{}, "caller")
		if got, err := b.Confirm(ctx, keyA); got != VerdictGood || err != nil {
			t.Errorf("Confirm() = %v, %v, want %v", got, err, VerdictGood)
		}
	})
	if diff := cmp.Diff([]any{nil, "caller"}, u.behalf); diff != "" {
		t.Errorf("checks were made on behalf of (-want +got):\n%s", diff)
	}
}

func TestHangingCheckIsCutOff(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.hanged = true
	inBubble(t, u, func(b *bench) {
		if err := b.wantConfirm(keyA, VerdictUnknown); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Confirm() = %v, want %v", err, context.DeadlineExceeded)
		}
		b.wantCurrent(keyA, false)
	})
}

func TestErrorOfTheCheckNeverShowsTheKey(t *testing.T) {
	u := tallyWith()
	u.down = fmt.Errorf("GET with Authorization: Bearer %s: %w", keyA.Reveal(), errDown)
	inBubble(t, u, func(b *bench) {
		err := b.wantConfirm(keyA, VerdictUnknown)
		wantNoMarker(t, "error", keyA, err.Error())
		if !errors.Is(err, errDown) {
			t.Errorf("Confirm() = %v, want %v", err, errDown)
		}
	})
}

func TestStoppedKeeper(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org"), func(b *bench) {
		if err := b.Run(b.t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("second Run() = %v, want %v", err, ErrRunning)
		}
		b.end()
		time.Sleep(time.Hour)
		if err := b.wantConfirm(keyA, VerdictUnknown); !errors.Is(err, ErrStopped) {
			t.Errorf("Confirm() = %v, want %v", err, ErrStopped)
		}
		b.wantCurrent(keyA, false)
	})
}

func TestRunEndsDuringACheck(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.hanged = true
	inBubble(t, u, func(b *bench) {
		begin := time.Now()
		b.end()
		if took := time.Since(begin); took != 0 {
			t.Errorf("Run() returned %v after the end, want at once", took)
		}
		b.wantLines(map[string]int{"could not be checked": 0})
	})
}

func TestNewReturnsTheErrorOfTheSource(t *testing.T) {
	_, err := New(&place{err: &FileError{Path: "/run/key", Err: ErrEmpty}}, nil)
	if !errors.Is(err, ErrEmpty) {
		t.Errorf("New() = %v, want %v", err, ErrEmpty)
	}
}

// No minute sees a third check of a dead key, and no caller gets through to Tally, whatever a thousand calls a second
// and the moment of death.
func TestDeadKeyCostsTwoRequestsAMinute(t *testing.T) {
	u := tallyWith(keyA, "org")
	u.delay = 150 * time.Millisecond
	inBubble(t, u, func(b *bench) {
		time.Sleep(time.Minute + rand.N(time.Minute))
		b.upstream.revoke(keyA)
		var sent, latched int
		var callers sync.WaitGroup
		for range 5 * 60 * 1000 {
			if b.Err() != nil {
				latched++
			} else if sent++; true {
				callers.Go(func() { _ = b.wantConfirm(keyA, VerdictRejected) })
			}
			time.Sleep(time.Millisecond)
		}
		callers.Wait()
		// The calls of the time that the one check took have left; no other ever does.
		if limit := int(u.delay/time.Millisecond) + 1; sent > limit || latched == 0 {
			t.Errorf("%d calls were sent and %d stopped, want at most %d sent", sent, latched, limit)
		}
		for i := 3; i < len(u.times); i++ {
			if gap := u.times[i].Sub(u.times[i-2]); gap < time.Minute {
				t.Errorf("checks %d and %d are %v apart, want a minute", i-2, i, gap)
			}
		}
		if got := len(u.times); got < 10 || got > 12 {
			t.Errorf("tally was asked %d times in five minutes, want 2 a minute", got)
		}
	})
}

func TestPause(t *testing.T) {
	wait := between
	for range 10_000 {
		next := pause(wait)
		if next < 24*time.Second || next > 36*time.Second || wait+next < time.Minute {
			t.Fatalf("pause(%v) = %v, want 30 s ±20 %% and a minute for both", wait, next)
		}
		wait = next
	}
}

func TestVerdictString(t *testing.T) {
	want := []string{"unknown", "good", "rejected", "superseded"}
	var got []string
	for v := VerdictUnknown; v <= VerdictSuperseded; v++ {
		got = append(got, v.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("String() differs (-want +got):\n%s", diff)
	}
}
