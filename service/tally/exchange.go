package tally

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/quota"
)

// minUseful is the shortest time in which a request to Tally can succeed.
const minUseful = 10 * time.Millisecond

// background bounds how long a write goes on after its caller left.
const background = 30 * time.Second

// errOurLimit ends an attempt that took longer than our own limit.
var errOurLimit = errors.New("the time limit for a request to Tally passed")

// exchange is one call on its way to Tally and back.
type exchange struct {
	client  *Client
	method  *method
	options callOptions
	call    *Call
	msg     protoreflect.Message
	page    *page

	address  string
	body     []byte
	key      apikey.Key // of the last attempt
	attempts int
	hooked   bool
	hookErr  error
	drops    int
	swapped  bool
	replayed bool // an attempt before this one may have reached Tally
}

// prepare binds the request. Its errors are about the request: nothing has left.
func (x *exchange) prepare() error {
	query, err := x.method.query(x.msg)
	if err != nil {
		return err
	}
	if x.method.list != nil {
		if x.page, err = newPage(x.method.list, x.msg); err != nil {
			return err
		}
		x.page.ask(query)
	}
	if x.address, err = x.url(query); err != nil {
		return err
	}
	x.body, err = x.method.body(x.msg, x.options.parts)
	if err == nil && x.method.effect == Update && string(x.body) == "{}" {
		return &fieldRuleError{path: "update_mask", rule: "must name a field to change, or the request must set one"}
	}
	return err
}

// send makes the request and repeats it where that is safe and worth its cost.
func (x *exchange) send(ctx context.Context) (*reply, *Error) {
	x.client.retries.earn()
	var before *Error
	for {
		answer, failure := x.attempt(ctx)
		if failure == nil {
			return answer, nil
		}
		if before != nil && failure.Kind.held() {
			// That there was no second try says less than how the first one went.
			return nil, before
		}
		before = failure
		failure.Attempts = x.attempts
		// A delete that was repeated and finds nothing did its work the first time.
		if x.replayed && failure.Status == http.StatusNotFound && failure.JSON {
			return &reply{status: http.StatusNoContent}, nil
		}
		if !x.again(ctx, failure) {
			if x.replayed && failure.Outcome != OutcomeApplied {
				// The first try may have been carried out, whatever became of the second.
				failure.Outcome = OutcomeUnknown
			}
			return nil, failure
		}
	}
}

// attempt makes one request and judges its answer.
func (x *exchange) attempt(ctx context.Context) (*reply, *Error) {
	key, failure := x.admit(ctx)
	if failure != nil {
		return nil, failure
	}
	slot, failure := x.takeSlot(ctx)
	if failure != nil {
		return nil, failure
	}
	if slot != nil {
		// While it waited, the key may have been swapped or refused.
		if key, failure = x.admit(ctx); failure != nil {
			slot.Return()
			return nil, failure
		}
	}
	x.key = key
	answer, failure := x.guarded(ctx, key, slot)
	if failure != nil && failure.Status == http.StatusUnauthorized && x.options.key == nil {
		x.judgeKey(ctx, failure, key)
	}
	return answer, failure
}

// guarded makes one request if the breaker admits it, and tells the breaker how it went. The check of a key is never held back: who
// must know whether the key lives cannot wait for others' luck.
func (x *exchange) guarded(ctx context.Context, key apikey.Key, slot *quota.Slot) (*reply, *Error) {
	tell, wait := x.client.breaker.admit()
	if tell == nil && x.options.key == nil {
		if slot != nil {
			slot.Return()
		}
		return nil, x.circuitOpen(wait)
	}
	said := verdict{word: neutral}
	if tell != nil {
		defer func() { tell(said) }()
	}
	answer, failure := x.once(ctx, key, slot)
	if x.hookErr == nil {
		said = judge(failure)
	}
	return answer, failure
}

// once makes one request and says what its answer means by itself.
func (x *exchange) once(ctx context.Context, key apikey.Key, slot *quota.Slot) (*reply, *Error) {
	answer, sent, err := x.roundTrip(ctx, key, slot)
	if err != nil {
		return nil, x.transportError(ctx, key, answer, sent, err)
	}
	if answer.status >= 200 && answer.status < 300 {
		return answer, nil
	}
	return nil, x.statusError(answer, key)
}

func (x *exchange) circuitOpen(wait time.Duration) *Error {
	e := x.newError(KindCircuitOpen, OutcomeNotSent)
	e.RetryAfter = wait
	return e
}

// admit picks the key and refuses what cannot succeed.
func (x *exchange) admit(ctx context.Context) (apikey.Key, *Error) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < minUseful {
		return apikey.Key{}, x.newError(KindDeadlineTooShort, OutcomeNotSent)
	}
	if err := ctx.Err(); err != nil {
		return apikey.Key{}, x.transportError(ctx, apikey.Key{}, nil, &departure{}, err)
	}
	if x.options.key != nil {
		return *x.options.key, nil
	}
	if err := x.client.config.Keys.Err(); err != nil {
		e := x.newError(KindKeyRejected, OutcomeNotSent)
		e.setRejected(err)
		return apikey.Key{}, e
	}
	if wait := x.client.breaker.refuses(); wait > 0 {
		return apikey.Key{}, x.circuitOpen(wait)
	}
	return x.client.config.Keys.Current(), nil
}

func (e *Error) setRejected(err error) {
	e.Err = err
	if rejected, ok := errors.AsType[*apikey.RejectedError](err); ok {
		e.KeyAlias, e.KeySince, e.RetryAfter = rejected.Alias, rejected.Since, rejected.RetryAfter
	}
}

