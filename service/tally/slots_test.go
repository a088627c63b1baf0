package tally_test

import (
	"testing"

	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// TestKeyCheckGoesFirst holds that a check of the key is paid by the program itself, at its weight, whoever's call asked for it.
func TestKeyCheckGoesFirst(t *testing.T) {
	fake := play(t, reply("200 OK", json, okForm))
	leavesNothing(t)
	key := newKey(t)
	scheduler := quota.New(quota.Config{Rate: 100, Unused: true})
	client := clientFor(t, fake.url(), func(c *tally.Config) { c.Keys, c.Quota = key, scheduler })
	caller := quota.Caller{Name: "app", Weight: 1}
	ctx := quota.NewGroup(quota.NewContext(t.Context(), caller))
	if err := scheduler.Join(ctx, ctx); err != nil {
		t.Fatal(err)
	}
	req, resp := read()
	if err := client.Call(ctx, req, resp, tally.WithKey(key.key)); err != nil {
		t.Fatal(err)
	}
	got := scheduler.Standing().Callers
	if len(got) != 1 || got[0].Caller != quota.House || got[0].Used != 1 {
		t.Errorf("the slot is held by %+v, want %+v", got, quota.House)
	}
}
