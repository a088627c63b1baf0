package tally_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

// TestDeadKey covers row 15: under the latch nothing leaves, and a confirmed 401 says so.
func TestDeadKey(t *testing.T) {
	fake := play(t, reply("401 X", "", "Unauthorized"))
	leavesNothing(t)
	key := newKey(t)
	key.verdict = apikey.VerdictRejected
	client := clientFor(t, fake.url(), func(c *tally.Config) { c.Keys = key })
	req, resp := read()
	err := client.Call(t.Context(), req, resp)
	checkFault(t, err, tally.KindKeyRejected, tally.OutcomeRejected)
	failure, _ := errors.AsType[*tally.Error](err)
	if failure.KeyAlias != key.key.Alias() || failure.KeySince.IsZero() {
		t.Errorf("KeyAlias, KeySince = %q, %v, want the key's alias and when it was latched", failure.KeyAlias, failure.KeySince)
	}
	key.err = &apikey.RejectedError{Alias: key.key.Alias(), Since: time.Now()}
	checkFault(t, client.Call(t.Context(), req, resp), tally.KindKeyRejected, tally.OutcomeNotSent)
	if n := fake.requests.Load(); n != 1 {
		t.Errorf("Tally saw %d requests, want 1: none under the latch", n)
	}
}

// TestSupersededKey sends again with the new key, once, since Tally did nothing with the old one's request.
func TestSupersededKey(t *testing.T) {
	fake := play(t, reply("401 X", "", "Unauthorized"), reply("201 Created", json, okForm))
	leavesNothing(t)
	key := newKey(t)
	key.verdict = apikey.VerdictSuperseded
	client := clientFor(t, fake.url(), func(c *tally.Config) { c.Keys = key })
	req, resp := write()
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Errorf("Call() = %v, want nil", err)
	}
	dead := play(t, reply("401 X", "", "Unauthorized"))
	client = clientFor(t, dead.url(), func(c *tally.Config) { c.Keys = key })
	checkFault(t, client.Call(t.Context(), req, resp), tally.KindKeyRejected, tally.OutcomeRejected)
	if n := dead.requests.Load(); n != 2 {
		t.Errorf("Tally saw %d requests, want 2", n)
	}
}

// TestCallerLeaves covers row 74: before a request leaves it is taken back; a write that left is finished without its caller.
func TestCallerLeaves(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	fake := play(t, func(c net.Conn, r *http.Request) {
		close(arrived)
		<-release
		reply("201 Created", json, okForm)(c, r)
	})
	leavesNothing(t)
	client := clientFor(t, fake.url())
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		req, resp := write()
		result <- client.Call(ctx, req, resp)
	}()
	<-arrived
	cancel()
	checkFault(t, <-result, tally.KindCancelled, tally.OutcomeUnknown)
	close(release)
	client.Close()

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	req, resp := write()
	checkFault(t, client.Call(gone, req, resp), tally.KindCancelled, tally.OutcomeNotSent)
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	checkFault(t, client.Call(short, req, resp), tally.KindDeadlineTooShort, tally.OutcomeNotSent)
	if n := fake.requests.Load(); n != 1 {
		t.Errorf("Tally saw %d requests, want 1", n)
	}
}

// TestBeforeSend runs the hook of a write once a connection is there, and an error from it stops the write.
func TestBeforeSend(t *testing.T) {
	fake := play(t, reply("201 Created", json, okForm))
	leavesNothing(t)
	client := clientFor(t, fake.url())
	hooks := 0
	var stop error
	ctx := tally.NewContext(t.Context(), &tally.Call{BeforeSend: func() error { hooks++; return stop }})
	req, resp := write()
	if err := client.Call(ctx, req, resp); err != nil || hooks != 1 {
		t.Errorf("Call() = %v with %d hooks, want nil with 1", err, hooks)
	}
	if got := tally.FromContext(ctx).Requests(); got != 1 {
		t.Errorf("Requests() = %d, want 1", got)
	}
	req, resp = read()
	if err := client.Call(ctx, req, resp); err != nil || hooks != 1 {
		t.Errorf("a read ran the hook (%v, %d hooks)", err, hooks)
	}
	before := fake.requests.Load()
	stop = errors.New("the caller is gone")
	ctx = tally.NewContext(t.Context(), &tally.Call{BeforeSend: func() error { return stop }})
	req, resp = write()
	if err := client.Call(ctx, req, resp); err == nil {
		t.Error("Call() = nil, want an error")
	}
	if got := fake.requests.Load(); got != before {
		t.Errorf("the write left although its hook failed")
	}
}
