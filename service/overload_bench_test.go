package service

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/statuspage"
)

// BenchmarkRefused is what a call beyond the limit costs in the chain, and what it would cost with a line of its own in the log.
func BenchmarkRefused(b *testing.B) {
	config := DefaultConfig()
	config.MaxInFlight, config.Log, config.Observe = 0, slog.New(slog.NewJSONHandler(nothing{}, nil)), statuspage.NewRecorder().Observe
	s := &Server{config: config, gate: newGate(config)}
	info := &grpc.UnaryServerInfo{FullMethod: tallydv1.FormService_GetForm_FullMethodName}
	refuse := func(context.Context, any) (any, error) {
		return nil, &localError{reason: tallydv1.ErrorReason_ERROR_REASON_SERVER_OVERLOADED}
	}
	line := s.logUnary()
	for _, bench := range []struct {
		name string
		call func(context.Context) (any, error)
	}{
		{"summed", func(ctx context.Context) (any, error) { return s.gate.unary(ctx, nil, info, refuse) }},
		{"logged", func(ctx context.Context) (any, error) {
			return s.identify(ctx, nil, info, func(ctx context.Context, req any) (any, error) {
				return line(ctx, req, info, func(ctx context.Context, req any) (any, error) { return mapErrors(ctx, req, info, refuse) })
			})
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.call(b.Context()); err == nil {
					b.Fatal("the call was admitted")
				}
			}
		})
	}
}
