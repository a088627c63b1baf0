package service_test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/tally"
)

func TestShutdownOrder(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(rw, `{"id":"f1"}`)
	}, nil)
	watch, err := healthpb.NewHealthClient(w.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("Watch() = %v, %v, want SERVING", first, err)
	}
	result := make(chan error, 1)
	go func() { result <- getForm("f1")(t.Context(), w) }()
	<-arrived
	stopped := make(chan struct{})
	go func() { w.server.Shutdown(); close(stopped) }()
	wantEnd(t, watch)
	if w.server.Ready() {
		t.Error("Ready() = true while stopping, want false")
	}
	close(release)
	if err := <-result; err != nil {
		t.Errorf("the call under way = %v, want nil", err)
	}
	<-stopped
}

// wantEnd fails unless a watch says at most NOT_SERVING and then ends as a call may that another replica can take.
func wantEnd(t *testing.T, watch grpc.ServerStreamingClient[healthpb.HealthCheckResponse]) {
	t.Helper()
	for {
		last, err := watch.Recv()
		if err == nil && last.GetStatus() == healthpb.HealthCheckResponse_NOT_SERVING {
			continue
		}
		if code, reason := status.Code(err), watch.Trailer().Get("tallyd-reason"); code != codes.Unavailable || !slices.Equal(reason, []string{"SERVER_DRAINING"}) {
			t.Errorf("Watch() = %v, %v, tallyd-reason %v, want Unavailable SERVER_DRAINING", last, err, reason)
		}
		return
	}
}

// TestLameDuck holds that calls are taken for a while after health says no, and not for longer.
func TestLameDuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, instant{}, func(c *service.Config) { c.LameDuck = 5 * time.Second })
		watch, err := healthpb.NewHealthClient(w.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		go w.server.Shutdown()
		if last, err := watch.Recv(); err != nil || last.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING || time.Since(begin) != 0 {
			t.Errorf("Watch() = %v, %v after %v, want NOT_SERVING at once", last, err, time.Since(begin))
		}
		time.Sleep(4900 * time.Millisecond)
		if err := getForm("f1")(t.Context(), w); err != nil {
			t.Errorf("GetForm() while proxies learn = %v, want nil", err)
		}
		wantEnd(t, watch)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("the watch ended after %v, want 5s", took)
		}
		synctest.Wait() // streams end beside the listener, not after it
		if err := getForm("f1")(t.Context(), w); status.Code(err) != codes.Unavailable {
			t.Errorf("GetForm() after the lame duck = %v, want Unavailable", err)
		}
	})
}

// instant is a Tally that answers at once.
type instant struct{ service.Tally }

func (instant) Call(context.Context, proto.Message, proto.Message, ...tally.Option) error { return nil }

// TestConnectionsAge holds that connections end after a while, so that clients find new replicas, and that no call notices.
func TestConnectionsAge(t *testing.T) {
	w := newWorld(t, body(`{"id":"f1"}`), func(c *service.Config) { c.MaxConnectionAge = 20 * time.Millisecond })
	seen := map[string]bool{}
	for start := time.Now(); len(seen) < 3; {
		if err := getForm("f1")(t.Context(), w); err != nil {
			t.Fatalf("GetForm() = %v, want nil", err)
		}
		for _, caller := range callerLine.FindAllString(w.log.String(), -1) {
			seen[caller] = true
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("calls came over %d connections, want 3 after all this time", len(seen))
		}
	}
}

// callerLine is where a log line says which connection a call came over.
var callerLine = regexp.MustCompile(`"peer":"[^"]+"`)

func TestHardStop(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{})
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-release },
		func(c *service.Config) { c.Drain = 50 * time.Millisecond })
	defer close(release)
	result := make(chan error, 1)
	go func() { result <- getForm("f1")(t.Context(), w) }()
	<-arrived
	w.server.Shutdown()
	if err := <-result; err == nil {
		t.Error("the call that outlived the drain = nil, want an error")
	}
}

func TestHealthNames(t *testing.T) {
	w := newWorld(t, body("{}"), nil)
	w.server.SetTally(healthpb.HealthCheckResponse_NOT_SERVING)
	client := healthpb.NewHealthClient(w.conn)
	want := map[string]healthpb.HealthCheckResponse_ServingStatus{
		"": healthpb.HealthCheckResponse_SERVING, "tallyd.v1.FormService": healthpb.HealthCheckResponse_SERVING,
		service.HealthTally: healthpb.HealthCheckResponse_NOT_SERVING,
	}
	for name, status := range want {
		resp, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || resp.GetStatus() != status {
			t.Errorf("Check(%q) = %v, %v, want %v", name, resp.GetStatus(), err, status)
		}
	}
	if err := service.Probe(t.Context(), w.address, "", service.TLSFiles{}); err != nil {
		t.Errorf("Probe() = %v, want nil", err)
	}
	if err := service.Probe(t.Context(), w.address, service.HealthTally, service.TLSFiles{}); err == nil {
		t.Error("Probe(tally) = nil, want an error")
	}
}
