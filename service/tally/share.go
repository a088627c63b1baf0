package tally

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/cache"
	"github.com/tallyd/tallyd/service/quota"
)

const (
	// oldest bounds how old an answer a caller may ask for.
	oldest = 5 * time.Minute
	// missing bounds how long it is remembered that Tally does not know something.
	missing = 5 * time.Second
)

type freshnessContext struct{}

// WithFreshness returns a context whose reads take answers that are no older than age, whatever the contract says; 0 demands that Tally
// is asked anew.
func WithFreshness(ctx context.Context, age time.Duration) context.Context {
	return context.WithValue(ctx, freshnessContext{}, min(max(age, 0), oldest))
}

// sharing is how a read may be shared.
type sharing struct {
	key   cache.Key
	fresh time.Duration
	alone bool
}

// sharing returns how a call may be shared; nil for one that may not: a write, one with a key of its own, and one that looks at what
// Tally sent beyond the response.
func (c *Client) sharing(ctx context.Context, m *method, req proto.Message, o *callOptions) *sharing {
	if c.config.Cache == nil || m.effect != Read || o.key != nil || len(o.capture) > 0 {
		return nil
	}
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil // it will fail again where an error is due
	}
	s := &sharing{
		key:   cache.Key{Account: c.config.Keys.Current().Alias(), Method: m.name, Request: string(canonical)},
		fresh: m.freshness,
	}
	if asked, ok := ctx.Value(freshnessContext{}).(time.Duration); ok {
		s.fresh, s.alone = asked, asked == 0
	}
	return s
}

// share fills resp with an answer that others asked for, or asks for one that others may have.
func (c *Client) share(ctx context.Context, x *exchange, s *sharing, resp proto.Message) error {
	path, err := x.method.path(x.msg)
	if err != nil {
		return x.refused(err)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < minUseful {
		return x.newError(KindDeadlineTooShort, OutcomeNotSent)
	}
	ctx = quota.NewGroup(ctx)
	flight := ctx
	own := *x // the flight may outlast this call
	answer, err := c.config.Cache.Get(ctx, cache.Ask{
		Key: s.key, Path: path, Fresh: s.fresh, Keep: max(s.fresh, x.method.freshness), Alone: s.alone, KeepError: remembered,
		Join: func(of context.Context) error {
			flight = of
			return x.join(of, ctx)
		},
	}, func(ctx context.Context) ([]byte, error) { return own.fetch(ctx, resp) })
	if err != nil {
		return x.shared(ctx, flight, err)
	}
	return x.deliver(answer, resp)
}

// join lets a caller wait for a flight if its time suffices.
func (x *exchange) join(flight, ctx context.Context) error {
	if x.client.config.Quota == nil {
		return nil
	}
	if err := x.client.config.Quota.Join(flight, ctx); err != nil {
		return x.quotaError(ctx, err)
	}
	return nil
}

// fetch makes the request and returns the whole answer as it will travel.
func (x *exchange) fetch(ctx context.Context, like proto.Message) ([]byte, error) {
	answer, failure := x.send(ctx)
	resp := like.ProtoReflect().New().Interface()
	if failure == nil {
		failure = x.finish(answer, resp)
	}
	if failure != nil {
		return nil, x.newCensor().clean(failure)
	}
	return proto.Marshal(resp)
}

// deliver fills resp with an answer that may be others' as well.
func (x *exchange) deliver(answer cache.Answer, resp proto.Message) error {
	if answer.Source == cache.Stored {
		x.call.stored(answer.Age)
	}
	if x.options.opaque {
		resp.ProtoReflect().SetUnknown(answer.Body)
		return nil
	}
	if err := proto.Unmarshal(answer.Body, resp); err != nil {
		e := x.newError(KindContract, OutcomeUnknown)
		e.Err = err
		return e
	}
	return nil
}

// shared is how a call failed that waited for a flight: with it, or on its own.
func (x *exchange) shared(ctx, flight context.Context, err error) error {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	if panicked, ok := errors.AsType[*cache.PanicError](err); ok {
		panic(fmt.Sprintf("%v\n%s", panicked.Value, panicked.Stack)) // where somebody catches it
	}
	wait, waiting := time.Duration(0), false
	if x.client.config.Quota != nil {
		wait, waiting = x.client.config.Quota.Waiting(flight)
	}
	if waiting && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return x.quotaError(ctx, &quota.RefusedError{Caller: quota.CallerOf(ctx).Name, Wait: wait})
	}
	sent := &departure{}
	sent.left.Store(!waiting)
	return x.transportError(ctx, x.key, nil, sent, err)
}

// remembered is how long an error may be handed out again: that there is no such thing, for a moment.
func remembered(err error) time.Duration {
	if failure, ok := errors.AsType[*Error](err); ok && failure.Kind == KindStatus && failure.Status == http.StatusNotFound && failure.JSON {
		return missing
	}
	return 0
}

// forget makes forget what a write may have changed, whatever became of it: all about the resource at the head of its route, the list
// that holds it, and what the contract says beyond.
func (x *exchange) forget() {
	if x.client.config.Cache == nil || x.method.effect == Read {
		return
	}
	path, err := x.method.path(x.msg)
	if err != nil {
		return
	}
	parts := strings.SplitN(path, "/", 4) // "", collection, id, rest
	if len(parts) < 3 {
		parts = append(parts, "-") // what is new has no answers yet; the list that will hold it has
	}
	x.client.config.Cache.Drop(append([]string{strings.Join(parts[:3], "/")}, x.method.touches...)...)
}
