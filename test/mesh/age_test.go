package mesh

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tallyd/tallyd/service"
)

// TestConnectionsRebalance adds a replica behind an address that spreads connections, not calls, as a Kubernetes service does. A client
// that has a connection to the old replica comes to the new one when that connection is as old as connections get, and no call fails.
func TestConnectionsRebalance(t *testing.T) {
	// Half an hour in production.
	const age = 50 * time.Millisecond
	front := newFront(t)
	// The replicas differ in what they say of the key.
	front.add(serveInside(t, age, healthpb.HealthCheckResponse_SERVING))
	conn := dial(t, front.address)
	ask := func() healthpb.HealthCheckResponse_ServingStatus {
		resp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service.HealthTally})
		if err != nil {
			t.Fatalf("Check() = %v, want nil", err)
		}
		return resp.GetStatus()
	}
	if got := ask(); got != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("Check() = %v, want the word of the only replica", got)
	}
	front.add(serveInside(t, age, healthpb.HealthCheckResponse_NOT_SERVING))
	for start := time.Now(); ask() != healthpb.HealthCheckResponse_NOT_SERVING; {
		if time.Since(start) > patience {
			t.Fatal("the new replica was never asked")
		}
	}
	if made := front.made.Load(); made < 2 {
		t.Errorf("the client made %d connections, want one more for the new replica", made)
	}
}

// serveInside serves in this process, with connections of a short life, and returns the address.
func serveInside(t *testing.T, age time.Duration, tally healthpb.HealthCheckResponse_ServingStatus) string {
	t.Helper()
	config := service.DefaultConfig()
	config.MaxConnectionAge = age
	server := service.NewServer(config, func(grpc.ServiceRegistrar) {})
	server.SetTally(tally)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Shutdown()
		served.Wait()
	})
	return listener.Addr().String()
}

// front passes each connection on to the replicas in turn.
type front struct {
	address string
	made    atomic.Int64

	mu       sync.Mutex
	replicas []string
}

func newFront(t *testing.T) *front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{address: listener.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { f.pass(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return f
}

func (f *front) add(replica string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas = append(f.replicas, replica)
}

// pass joins a connection with one to the replica whose turn it is, until either ends.
func (f *front) pass(caller net.Conn) {
	defer caller.Close()
	f.mu.Lock()
	address := f.replicas[int(f.made.Add(1)-1)%len(f.replicas)]
	f.mu.Unlock()
	replica, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer replica.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{caller, replica}, {replica, caller}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}
