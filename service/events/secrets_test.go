package events_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
)

const day = 24 * time.Hour

// changeSecrets changes the secrets of form f.
func (k *kept) changeSecrets(change func(secrets []*logv1.Secret)) {
	k.t.Helper()
	k.change(func(f *logv1.Form) { change(f.GetWebhook().GetSecrets()) })
}

// wantSecrets demands how many secrets are kept, how many count, and that Tally has the newest, which it returns.
func (k *kept) wantSecrets(what string, keeps, count int) string {
	k.t.Helper()
	kept := k.form().GetWebhook().GetSecrets()
	secrets, err := k.log.Secrets(k.t.Context(), "f")
	if err != nil || len(kept) != keeps || len(secrets) != count {
		k.t.Fatalf("%s: %d secrets are kept and %d count, %v, want %d and %d", what, len(kept), len(secrets), err, keeps, count)
	}
	if k.tally.hooks[0].Secret != kept[0].GetValue() || secrets[0] != kept[0].GetValue() {
		k.t.Errorf("%s: Tally has another secret than the newest", what)
	}
	return kept[0].GetValue()
}

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-d)) }

// A secret that is old enough is replaced, counts for as long as Tally repeats what it signed, and is then forgotten.
func TestSecretsAreRenewed(t *testing.T) { onEach(t, testSecretsAreRenewed) }

func testSecretsAreRenewed(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	k.begin()
	first := k.wantSecrets("the first", 1, 1)
	k.changeSecrets(func(s []*logv1.Secret) { s[0].CreateTime = ago(89 * day) })
	k.check()
	k.wantSecrets("not old enough", 1, 1)
	k.changeSecrets(func(s []*logv1.Secret) { s[0].CreateTime = ago(91 * day) })
	k.check()
	if k.wantSecrets("old enough", 2, 2) == first {
		t.Error("the secret is what it was")
	}
	k.check()
	k.wantSecrets("once", 2, 2)
	k.changeSecrets(func(s []*logv1.Secret) { s[1].ReplaceTime = ago(31*time.Hour + 40*time.Minute) })
	k.check()
	k.wantSecrets("as long as Tally repeats", 2, 2)
	k.changeSecrets(func(s []*logv1.Secret) { s[1].ReplaceTime = ago(33 * time.Hour) })
	k.wantSecrets("longer", 2, 1)
	k.check()
	if k.wantSecrets("longer, and looked at", 1, 1) == first {
		t.Error("the old one is kept")
	}
}

// As long as Tally could not be told of a new secret the old one counts, however long ago that began.
func TestUsedSecretCounts(t *testing.T) { onEach(t, testUsedSecretCounts) }

func testUsedSecretCounts(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	k.begin()
	first := k.wantSecrets("the first", 1, 1)
	k.changeSecrets(func(s []*logv1.Secret) { s[0].CreateTime = ago(91 * day) })
	k.check()
	k.tally.mu.Lock()
	k.tally.hooks[0].Secret = first
	k.tally.mu.Unlock()
	k.changeSecrets(func(s []*logv1.Secret) { s[1].ReplaceTime = ago(33 * time.Hour) })
	k.check()
	k.wantSecrets("Tally is told", 2, 2)
}

// The age of a secret that nobody noted counts from the first look at it, and without an age it has no end.
func TestSecretsWithoutAge(t *testing.T) { onEach(t, testSecretsWithoutAge) }

func testSecretsWithoutAge(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	k.begin()
	k.changeSecrets(func(s []*logv1.Secret) { s[0].CreateTime = nil })
	k.check()
	k.wantSecrets("of an unknown age", 1, 1)
	if at := k.form().GetWebhook().GetSecrets()[0].GetCreateTime(); at == nil || time.Since(at.AsTime()) > time.Minute {
		t.Errorf("it is noted as made at %v, want now", at)
	}
	k.stop()
	k.changeSecrets(func(s []*logv1.Secret) { s[0].CreateTime = ago(1000 * day) })
	k.secretAge = 0
	k.keep(hooksAt)
	k.pass()
	k.wantSecrets("without end", 1, 1)
}
