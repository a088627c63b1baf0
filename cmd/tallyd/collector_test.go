package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlpmetrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector is a receiver of OTLP over gRPC. What it took is for reading once the sender has ended.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer

	mu      sync.Mutex
	spans   []*otlptrace.Span
	metrics []*otlpmetrics.Metric
	raw     []byte // all that came
}

// metricsCollector is the half for metrics: both services call their method Export.
type metricsCollector struct {
	collectormetrics.UnimplementedMetricsServiceServer

	to *collector
}

// collect starts a collector and points the variables at it.
func collect(t *testing.T) *collector {
	t.Helper()
	c, server := &collector{}, grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(server, c)
	collectormetrics.RegisterMetricsServiceServer(server, &metricsCollector{to: c})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	return c
}

// Export takes spans.
func (c *collector) Export(_ context.Context, req *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	c.keep(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range req.GetResourceSpans() {
		for _, scope := range from.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

// Export takes metrics.
func (c *metricsCollector) Export(_ context.Context, req *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	c.to.keep(req)
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	for _, from := range req.GetResourceMetrics() {
		for _, scope := range from.GetScopeMetrics() {
			c.to.metrics = append(c.to.metrics, scope.GetMetrics()...)
		}
	}
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

func (c *collector) keep(req proto.Message) {
	data, _ := proto.Marshal(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, data...)
}

// span returns the one span with a name.
func (c *collector) span(t *testing.T, name string) *otlptrace.Span {
	t.Helper()
	var found []*otlptrace.Span
	for _, span := range c.spans {
		if span.GetName() == name {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are named %q, want 1 of %v", len(found), name, c.spans)
	}
	return found[0]
}

// textOf returns attributes as text; the ports that a machine gave out as PORT.
func textOf(attrs []*common.KeyValue) map[string]string {
	found := map[string]string{}
	for _, attr := range attrs {
		switch value := attr.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			found[attr.GetKey()] = value.StringValue
		case *common.AnyValue_IntValue:
			found[attr.GetKey()] = fmt.Sprint(value.IntValue)
			if value.IntValue > 1024 {
				found[attr.GetKey()] = "PORT"
			}
		}
	}
	return found
}
