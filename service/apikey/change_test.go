package apikey

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyChange(t *testing.T) {
	tests := []struct {
		name         string
		upstream     *upstream
		prepare      func(b *bench) // after the first check of keyA and an hour, before keyB appears
		wantKey      Key
		wantRejected bool
		wantReason   string
		wantLine     string
	}{
		{
			name: "same organization", upstream: tallyWith(keyA, "org", keyB, "org"),
			wantKey: keyB, wantLine: "key is replaced\"",
		},
		{
			name: "other organization", upstream: tallyWith(keyA, "org", keyB, "strangers"),
			wantKey: keyA, wantReason: reasonOrganization, wantLine: "new_organization=strangers",
		},
		{
			name: "other organization, old one latched", upstream: tallyWith(keyA, "org", keyB, "strangers"),
			prepare: func(b *bench) { b.upstream.revoke(keyA); _ = b.wantConfirm(keyA, VerdictRejected) },
			wantKey: keyB, wantLine: "old_organization=org",
		},
		{
			name: "other organization, old one dead and nobody noticed", upstream: tallyWith(keyA, "org", keyB, "strangers"),
			prepare: func(b *bench) { b.upstream.revoke(keyA) },
			wantKey: keyB, wantLine: "old_organization=org",
		},
		{
			name: "old one never worked", upstream: tallyWith(keyB, "org"),
			wantKey: keyB, wantLine: "cannot be compared",
		},
		{
			name: "rejected", upstream: tallyWith(keyA, "org"),
			wantKey: keyA, wantReason: reasonRejected, wantLine: lineKept,
		},
		{
			name: "rejected like the old one", upstream: tallyWith(),
			wantKey: keyB, wantRejected: true, wantLine: "rejected like the old one",
		},
		{
			name: "not to be checked", upstream: tallyWith(keyA, "org", keyB, "org"),
			prepare: func(b *bench) { b.upstream.set(func(u *upstream) { u.down = errDown }) },
			wantKey: keyA, wantReason: reasonUnchecked, wantLine: lineKept,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.upstream, func(b *bench) {
				time.Sleep(time.Hour)
				if tt.prepare != nil {
					tt.prepare(b)
				}
				b.place.swap(keyB, nil)
				synctest.Wait()
				b.wantCurrent(tt.wantKey, tt.wantRejected)
				if got := b.State().Reason; got != tt.wantReason {
					t.Errorf("State().Reason = %q, want %q", got, tt.wantReason)
				}
				wantRefused := ""
				if tt.wantReason != "" {
					wantRefused = keyB.Alias()
				}
				if got := b.State().Refused; got != wantRefused {
					t.Errorf("State().Refused = %q, want %q", got, wantRefused)
				}
				b.wantLines(map[string]int{tt.wantLine: 1})
				// Looking again, as the poll does, costs nothing and says nothing more.
				spent := b.upstream.checks()
				for range 10 {
					b.place.swap(keyB, nil)
					synctest.Wait()
				}
				b.wantChecks(spent)
				b.wantLines(map[string]int{tt.wantLine: 1})
			})
		})
	}
}

func TestKeyThatCouldNotBeCheckedIsTriedAgain(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org", keyB, "org"), func(b *bench) {
		b.upstream.set(func(u *upstream) { u.down = errDown })
		b.place.swap(keyB, nil)
		synctest.Wait()
		spent := b.upstream.checks()
		for range 10 * 60 {
			// Calls that keep asking about the old key must not put the new one off.
			_, _ = b.Confirm(b.t.Context(), keyA)
			time.Sleep(time.Second)
		}
		b.wantCurrent(keyA, false)
		b.wantLines(map[string]int{lineKept: 1})
		if got := b.upstream.checks() - spent; got < 60 || got > 90 {
			t.Errorf("tally was asked %d times in ten minutes, want 2 a minute for the new key and 6 for the old", got)
		}
		b.upstream.set(func(u *upstream) { u.down = nil })
		time.Sleep(37 * time.Second)
		b.wantCurrent(keyB, false)
		if got := b.State(); got.Refused != "" || got.Reason != "" {
			t.Errorf("State() = %+v, want nothing refused", got)
		}
	})
}

