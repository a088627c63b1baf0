package service

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Probe asks the server at address for the health of a service; the empty name stands for the process. It speaks TLS when files
// name the server's own certificate. It returns an error unless the answer is SERVING.
func Probe(ctx context.Context, address, name string, files TLSFiles) error {
	creds := insecure.NewCredentials()
	if files.Cert != "" {
		var err error
		if creds, err = files.probe(); err != nil {
			return err
		}
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: name})
	if err != nil {
		return fmt.Errorf("ask %s for its health: %w", address, err)
	}
	if resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s says %s", address, resp.GetStatus())
	}
	return nil
}
