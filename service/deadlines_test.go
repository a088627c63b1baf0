package service_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/tally"
)

// waiting is a Tally that answers nothing, and notes how long it was waited for.
type waiting struct {
	service.Tally

	waited time.Duration
}

func (w *waiting) Call(ctx context.Context, _, _ proto.Message, _ ...tally.Option) error {
	began := time.Now()
	<-ctx.Done()
	w.waited = time.Since(began)
	return ctx.Err()
}

// inMemory serves without a network, so that time may be virtual.
func inMemory(t *testing.T, upstream service.Tally, change func(*service.Config)) *world {
	t.Helper()
	config := service.DefaultConfig()
	config.Log = slog.New(slog.DiscardHandler)
	change(&config)
	w := &world{server: service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, upstream, service.HandlerConfig{})
	})}
	listener := bufconn.Listen(1 << 20)
	var served sync.WaitGroup
	served.Go(func() { _ = w.server.Serve(listener) })
	var err error
	w.conn, err = grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.conn.Close()
		w.server.Shutdown()
		served.Wait()
	})
	return w
}

// TestDeadlines covers row 76: it ends each call by an error of ours, a little before the caller's own clock would: the default where it brings none,
// never more than five minutes.
func TestDeadlines(t *testing.T) {
	tests := []struct {
		name       string
		timeout    time.Duration
		want       time.Duration // until the error is there
		wantReason string
	}{
		{name: "none", want: 30 * time.Second, wantReason: "DEADLINE_IN_FLIGHT"},
		{name: "1 ms", timeout: time.Millisecond, wantReason: "DEADLINE_IN_FLIGHT"},
		{name: "50 ms", timeout: 50 * time.Millisecond, want: 30 * time.Millisecond, wantReason: "DEADLINE_IN_FLIGHT"},
		{name: "shaved before the caller's own", timeout: 150 * time.Millisecond, want: 130 * time.Millisecond, wantReason: "DEADLINE_IN_FLIGHT"},
		{name: "longer than the default", timeout: time.Minute, want: time.Minute - 20*time.Millisecond, wantReason: "DEADLINE_IN_FLIGHT"},
		{name: "a year", timeout: 365 * 24 * time.Hour, want: 5 * time.Minute, wantReason: "DEADLINE_IN_FLIGHT"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upstream := &waiting{}
				w := inMemory(t, upstream, func(*service.Config) {})
				wantReason(t, w, test.timeout, test.wantReason)
				if upstream.waited != test.want {
					t.Errorf("Tally was waited for %v, want %v", upstream.waited, test.want)
				}
			})
		})
	}
}

// TestDeadlineTooShort covers row 76 as well: a call in whose time Tally cannot answer is refused before anything leaves.
func TestDeadlineTooShort(t *testing.T) {
	for _, timeout := range []time.Duration{time.Millisecond, 25 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := inMemory(t, newClient(t, "http://127.0.0.1:1"), func(*service.Config) {})
			wantReason(t, w, timeout, "DEADLINE_TOO_SHORT")
		})
	}
}

// wantReason calls with the timeout, or none when it is 0.
func wantReason(t *testing.T, w *world, timeout time.Duration, want string) {
	t.Helper()
	ctx := t.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	s := status.Convert(getForm("f1")(ctx, w))
	if got := detail[*errdetails.ErrorInfo](s).GetReason(); s.Code() != codes.DeadlineExceeded || got != want {
		t.Errorf("GetForm() = %s %s, want DeadlineExceeded %s: our error, not the client's own", s.Code(), got, want)
	}
}
