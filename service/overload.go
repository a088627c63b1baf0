package service

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	otelattribute "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/statuspage"
)

// refusedEvery is how often the log says that calls are refused: a line for each would make an overload worse.
const refusedEvery = time.Second

// gate bounds the work under way in the process. What comes beyond that is refused before anything is known of it: it gets the status
// and the trailers of every error and is counted, and has no line in the log and no record in the audit trail of its own, since
// nothing was done for it.
type gate struct {
	limit    int64
	inFlight atomic.Int64
	// Watches last for hours and do hardly anything: they have places of their own.
	mostWatches int64
	watches     atomic.Int64
	refusal     mapped
	log         *slog.Logger
	observe     func(statuspage.Call)

	refused atomic.Int64 // calls that the log has not told of
	told    atomic.Int64 // when it told, in nanoseconds since 1970
}

func newGate(config Config) *gate {
	return &gate{
		limit: int64(config.MaxInFlight), mostWatches: int64(config.MaxWatches), log: config.Log, observe: config.Observe,
		// One for all: it says nothing of the call. A refusal that was not sent is the same for a read and for a write.
		refusal: toStatus(&localError{reason: tallydv1.ErrorReason_ERROR_REASON_SERVER_OVERLOADED}),
	}
}

// enter takes a place, or reports that there is none. Health and reflection need none.
func (g *gate) enter(fullMethod string) (leave func(), ok bool) {
	if !strings.HasPrefix(fullMethod, "/"+contractPackage) {
		return func() {}, true
	}
	held, most := &g.inFlight, g.limit
	if fullMethod == tallydv1.SubmissionService_WatchSubmissions_FullMethodName {
		held, most = &g.watches, g.mostWatches
	}
	if held.Add(1) > most {
		held.Add(-1)
		return nil, false
	}
	return func() { held.Add(-1) }, true
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	leave, ok := g.enter(info.FullMethod)
	if !ok {
		_ = grpc.SetTrailer(ctx, g.note(ctx, info.FullMethod))
		return nil, g.refusal.status.Err()
	}
	defer leave()
	return next(ctx, req)
}

// note counts a refused call and returns its trailers.
func (g *gate) note(ctx context.Context, fullMethod string) metadata.MD {
	id, now := requestID(ctx), time.Now()
	if g.observe != nil {
		service, method, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
		g.observe(statuspage.Call{
			Time: now, Service: service, Method: method, RequestID: id,
			Code: g.refusal.status.Code().String(), Reason: g.refusal.reason,
		})
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(otelattribute.String("tallyd.reason", g.refusal.reason))
	}
	refused := g.refused.Add(1)
	if told := g.told.Load(); now.UnixNano()-told >= int64(refusedEvery) && g.told.CompareAndSwap(told, now.UnixNano()) {
		g.refused.Add(-refused)
		g.log.Error("calls refused since the process has all the work it can hold", slog.Int64("calls", refused), slog.Int64("limit", g.limit))
	}
	trailer := g.refusal.trailer()
	trailer.Set(trailerID, id)
	trailer.Set(trailerCost, "0")
	return trailer
}
