package tally

import (
	"context"
	"sync/atomic"
)

// Call is what the two sides of one RPC tell each other: the service's side leaves a hook, the REST side counts.
type Call struct {
	// BeforeSend, when set, runs once, just before the first byte of a write leaves; an error from it stops the write.
	BeforeSend func() error

	requests atomic.Int64
}

// Requests returns how many requests left for Tally so far, retries and probes included.
func (c *Call) Requests() int64 { return c.requests.Load() }

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