// judgeKey asks the key's custodian what a 401 means: a dead key, or a call that this live key may not make.
func (x *exchange) judgeKey(ctx context.Context, failure *Error, key apikey.Key) {
	verdict, err := x.client.config.Keys.Confirm(ctx, key)
	failure.KeyAlias = key.Alias()
	switch verdict {
	case apikey.VerdictGood:
		failure.Kind = KindFeature
	case apikey.VerdictSuperseded:
		failure.Kind, failure.superseded = KindKeyRejected, true
	default:
		// Dead, or it could not be checked: then a 401 means what it says, with no word of a latch.
		failure.Kind = KindKeyRejected
		failure.setRejected(err)
	}
}

// again decides whether to repeat the request, and waits a little if so.
func (x *exchange) again(ctx context.Context, failure *Error) bool {
	switch {
	case x.options.key != nil:
		return false
	case failure.superseded && !x.swapped:
		// Tally did nothing with the old key's request, and another key is in use by now.
		x.swapped = true
		return true
	case x.dropRefused(failure):
		return true
	case x.attempts > 1 || !failure.repeatable() || x.client.breaker.refuses() > 0:
		return false
	case !failure.unprocessed() && !x.client.retries.spend():
		// What Tally turned away unprocessed, as when it renews a busy connection, is no burden to it.
		return false
	}
	wait := 50*time.Millisecond + rand.N(100*time.Millisecond) //nolint:gosec // jitter needs no secrecy
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait+minUseful {
		return false
	}
	x.replayed = x.method.effect == Delete && failure.Outcome == OutcomeUnknown
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// wireResult is what one attempt brought.
type wireResult struct {
	answer *reply
	err    error
}

// roundTrip sends the request and reads the answer.
func (x *exchange) roundTrip(ctx context.Context, key apikey.Key, slot *quota.Slot) (*reply, *departure, error) {
	x.attempts++
	sent := &departure{slot: slot}
	if x.method.effect != Read {
		return x.writeTrip(ctx, key, sent)
	}
	within, stop := context.WithTimeoutCause(ctx, x.client.config.Limits.Total, errOurLimit)
	defer stop()
	answer, err := x.exchangeOnce(within, nil, key, sent)
	return answer, sent, err
}

// writeTrip lets a write that has left go on without its caller.
func (x *exchange) writeTrip(ctx context.Context, key apikey.Key, sent *departure) (*reply, *departure, error) {
	within, stop := context.WithTimeoutCause(context.WithoutCancel(ctx), min(x.client.config.Limits.Total, background), errOurLimit)
	within, cancel := context.WithCancelCause(within)
	result := make(chan wireResult, 1)
	x.client.running.Go(func() {
		defer stop()
		answer, err := x.exchangeOnce(within, cancel, key, sent)
		result <- wireResult{answer, err}
	})
	select {
	case got := <-result:
		return got.answer, sent, got.err
	case <-ctx.Done():
	}
	if !sent.left.Load() {
		cancel(ctx.Err())
		got := <-result
		// The answer may have won the race, and the write may have left in it.
		if got.err == nil {
			return got.answer, sent, nil
		}
		return nil, sent, ctx.Err()
	}
	x.client.running.Go(func() { x.logLate(key, <-result) })
	return nil, sent, ctx.Err()
}

// exchangeOnce makes one request and lets Config.Watch see it.
func (x *exchange) exchangeOnce(ctx context.Context, cancel context.CancelCauseFunc, key apikey.Key, sent *departure) (*reply, error) {
	ctx, done := x.client.config.Watch(ctx, x.method.verb, x.method.template, x.attempts-1)
	answer, err := x.overHTTP(ctx, cancel, key, sent)
	x.pay(sent, answer)
	x.forget()
	status := 0
	if answer != nil {
		status = answer.status
	}
	done(status, failureName(ctx, sent, answer, err))
	return answer, err
}

// failureName is the kind of an attempt's failure in one word, or empty.
func failureName(ctx context.Context, sent *departure, answer *reply, err error) string {
	if err == nil {
		return ""
	}
	kind := KindTimeout
	if !errors.Is(err, errOurLimit) {
		kind = transportKind(ctx, sent, err)
	}
	if answer != nil {
		kind = bodyKind(kind, err)
	}
	return strings.ReplaceAll(strings.ToLower(kind.String()), " ", "_")
}

func (x *exchange) overHTTP(ctx context.Context, cancel context.CancelCauseFunc, key apikey.Key, sent *departure) (*reply, error) {
	req, err := x.request(withKey(httptrace.WithClientTrace(ctx, x.trace(cancel, sent)), key))
	if err != nil {
		return nil, err
	}
	resp, err := x.client.http.RoundTrip(req)
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := readReply(resp, x.client.config.Limits.Body)
	return answer, causeOf(ctx, err)
}

// causeOf prefers the reason for which the context ended to the transport's word for it.
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// request builds the HTTP request from the allow-list of headers; nothing of the caller's metadata is among them.
func (x *exchange) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, x.method.verb, x.address, bytes.NewReader(x.body))
	if err != nil {
		return nil, err
	}
	if x.body == nil {
		req.Body, req.ContentLength = nil, 0
	}
	// With it the transport would repeat a write by itself and not say why; see departure.
	req.GetBody = nil
	req.Header = http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"User-Agent":      {x.client.config.UserAgent},
		"Tally-Version":   {x.client.config.Version},
	}
	if x.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func (x *exchange) logLate(key apikey.Key, got wireResult) {
	attrs := []any{slog.String("method", x.method.name)}
	if got.answer != nil {
		attrs = append(attrs, slog.Int("status", got.answer.status))
	}
	if got.err != nil {
		attrs = append(attrs, slog.String("error", x.newCensor().hide(quiet(key, got.err).Error())))
	}
	x.client.config.Log.Info("write finished after its caller left", attrs...)
}
