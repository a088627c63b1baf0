package service

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/statuspage"
)

// nowhere takes spans and forgets them.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// nothing takes log lines, which unlike with slog's own handler for that are written first.
type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkWatchedCall is what being watched adds to a call over loopback, client and server together.
func BenchmarkWatchedCall(b *testing.B) {
	traced := func(share float64) func(*Config) {
		return func(c *Config) {
			c.Meter, c.Observe = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())), statuspage.NewRecorder().Observe
			c.Tracer = sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}), sdktrace.WithSampler(sdktrace.TraceIDRatioBased(share)))
		}
	}
	for _, bench := range []struct {
		name   string
		change func(*Config)
	}{
		{"unwatched", func(*Config) {}},
		{"recorder", func(c *Config) { c.Observe = statuspage.NewRecorder().Observe }},
		{"metrics", func(c *Config) { traced(0)(c); c.Tracer = nil }},
		{"metrics and traces of 1 percent", traced(0.01)},
		{"metrics and all traces", traced(1)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			users := tallydv1.NewUserServiceClient(benchServer(b, bench.change))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := users.GetCurrentUser(b.Context(), &tallydv1.GetCurrentUserRequest{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// benchServer starts a server whose handler does nothing.
func benchServer(b *testing.B, change func(*Config)) *grpc.ClientConn {
	b.Helper()
	config := DefaultConfig()
	config.Log = slog.New(slog.NewJSONHandler(nothing{}, nil))
	change(&config)
	server := NewServer(config, func(to grpc.ServiceRegistrar) { tallydv1.RegisterUserServiceServer(to, &verdict{}) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		conn.Close()
		server.Shutdown()
		served.Wait()
	})
	return conn
}
