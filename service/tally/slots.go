package tally

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// takeSlot waits for the right to make a request.
func (x *exchange) takeSlot(ctx context.Context) (*quota.Slot, *Error) {
	if x.client.config.Quota == nil {
		return nil, nil //nolint:nilnil // any number may leave
	}
	if x.options.key != nil {
		// There are two checks of the key a minute at most, and calls wait for them. Whose call asked, and who waits with it, is no
		// matter.
		ctx = quota.NewGroup(quota.NewContext(ctx, quota.House))
	}
	slot, err := x.client.config.Quota.Take(ctx)
	if err == nil {
		return slot, nil
	}
	return nil, x.quotaError(ctx, err)
}

// quotaError is a call that got no slot.
func (x *exchange) quotaError(ctx context.Context, err error) *Error {
	refusal, ok := errors.AsType[*quota.RefusedError](err)
	if !ok {
		return x.transportError(ctx, x.key, nil, &departure{}, err)
	}
	e := x.newError(KindQuotaWait, OutcomeNotSent)
	if refusal.Full {
		e.Kind = KindQuotaFull
	}
	e.Err, e.RetryAfter, e.Caller = err, refusal.Wait, refusal.Caller
	return e
}

// held tells that tallyd itself held a request back.
func (k Kind) held() bool { return k == KindQuotaWait || k == KindQuotaFull || k == KindCircuitOpen }

// pay ends what an attempt holds of the quota. A 429 stops everything before anybody else gets a slot.
func (x *exchange) pay(sent *departure, answer *reply) {
	switch {
	case sent.slot == nil:
	case answer != nil:
		if answer.status == http.StatusTooManyRequests && !isChallenge(answer) {
			answer.pause = x.client.config.Quota.Limited(retryAfter(answer.header, time.Now()))
		}
		sent.slot.Done()
	case sent.left.Load():
		sent.slot.Lost()
	default:
		sent.slot.Return()
	}
}
