package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	otelattribute "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/tallyd/tallyd/service/statuspage"
)

// logUnary writes one line for each finished call; health and reflection are silent.
func (s *Server) logUnary() grpc.UnaryServerInterceptor {
	return selector.UnaryServerInterceptor(
		logging.UnaryServerInterceptor(s.callLog(), logOptions()...), selector.MatchFunc(isOurs))
}

func (s *Server) logStream() grpc.StreamServerInterceptor {
	return selector.StreamServerInterceptor(
		logging.StreamServerInterceptor(s.callLog(), logOptions()...), selector.MatchFunc(isOurs))
}

func logOptions() []logging.Option {
	return []logging.Option{
		logging.WithLogOnEvents(logging.FinishCall),
		logging.WithLevels(func(code codes.Code) logging.Level { return logging.Level(level(code)) }),
	}
}

// isOurs tells the contract's services from the infrastructure's.
func isOurs(_ context.Context, call interceptors.CallMeta) bool {
	return len(call.Service) > len(contractPackage) && call.Service[:len(contractPackage)] == contractPackage
}

const contractPackage = "tallyd."

// logged are the middleware's fields that the line keeps, by the names that it gets.
var logged = map[string]string{
	"grpc.service": "service", "grpc.method": "method", "grpc.code": "code", "grpc.time_ms": "duration_ms", "peer.address": "peer",
}

// callLog writes the line: what was called, by whom, how it ended and why. Never a payload, and the cause of an error only here. It is
// the one place that every finished call passes, so whoever observes calls is told here too.
func (s *Server) callLog() logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, at logging.Level, _ string, fields ...any) {
		r := recordOf(ctx)
		attrs := []slog.Attr{slog.String("request_id", r.id), slog.Int64("cost", r.call.Requests())}
		for i := 0; i+1 < len(fields); i += 2 {
			key, _ := fields[i].(string)
			if name := logged[key]; name != "" {
				attrs = append(attrs, slog.Any(name, fields[i+1]))
			}
		}
		if s.config.Observe != nil {
			s.config.Observe(r.finished(attrs))
		}
		attrs = append(attrs, r.callerAttrs()...)
		if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
			attrs = append(attrs, slog.String("trace_id", span.TraceID().String()))
		}
		r.mu.Lock()
		reason, cause := r.reason, r.cause
		r.mu.Unlock()
		if cause != nil {
			attrs = append(attrs, slog.String("reason", reason), slog.String("error", cause.Error()))
			trace.SpanFromContext(ctx).SetAttributes(otelattribute.String("tallyd.reason", reason))
		}
		s.config.Log.LogAttrs(ctx, slog.Level(at), "finished call", attrs...)
	})
}

// finished is the call for whoever observes it; attrs are those of its line.
func (r *record) finished(attrs []slog.Attr) statuspage.Call {
	call := statuspage.Call{Time: time.Now(), RequestID: r.id}
	for _, attr := range attrs {
		switch attr.Key {
		case "service":
			call.Service = attr.Value.String()
		case "method":
			call.Method = attr.Value.String()
		case "code":
			call.Code = attr.Value.String()
		}
	}
	if call.Code == codes.OK.String() {
		call.Code = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	call.Caller, call.Reason = r.caller, r.reason
	return call
}