func TestRefusedKeyTakesOverWhenTheOldOneDies(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org", keyB, "strangers"), func(b *bench) {
		b.place.swap(keyB, nil)
		synctest.Wait()
		b.wantCurrent(keyA, false)
		b.upstream.revoke(keyA)
		time.Sleep(time.Minute)
		_ = b.wantConfirm(keyA, VerdictSuperseded)
		b.wantCurrent(keyB, false)
		b.wantLines(map[string]int{"old_organization=org": 1, lineSet: 0, lineClear: 0})
	})
}

func TestSwapThatNobodyToldAboutIsFoundBeforeTheLatchSets(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org", keyB, "org"), func(b *bench) {
		time.Sleep(time.Hour)
		b.place.put(keyB, nil)
		b.upstream.revoke(keyA)
		_ = b.wantConfirm(keyA, VerdictSuperseded)
		b.wantCurrent(keyB, false)
		b.wantLines(map[string]int{lineSet: 0, lineClear: 0})
	})
}

func TestNewKeyUnderTheLatchIsCheckedAtOnce(t *testing.T) {
	inBubble(t, tallyWith(keyB, "org"), func(b *bench) {
		b.wantCurrent(keyA, true)
		time.Sleep(5 * time.Second)
		b.place.swap(keyB, nil)
		synctest.Wait()
		b.wantCurrent(keyB, false)
		b.wantLines(map[string]int{lineSet: 1, lineClear: 1})
	})
}

func TestDeadKeyAfterDeadKeyStaysCheap(t *testing.T) {
	inBubble(t, tallyWith(), func(b *bench) {
		b.place.swap(keyB, nil)
		synctest.Wait()
		spent := b.upstream.checks()
		time.Sleep(10 * time.Minute)
		if got := b.upstream.checks() - spent; got < 17 || got > 20 {
			t.Errorf("tally was asked %d times in ten minutes, want 2 a minute", got)
		}
		b.wantCurrent(keyB, true)
		b.wantLines(map[string]int{lineSet: 1, lineClear: 0})
	})
}

func TestReturnToTheKeyInUseDropsTheRefusal(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org", keyB, "strangers"), func(b *bench) {
		b.place.swap(keyB, nil)
		synctest.Wait()
		b.place.swap(keyA, nil)
		synctest.Wait()
		b.wantCurrent(keyA, false)
		if got := b.State(); got.Refused != "" || got.Reason != "" {
			t.Errorf("State() = %+v, want nothing refused", got)
		}
		b.place.swap(keyC, nil)
		synctest.Wait()
		b.wantCurrent(keyA, false)
		if got, want := b.State().Refused, keyC.Alias(); got != want {
			t.Errorf("State().Refused = %q, want %q", got, want)
		}
	})
}

func TestBadFileKeepsTheLastGoodKey(t *testing.T) {
	inBubble(t, tallyWith(keyA, "org", keyB, "org"), func(b *bench) {
		empty := &FileError{Path: "/run/key", Err: ErrEmpty}
		for _, err := range []error{empty, empty, empty, &FileError{Path: "/run/key", Err: ErrTwoLines}} {
			b.place.swap(Key{}, err)
			synctest.Wait()
		}
		b.wantCurrent(keyA, false)
		b.wantChecks(1)
		b.wantLines(map[string]int{"new key cannot be read": 2, "is empty": 1, "more than one line": 1})
		b.place.swap(keyB, nil)
		synctest.Wait()
		b.wantCurrent(keyB, false)
		b.place.swap(Key{}, errors.New("gone"))
		synctest.Wait()
		b.wantCurrent(keyB, false)
	})
}
