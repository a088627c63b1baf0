package service_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tallyd/tallyd/service/tally"
)

// TestRow74CallerCancels covers row 74 over the wire: a call that is cancelled before it leaves costs Tally nothing, a read in flight is
// taken back, a write in flight is finished without its caller, and what comes after the answer changes nothing.
func TestRow74CallerCancels(t *testing.T) {
	read := getForm("f1")
	tests := []struct {
		name         string
		call         func(context.Context, *world, ...grpc.CallOption) error
		when         string
		wantCode     codes.Code
		wantRequests int64
		wantLate     int // writes that ended without their callers
	}{
		{"read before", read, "before", codes.Canceled, 0, 0},
		{"write before", createForm, "before", codes.Canceled, 0, 0},
		{"read in flight", read, "in flight", codes.Canceled, 1, 0},
		{"write in flight", createForm, "in flight", codes.Canceled, 1, 1},
		{"read after", read, "after", codes.OK, 1, 0},
		{"write after", createForm, "after", codes.OK, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			release := make(chan struct{})
			var requests atomic.Int64
			upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if test.when == "in flight" {
					cancel()
				}
				select {
				case <-release:
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(rw, `{"id":"f1"}`)
			}))
			t.Cleanup(upstream.Close)
			w := &world{log: &lockedBuffer{}}
			client := newClient(t, upstream.URL, func(c *tally.Config) { c.Log = slog.New(slog.NewJSONHandler(w.log, nil)) })
			w.start(t, client, nil)
			w.dial(t)
			switch test.when {
			case "before":
				cancel()
			case "after":
				close(release)
			}
			if err := test.call(ctx, w); status.Code(err) != test.wantCode {
				t.Errorf("call = %v, want %v", err, test.wantCode)
			}
			cancel()
			// Tally answers a write when its call has ended in the server too.
			w.server.Shutdown()
			if test.when != "after" {
				close(release)
			}
			client.Close()
			if got := strings.Count(w.log.String(), `"write finished after its caller left","method":"tallyd.v1.FormService.CreateForm","status":200}`); got != test.wantLate {
				t.Errorf("%d writes finished without their callers, want %d:\n%s", got, test.wantLate, w.log)
			}
			if got := requests.Load(); got != test.wantRequests {
				t.Errorf("Tally saw %d requests, want %d", got, test.wantRequests)
			}
		})
	}
}
