package telemetry

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Scope names the instruments of ours in what is exported.
const Scope = "github.com/tallyd/tallyd"

// upstream sees the requests to one server.
type upstream struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	place    []attribute.KeyValue
}

// Watch returns what sees each request to the server at base: a span of kind client and a measurement, both by the HTTP conventions.
// The convention's url.full is left out, since it would hold ids. Nothing of a trace is sent to the server. The signature is that of
// the REST client's hook.
func (t *Telemetry) Watch(base *url.URL) func(ctx context.Context, verb, template string, before int) (context.Context, func(status int, failure string)) {
	tracers, meters := t.Tracer, t.Meter
	if tracers == nil {
		tracers = tracenoop.NewTracerProvider()
	}
	if meters == nil {
		meters = metricnoop.NewMeterProvider()
	}
	// A name and a unit that the library itself gives are never refused.
	duration, _ := httpconv.NewClientRequestDuration(meters.Meter(Scope))
	u := &upstream{
		tracer: tracers.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL)), duration: duration.Inst(),
		place: []attribute.KeyValue{semconv.ServerAddress(base.Hostname()), semconv.ServerPort(portOf(base))},
	}
	return u.watch
}

func portOf(base *url.URL) int {
	if port, err := strconv.Atoi(base.Port()); err == nil {
		return port
	}
	if base.Scheme == "http" {
		return 80
	}
	return 443
}

func (u *upstream) watch(ctx context.Context, verb, template string, before int) (context.Context, func(int, string)) {
	start := time.Now()
	ctx, span := u.tracer.Start(ctx, verb+" "+template, trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(semconv.HTTPRequestMethodKey.String(verb), semconv.URLTemplate(template))
		span.SetAttributes(u.place...)
		if before > 0 {
			span.SetAttributes(semconv.HTTPRequestResendCount(before))
		}
	}
	return ctx, func(status int, failure string) {
		// A status that says no is what went wrong, however the body ended.
		if status >= http.StatusBadRequest {
			failure = strconv.Itoa(status)
		}
		ending := make([]attribute.KeyValue, 0, 5)
		if status != 0 {
			ending = append(ending, semconv.HTTPResponseStatusCode(status))
		}
		if failure != "" {
			ending = append(ending, semconv.ErrorTypeKey.String(failure))
			span.SetStatus(codes.Error, "")
		}
		span.SetAttributes(ending...)
		span.End()
		ending = append(append(ending, semconv.HTTPRequestMethodKey.String(verb)), u.place...)
		u.duration.Record(ctx, time.Since(start).Seconds(), metric.WithAttributeSet(attribute.NewSet(ending...)))
	}
}
