package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// adminVariable names the socket on which a bare server says how it is, and takes what it is to hand out.
const adminVariable = "ADMIN"

// shout is what all streams send next; done is closed when it is there, and another follows.
type shout struct {
	done  chan struct{}
	bytes []byte
	next  *shout
}

func newShout() *shout { return &shout{done: make(chan struct{})} }

// bareStreams is a server of streams as grpc-go has it: no interceptors, and a handler that blocks until its stream ends or there is
// something to send. All streams share what they wait for, so that nothing is kept for one alone.
type bareStreams struct {
	tallydv1.UnimplementedSubmissionServiceServer

	mu   sync.Mutex
	last *shout
}

func (b *bareStreams) current() *shout {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// WatchSubmissions sends a first sign of life, then the same bytes as all others.
func (b *bareStreams) WatchSubmissions(
	_ *tallydv1.WatchSubmissionsRequest, stream grpc.ServerStreamingServer[tallydv1.WatchSubmissionsResponse],
) error {
	s := b.current()
	if err := stream.Send(&tallydv1.WatchSubmissionsResponse{
		Message: &tallydv1.WatchSubmissionsResponse_Heartbeat{Heartbeat: &tallydv1.WatchHeartbeat{}},
	}); err != nil {
		return err
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-s.done:
		}
		resp := &tallydv1.WatchSubmissionsResponse{}
		resp.ProtoReflect().SetUnknown(s.bytes)
		if err := stream.Send(resp); err != nil {
			return err
		}
		s = s.next
	}
}

// ServeHTTP hands out the body to all streams.
func (b *bareStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.last
	s.bytes, s.next = body, newShout()
	b.last = s.next
	close(s.done)
}

// serveStreams is a bare server of streams, with Go's own metrics.
func serveStreams(listener net.Listener) error {
	admin, err := net.Listen("unix", os.Getenv(adminVariable))
	if err != nil {
		return err
	}
	b := &bareStreams{last: newShout()}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.Handle("POST /publish", b)
	ended := make(chan error, 2)
	go func() { ended <- (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(admin) }()
	server := grpc.NewServer()
	tallydv1.RegisterSubmissionServiceServer(server, b)
	go func() { ended <- server.Serve(listener) }()
	return errors.Join(<-ended, errors.New("a server ended"))
}

// bare starts a bare server of streams.
func (f *field) bare(t *testing.T, env []string) *logger {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "admin")
	p := f.start(t, self(t, "streams", append(env, adminVariable+"="+socket)...))
	return &logger{p, overSocket(t, socket)}
}

// publish has a bare server hand out bytes.
func (l *logger) publish(body []byte) error {
	_, err := l.ask("/publish", bytes.NewReader(body))
	return err
}
