package tally

import (
	"context"
	"sync/atomic"
	"time"
)

// Call is what the two sides of one RPC tell each other: the service's side leaves a hook, the REST side counts.
type Call struct {
	// BeforeSend, when set, runs once, just before the first byte of a write leaves; an error from it stops the write.
	BeforeSend func() error

	requests atomic.Int64
	age      atomic.Int64 // of the oldest stored answer in use, in nanoseconds; 0 for none
}

// Requests returns how many requests left for Tally so far, retries and probes included.
func (c *Call) Requests() int64 { return c.requests.Load() }

// Age returns how old the oldest of the stored answers is that the call was given, and whether there was one.
func (c *Call) Age() (time.Duration, bool) {
	age := c.age.Load()
	return time.Duration(age), age > 0
}

// stored notes that a stored answer is in use.
func (c *Call) stored(age time.Duration) {
	for now := int64(max(age, 1)); ; {
		before := c.age.Load()
		if now <= before || c.age.CompareAndSwap(before, now) {
			return
		}
	}
}

type callKey struct{}

// NewContext returns a context that carries call.
func NewContext(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

// FromContext returns the call that ctx carries, or an empty one that nobody reads.
func FromContext(ctx context.Context) *Call {
	if call, ok := ctx.Value(callKey{}).(*Call); ok {
		return call
	}
	return &Call{}
}
