package service

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"

	otelattribute "go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	rpccode "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	otelstats "google.golang.org/grpc/stats/opentelemetry"
	"google.golang.org/grpc/status"
)

// callMetrics measures calls as gRPC's own conventions have it, under its names; a method that is not registered counts as "other".
func (s *Server) callMetrics() grpc.ServerOption {
	if s.config.Meter == nil {
		return grpc.EmptyServerOption{}
	}
	return otelstats.ServerOption(otelstats.Options{MetricsOptions: otelstats.MetricsOptions{
		MeterProvider: s.config.Meter,
		Metrics: stats.NewMetricSet(
			otelstats.ServerCallStartedMetricName, otelstats.ServerCallDurationMetricName,
			otelstats.ServerCallSentCompressedTotalMessageSizeMetricName, otelstats.ServerCallRcvdCompressedTotalMessageSizeMetricName,
		),
	}})
}

// callSpans makes a span of each call, if anybody takes it.
func (s *Server) callSpans() grpc.ServerOption {
	if s.config.Tracer == nil {
		return grpc.EmptyServerOption{}
	}
	s.spans = &spans{tracer: s.config.Tracer.Tracer("github.com/tallyd/tallyd/service", trace.WithSchemaURL(semconv.SchemaURL))}
	return grpc.StatsHandler(s.spans)
}

// spans makes a span of each call to the contract's services; health and reflection are silent, as in the log. The libraries' handlers
// would say too much: the message of a status quotes ids and Tally's words. See docs/decisions/0005-telemetry.md.
type spans struct {
	tracer trace.Tracer
	// known are the methods that exist, with what each span of theirs starts with. A call of any other leaves no span.
	known map[string][]trace.SpanStartOption
}

// learn takes in the methods that are registered. It is called before the server serves.
func (h *spans) learn(services map[string]grpc.ServiceInfo) {
	if h == nil {
		return
	}
	h.known = map[string][]trace.SpanStartOption{}
	for service, info := range services {
		if !strings.HasPrefix(service, contractPackage) {
			continue
		}
		for _, method := range info.Methods {
			name := service + "/" + method.Name
			h.known["/"+name] = []trace.SpanStartOption{
				trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(semconv.RPCSystemNameGRPC, semconv.RPCMethod(name)),
			}
		}
	}
}

// TagRPC starts the span, as a child of the caller's if it brings one. Baggage is not read: it is text of the caller's choice.
func (h *spans) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	start, ok := h.known[info.FullMethodName]
	if !ok {
		return ctx
	}
	ctx = propagation.TraceContext{}.Extract(ctx, incoming{ctx})
	ctx, _ = h.tracer.Start(ctx, info.FullMethodName[1:], start...)
	return ctx
}

// HandleRPC completes the span.
func (h *spans) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.InHeader:
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			span.SetAttributes(endpoint(event.LocalAddr, semconv.ServerAddressKey, semconv.ServerPortKey)...)
			span.SetAttributes(endpoint(event.RemoteAddr, semconv.NetworkPeerAddressKey, semconv.NetworkPeerPortKey)...)
		}
	case *stats.End:
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			endSpan(span, event.Error)
		}
	}
}

// endSpan says how the call ended: by its code alone.
func endSpan(span trace.Span, err error) {
	code := status.Code(err)
	name := rpccode.Code(code).String() //nolint:gosec // a code is small
	span.SetAttributes(semconv.RPCResponseStatusCode(name))
	// What counts as an error of the server is the same rule that the log follows.
	if level(code) == slog.LevelError {
		span.SetAttributes(semconv.ErrorTypeKey.String(name))
		span.SetStatus(otelcodes.Error, "")
	}
	span.End()
}

// endpoint describes one end of a connection.
func endpoint(at net.Addr, address, port otelattribute.Key) []otelattribute.KeyValue {
	if at == nil {
		return nil
	}
	host, text, err := net.SplitHostPort(at.String())
	number, notNumber := strconv.Atoi(text)
	if err != nil || notNumber != nil {
		return []otelattribute.KeyValue{address.String(at.String())}
	}
	return []otelattribute.KeyValue{address.String(host), port.Int(number)}
}

// TagConn does nothing.
func (*spans) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing.
func (*spans) HandleConn(context.Context, stats.ConnStats) {}

// incoming is a caller's metadata as the propagator reads it.
type incoming struct {
	ctx context.Context //nolint:containedctx // reading the one key spares a copy of all metadata
}

// Get joins what came several times, as the W3C allows for tracestate; a traceparent that came twice is none.
func (m incoming) Get(key string) string {
	return strings.Join(metadata.ValueFromIncomingContext(m.ctx, key), ",")
}

// Set is not needed to read.
func (incoming) Set(string, string) {}

// Keys is not needed to read.
func (incoming) Keys() []string { return nil }
