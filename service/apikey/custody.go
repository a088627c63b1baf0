package apikey

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// checkLimit bounds one check, so that a Tally that hangs does not hold up the next key.
	checkLimit = 15 * time.Second
	// between, with a spread of a fifth, is the wait from one check to the next while something is wrong.
	between = 30 * time.Second
	spread  = between / 5
)

// custody is what only the goroutine of Run touches: the key in use, the verdict on it, and the key that waits.
type custody struct {
	*Keeper
	key      Key
	identity Identity
	known    bool
	dead     bool
	since    time.Time
	checked  time.Time
	last     outcome
	refused  refusal
	badFile  string // the last complaint about the source, so that each is logged once

	timer *time.Timer
	next  time.Time
	wait  time.Duration
}

// refusal is a key that the source holds and that is not taken.
type refusal struct {
	key    Key
	reason string
	// again says that nothing was learnt about it, so that it is worth another try.
	again bool
}

func newCustody(k *Keeper) *custody {
	now := k.now.Load()
	return &custody{Keeper: k, key: now.key, since: now.state.Since, wait: between}
}

func (c *custody) run(ctx context.Context, changed <-chan struct{}) {
	c.timer = time.NewTimer(between)
	defer c.timer.Stop()
	c.publish()
	c.review(ctx)
	c.arm()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-changed:
			if c.consider(ctx, false) {
				c.arm()
			}
		case <-c.timer.C:
			c.review(ctx)
			c.arm()
		case asked := <-c.requests:
			c.answer(ctx, asked)
		}
	}
}

// answer serves one Confirm. Those that queued up behind it find the verdict published and need no check.
func (c *custody) answer(ctx context.Context, asked request) {
	got, ok := c.now.Load().judge(asked.used, time.Now())
	if !ok {
		c.settleFor(ctx, asked.from)
		// A timer that runs for another key stays, or calls that keep asking would put it off for ever.
		if c.dead || c.next.IsZero() || !c.unsettled() {
			c.arm()
		}
		got, _ = c.now.Load().judge(asked.used, time.Now())
	}
	asked.reply <- got
}

// settleFor settles with the values of the call that asks. Its end is Run's alone.
func (c *custody) settleFor(ctx, from context.Context) {
	within, cancel := context.WithCancel(context.WithoutCancel(from))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	c.settle(within)
}

// review is what the timer is for: another key comes first, since it may end the trouble with the old one, and one
// check each time is all that a dead key may cost.
func (c *custody) review(ctx context.Context) {
	if c.consider(ctx, c.dead || c.refused.again) {
		return
	}
	if c.dead || !c.known {
		c.settle(ctx)
	}
}

// settle checks the key in use. A key that turns out dead is not latched before the source was asked once more: a
// swap may have escaped the watch, and a key that was refused is better than a dead one.
func (c *custody) settle(ctx context.Context) {
	wasDead := c.dead
	c.probe(ctx)
	if c.dead && !wasDead && c.consider(ctx, true) {
		return
	}
	c.publish()
}

// probe asks Tally about the key in use and notes what came of it, without publishing it.
func (c *custody) probe(ctx context.Context) {
	identity, err := c.ask(ctx, c.key)
	now := time.Now()
	switch {
	case err == nil:
		c.accept(identity, now)
	case errors.Is(err, ErrRejected):
		c.checked = now
		c.last = outcome{verdict: VerdictRejected, err: err, at: now}
		c.latch(true, now)
	default:
		// Nothing was learnt, so the latch stays as it is.
		c.last = outcome{verdict: VerdictUnknown, err: err, at: now}
		if ctx.Err() == nil {
			c.log.Warn("key could not be checked", "alias", c.key.Alias(), "error", err)
		}
	}
}

func (c *custody) accept(identity Identity, now time.Time) {
	c.identity, c.known, c.checked = identity, true, now
	c.last = outcome{verdict: VerdictGood, at: now}
	c.latch(false, now)
}

func (c *custody) latch(dead bool, now time.Time) {
	if c.dead != dead {
		c.dead, c.since, c.wait = dead, now, between
	}
}

func (c *custody) ask(ctx context.Context, key Key) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	identity, err := c.check(ctx, key)
	if err != nil {
		return Identity{}, newCheckError(key, err)
	}
	return identity, nil
}

// publish shows the world where things stand and raises the alarm, once when the latch sets and once when it clears.
func (c *custody) publish() {
	before := c.now.Load().state
	state := State{
		Alias: c.key.Alias(), Rejected: c.dead, Since: c.since, Known: c.known, Identity: c.identity,
		Checked: c.checked, Reason: c.refused.reason,
	}
	if !c.refused.key.IsZero() {
		state.Refused = c.refused.key.Alias()
	}
	c.now.Store(&snapshot{key: c.key, state: state, last: c.last, next: c.next})
	switch {
	case state.Rejected && !before.Rejected:
		c.log.Error("tally rejects the key: calls fail until another is supplied", "alias", state.Alias)
	case before.Rejected && !state.Rejected:
		c.log.Warn("tally accepts the key: calls go through again", "alias", state.Alias, "rejected_for", state.Since.Sub(before.Since))
	}
	for _, notify := range c.notify {
		notify(state)
	}
}

// unsettled reports whether something is wrong that time may mend.
func (c *custody) unsettled() bool { return c.dead || !c.known || c.refused.again }

// arm sets the timer anew, or stops it when nothing calls for another check.
func (c *custody) arm() {
	if !c.unsettled() {
		c.timer.Stop()
		c.next = time.Time{}
		c.wait = between
		return
	}
	c.wait = pause(c.wait)
	c.next = time.Now().Add(c.wait)
	c.timer.Reset(c.wait)
	now := *c.now.Load()
	now.next = c.next
	c.now.Store(&now)
}

// pause returns the wait after one of the length before: 30 s ±20 %, so that replicas drift apart, but never less
// than a minute for the two together, so that no minute sees a third check.
func pause(before time.Duration) time.Duration {
	low := max(between-spread, 2*between-before)
	high := between + spread
	return low + rand.N(high-low+1) //nolint:gosec // spreads load, keeps no secret
}
