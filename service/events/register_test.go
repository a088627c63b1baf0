package events_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

// One webhook of ours is made for a form, kept as it should be, and found again by whoever comes later.
func TestRegister(t *testing.T) { onEach(t, testRegister) }

func testRegister(t *testing.T, on engine) {
	k := newKept(t, on, "https://hooks.example.com")
	k.tally.hooks = []events.Webhook{{ID: "theirs", Form: "f", URL: "https://elsewhere.example.com/hooks/f", Enabled: true}}
	k.tally.deaf = true // the first one is made, and nobody hears of it
	k.tally.submit("a", time.Now().Add(time.Minute))
	if err := k.keeper.Watching(t.Context(), []string{"f"}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); k.keeper.States()[0].Failure == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody hears of the failure")
		}
	}
	k.want("f 1 a") // what no webhook tells of is found by asking
	if k.keeper.States()[0].Compared.IsZero() {
		t.Error("nobody hears that the log was compared")
	}
	k.tally.mu.Lock()
	k.tally.deaf = false
	k.tally.mu.Unlock()
	k.check()
	good := k.tally.hooks[1]
	secrets, err := k.log.Secrets(t.Context(), "f")
	if err != nil || len(secrets) != 1 || good.Secret != secrets[0] || len(good.Secret) < 40 || good.URL != "https://hooks.example.com/hooks/f" || !good.Enabled {
		t.Fatalf("webhook is %+v, secrets are %d, %v", good, len(secrets), err)
	}
	for name, spoil := range map[string]func(*events.Webhook){
		"disabled":      func(w *events.Webhook) { w.Enabled = false },
		"elsewhere":     func(w *events.Webhook) { w.URL = "https://elsewhere.example.com" },
		"other secret":  func(w *events.Webhook) { w.Secret = "x" },
		"of other form": func(w *events.Webhook) { w.Form = "g" },
	} {
		k.tally.mu.Lock()
		spoil(&k.tally.hooks[1])
		k.tally.mu.Unlock()
		k.check()
		if got := k.tally.hooks[1]; got != good {
			t.Errorf("%s: webhook is %+v, want %+v", name, got, good)
		}
	}
	k.tally.mu.Lock()
	k.tally.hooks = k.tally.hooks[:1] // deleted
	k.tally.mu.Unlock()
	k.check()
	if len(k.tally.hooks) != 2 || k.tally.made != 2 || k.tally.hooks[1].Secret != good.Secret {
		t.Errorf("webhooks are %+v after %d were made, want another one in its place", k.tally.hooks, k.tally.made)
	}
}

// Two replicas that both find no webhook make one.
func TestRegisterAtOnce(t *testing.T) { onEach(t, testRegisterAtOnce) }

func testRegisterAtOnce(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	other := k.second(hooksAt)
	var both sync.WaitGroup
	both.Add(2)
	var lists atomic.Int32
	k.tally.listed = func() {
		if lists.Add(1) <= 2 {
			both.Done()
			both.Wait()
		}
	}
	for _, each := range []*kept{k, other} {
		if err := each.keeper.Watching(t.Context(), []string{"f"}); err != nil {
			t.Fatal(err)
		}
	}
	k.pass()
	other.pass()
	other.check()
	k.check()
	if f := k.form(); k.tally.made != 1 || len(k.tally.hooks) != 1 || f.GetWebhook().GetId() != k.tally.hooks[0].ID || f.GetClaimTime() != nil {
		t.Errorf("webhooks are %v after %d were made, the record has %q and a claim of %v, want one that it names",
			k.tally.hooks, k.tally.made, f.GetWebhook().GetId(), f.GetClaimTime())
	}
}

// What another replica is about to make is left to it, and not for ever: it may have died.
func TestClaimExpires(t *testing.T) { onEach(t, testClaimExpires) }

func testClaimExpires(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	claimed := func(ago time.Duration) {
		t.Helper()
		_, err := k.log.UpdateForm(t.Context(), "f", func(f *logv1.Form) bool {
			f.ClaimTime = timestamppb.New(time.Now().Add(-ago))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	claimed(time.Second)
	k.begin()
	if k.tally.made != 0 {
		t.Errorf("%d webhooks are made while another replica makes one", k.tally.made)
	}
	claimed(time.Hour)
	k.check()
	if f := k.form(); k.tally.made != 1 || f.GetClaimTime() != nil {
		t.Errorf("%d webhooks are made after the claim of %v, want 1 and none", k.tally.made, f.GetClaimTime())
	}
}

// Of several webhooks of ours the one that the record names stays.
func TestRegisterKeepsOne(t *testing.T) { onEach(t, testRegisterKeepsOne) }

func testRegisterKeepsOne(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	address := hooksAt + "/hooks/f"
	k.tally.hooks = []events.Webhook{
		{ID: "theirs", Form: "f", URL: "https://elsewhere.example.com"},
		{ID: "one", Form: "f", URL: address},
		{ID: "two", Form: "f", URL: address},
		{ID: "other", Form: "g", URL: hooksAt + "/hooks/g"},
	}
	want := func(what string) {
		t.Helper()
		var got string
		for _, w := range k.tally.hooks {
			got += w.ID + " "
		}
		if id := k.form().GetWebhook().GetId(); got != "theirs one other " || id != "one" || k.tally.made > 0 {
			t.Errorf("%s: left are %q, the record names %q, %d were made", what, got, id, k.tally.made)
		}
	}
	k.begin()
	want("none is named")
	k.tally.mu.Lock()
	k.tally.hooks = append([]events.Webhook{{ID: "zero", Form: "f", URL: address, Enabled: true}}, k.tally.hooks...)
	k.tally.mu.Unlock()
	k.check()
	want("one is named")
}

// A refused list says that there are no webhooks until one was made, and from then on nothing.
func TestListIsRefused(t *testing.T) { onEach(t, testListIsRefused) }

func testListIsRefused(t *testing.T, on engine) {
	k := newKept(t, on, hooksAt)
	k.tally.refusing = true
	k.begin()
	k.check()
	k.check() // the state changes behind the comparison that was waited for
	if s := k.keeper.States()[0]; k.tally.made != 1 || s.Webhook != "unknown" || s.Failure == "" {
		t.Errorf("%d webhooks are made and the state is %+v, want 1 and that nobody knows", k.tally.made, s)
	}
}
