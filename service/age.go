package service

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/stats"
)

const (
	// ageSpread is how much earlier than others some streams end, so that not all come back at once. gRPC itself ends connections at up
	// to a tenth before or behind their greatest age.
	ageSpread = 0.1
	// shortestRest is what a stream gets at least: one on an old connection that opened just before it ends.
	shortestRest = 10 * time.Second
)

// connAge tells streams how old their connection is.
type connAge struct {
	greatest time.Duration
}

// connection is what is known of a call's connection.
type connection struct {
	begun    time.Time
	greatest time.Duration
}

type connectionKey struct{}

// age returns what is known of the connection that a call came on.
func age(ctx context.Context) connection {
	c, _ := ctx.Value(connectionKey{}).(connection)
	return c
}

// rest is how long a stream may go on so that it ends before its connection does.
func (c connection) rest() time.Duration {
	if c.greatest <= 0 {
		return 1<<63 - 1
	}
	early := time.Duration((ageSpread + rand.Float64()*ageSpread) * float64(c.greatest)) //nolint:gosec // it only spreads
	return max(c.greatest-early-time.Since(c.begun), shortestRest)
}

// TagConn notes when a connection began.
func (a connAge) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, connection{begun: time.Now(), greatest: a.greatest})
}

// HandleConn does nothing.
func (connAge) HandleConn(context.Context, stats.ConnStats) {}

// TagRPC does nothing.
func (connAge) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (connAge) HandleRPC(context.Context, stats.RPCStats) {}
