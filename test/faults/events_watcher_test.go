package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// watcher is a watch that is open.
type watcher struct {
	conn   *grpc.ClientConn // of its own; nil where it is shared
	stream grpc.ServerStreamingClient[tallydv1.WatchSubmissionsResponse]
	cancel context.CancelFunc
	// token is that of the last message.
	token string
}

func earliest(forms ...string) *tallydv1.WatchSubmissionsRequest {
	return &tallydv1.WatchSubmissionsRequest{
		FormIds: forms, Start: &tallydv1.WatchSubmissionsRequest_StartAt{StartAt: tallydv1.WatchStart_WATCH_START_EARLIEST},
	}
}

func behind(token string, forms ...string) *tallydv1.WatchSubmissionsRequest {
	return &tallydv1.WatchSubmissionsRequest{FormIds: forms, Start: &tallydv1.WatchSubmissionsRequest_ResumeToken{ResumeToken: token}}
}

// watch opens a watch on a connection of its own and waits until it is open.
func (l *logger) watch(t *testing.T, req *tallydv1.WatchSubmissionsRequest) *watcher {
	t.Helper()
	conn := l.dial(t)
	w := watchOver(t, conn, req)
	w.conn = conn
	return w
}

// watchOver opens a watch on a connection and waits until it is open.
func watchOver(t *testing.T, conn *grpc.ClientConn, req *tallydv1.WatchSubmissionsRequest) *watcher {
	t.Helper()
	w, err := openWatch(t.Context(), conn, req)
	if err != nil {
		t.Fatalf("WatchSubmissions(%v) = %v, want a heartbeat", req, err)
	}
	return w
}

// openWatch opens a watch on a connection and waits for its first sign of life.
func openWatch(ctx context.Context, conn *grpc.ClientConn, req *tallydv1.WatchSubmissionsRequest) (*watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cancel: cancel}
	var err error
	if w.stream, err = tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(ctx, req); err == nil {
		var first *tallydv1.WatchSubmissionsResponse
		if first, err = w.recv(); err == nil && first.GetHeartbeat() == nil {
			err = fmt.Errorf("the first message is %v", first)
		}
	}
	if err != nil {
		cancel()
	}
	return w, err
}

func (w *watcher) close() {
	w.cancel()
	if w.conn != nil {
		w.conn.Close()
	}
}

// next returns the next message.
func (w *watcher) next(t *testing.T) *tallydv1.WatchSubmissionsResponse {
	t.Helper()
	m, err := w.recv()
	if err != nil {
		t.Fatalf("Recv() = %v, want a message", err)
	}
	return m
}

// recv returns the next message within the time that a test has patience.
func (w *watcher) recv() (*tallydv1.WatchSubmissionsResponse, error) {
	limit := time.AfterFunc(patience, w.cancel)
	defer limit.Stop()
	m, err := w.stream.Recv()
	if err == nil {
		w.token = m.GetResumeToken()
	}
	return m, err
}

// event returns the next event.
func (w *watcher) event(t *testing.T) *tallydv1.SubmissionEvent {
	t.Helper()
	for {
		if m := w.next(t); m.GetEvent() != nil {
			return m.GetEvent()
		}
	}
}

// say is an event in few words.
func say(e *tallydv1.SubmissionEvent) string {
	return fmt.Sprintf("%s %d %s", e.GetFormId(), e.GetSequence(), e.GetSubmission().GetId())
}

// rest returns the next n events, and demands that none came before they were asked for.
func (w *watcher) rest(t *testing.T, n int) []string {
	t.Helper()
	events := make([]string, n)
	for i := range events {
		events[i] = say(w.event(t))
	}
	return events
}
