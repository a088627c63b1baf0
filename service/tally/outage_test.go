package tally_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/statuspage"
	"github.com/tallyd/tallyd/service/tally"
)

// meshPolicy is what Istio does by default: two tries more when a call ends in UNAVAILABLE, soon after.
const meshPolicy = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.025s","maxBackoff":"0.25s",
	"backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// behindMesh serves client over gRPC in memory, and returns callers that repeat calls as a mesh does. tries counts what reaches us.
func behindMesh(t *testing.T, client *tally.Client, tries *atomic.Int64) tallydv1.FormServiceClient {
	t.Helper()
	config := service.DefaultConfig()
	config.Observe = func(statuspage.Call) { tries.Add(1) }
	server := service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, client, service.HandlerConfig{})
	})
	listener := bufconn.Listen(1 << 20)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultServiceConfig(meshPolicy))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Shutdown()
		served.Wait()
	})
	return tallydv1.NewFormServiceClient(conn)
}

// TestRow88RetryingMesh: Tally is out for five minutes, four callers call about four times a second each, and the mesh in front of us tries
// each call three times. Tally hears of no more than a trial in ten seconds, and when it is back the callers notice within those.
func TestRow88RetryingMesh(t *testing.T) {
	const callers, every, outage = 4, 250 * time.Millisecond, 5 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		var upstream, tries, calls atomic.Int64
		var down atomic.Bool
		down.Store(true)
		client := clientFor(t, "http://127.0.0.1")
		client.SetTransport(trip(func(r *http.Request) (*http.Response, error) {
			upstream.Add(1)
			time.Sleep(50 * time.Millisecond)
			if down.Load() {
				return answering(503)(r)
			}
			return answering(200)(r)
		}))
		forms := behindMesh(t, client, &tries)
		begin := time.Now()
		var running sync.WaitGroup
		for range callers {
			running.Go(func() {
				for time.Since(begin) < outage {
					calls.Add(1)
					_, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"})
					wantOutage(t, err)
					time.Sleep(every)
				}
			})
		}
		running.Wait()
		if got := float64(upstream.Load()) / float64(calls.Load()); got > 1.1 || upstream.Load() > int64(outage/(10*time.Second))+10 {
			t.Errorf("Tally saw %d requests of %d calls, want a trial in 10 s after the first few, and at most 1.1 for a call", upstream.Load(), calls.Load())
		}
		if tries.Load() < 2*calls.Load() {
			t.Errorf("%d tries of %d calls reached us, want the mesh to repeat nearly all", tries.Load(), calls.Load())
		}
		down.Store(false)
		time.Sleep(10*time.Second + time.Millisecond)
		if _, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"}); err != nil {
			t.Errorf("GetForm() 10 s after the outage = %v, want nil", err)
		}
	})
}

// wantOutage demands the error of an outage: Tally's own, or the breaker's.
func wantOutage(t *testing.T, err error) {
	t.Helper()
	s := status.Convert(err)
	reason := ""
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			reason = info.GetReason()
		}
	}
	if s.Code() != codes.Unavailable || (reason != "TALLY_UNAVAILABLE" && reason != "TALLY_CIRCUIT_OPEN") {
		t.Errorf("GetForm() = %v %s, want UNAVAILABLE, TALLY_UNAVAILABLE or TALLY_CIRCUIT_OPEN", err, reason)
	}
}
