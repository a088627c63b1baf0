package service

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	otelattribute "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tallyd/tallyd/service/statuspage"
)

// logUnary tells of each finished call.
func (s *Server) logUnary() grpc.UnaryServerInterceptor {
	return interceptors.UnaryServerInterceptor(interceptors.CommonReportableFunc(s.report))
}

// report returns what tells of a call when it is finished; health and reflection are silent.
func (s *Server) report(ctx context.Context, call interceptors.CallMeta) (interceptors.Reporter, context.Context) {
	if !strings.HasPrefix(call.Service, contractPackage) {
		return interceptors.NoopReporter{}, ctx
	}
	return finishedCall{server: s, ctx: ctx, meta: call}, ctx
}

const contractPackage = "tallyd."

// finishedCall tells of one call. It is the one place that every finished call passes, so whoever observes calls is told here too.
type finishedCall struct {
	interceptors.NoopReporter

	server *Server
	ctx    context.Context //nolint:containedctx // of the call, which the middleware hands out no later
	meta   interceptors.CallMeta
}

// PostCall writes the call's line: what was called, by whom, how it ended and why. Never a payload, and the cause of an error only here.
func (f finishedCall) PostCall(err error, took time.Duration) {
	r, config, code := recordOf(f.ctx), f.server.config, status.Code(err)
	if config.Observe != nil {
		config.Observe(r.finished(f.meta, code))
	}
	attrs := []slog.Attr{
		slog.String("request_id", r.id), slog.Int64("cost", r.call.Requests()),
		slog.String("service", f.meta.Service), slog.String("method", f.meta.Method),
	}
	if from, ok := peer.FromContext(f.ctx); ok {
		attrs = append(attrs, slog.String("peer", from.Addr.String()))
	}
	attrs = append(attrs, slog.String("code", code.String()),
		slog.String("duration_ms", strconv.FormatFloat(took.Seconds()*1e3, 'f', 3, 64)))
	attrs = append(attrs, r.callerAttrs()...)
	if span := trace.SpanContextFromContext(f.ctx); span.IsSampled() {
		attrs = append(attrs, slog.String("trace_id", span.TraceID().String()))
	}
	r.mu.Lock()
	reason, cause := r.reason, r.cause
	r.mu.Unlock()
	if cause != nil {
		attrs = append(attrs, slog.String("reason", reason), slog.String("error", cause.Error()))
		trace.SpanFromContext(f.ctx).SetAttributes(otelattribute.String("tallyd.reason", reason))
	}
	config.Log.LogAttrs(f.ctx, level(code), "finished call", attrs...)
}

// finished is the call for whoever observes it.
func (r *record) finished(meta interceptors.CallMeta, code codes.Code) statuspage.Call {
	call := statuspage.Call{Time: time.Now(), RequestID: r.id, Service: meta.Service, Method: meta.Method}
	if code != codes.OK {
		call.Code = code.String()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	call.Caller, call.Reason = r.caller, r.reason
	return call
}
