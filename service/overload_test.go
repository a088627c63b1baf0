package service_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/statuspage"
	"github.com/tallyd/tallyd/service/tally"
)

// held is a Tally that answers when it is let go.
type held struct {
	service.Tally

	release chan struct{}
}

func (h held) Call(ctx context.Context, _, _ proto.Message, _ ...tally.Option) error {
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// longStream is a stream of the contract's that lasts until release.
func longStream(release <-chan struct{}) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "tallyd.v1.LongService", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Last", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
				return err
			}
			<-release
			return nil
		},
	}}}
}

// full is a server of which all places but one are taken by a stream, in virtual time.
type full struct {
	*world

	release  chan struct{}
	observed []statuspage.Call
}

func newFull(t *testing.T, limit int) *full {
	t.Helper()
	f := &full{world: &world{log: &lockedBuffer{}}, release: make(chan struct{})}
	config := service.DefaultConfig()
	config.MaxInFlight, config.Reflection, config.Log = limit, true, slog.New(slog.NewJSONHandler(f.log, nil))
	var mu sync.Mutex
	config.Observe = func(call statuspage.Call) {
		mu.Lock()
		defer mu.Unlock()
		f.observed = append(f.observed, call)
	}
	f.server = service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, held{release: f.release}, service.HandlerConfig{})
		to.RegisterService(longStream(f.release), nil)
	})
	listener := bufconn.Listen(1 << 20)
	var served sync.WaitGroup
	served.Go(func() { _ = f.server.Serve(listener) })
	var err error
	f.conn, err = grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.conn.Close()
		f.server.Shutdown()
		served.Wait()
	})
	return f
}

// long starts a stream and returns its first word.
func (f *full) long(ctx context.Context) (grpc.ClientStream, error) {
	stream, err := f.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/tallyd.v1.LongService/Last")
	if err != nil {
		return nil, err
	}
	return stream, stream.RecvMsg(&emptypb.Empty{})
}

// TestRow87RefusesWhatIsTooMuch fills the process with a stream and calls, and calls on: what is beyond the limit is refused by the one
// map's row and told to who counts, health and reflection answer, and what was admitted ends well.
func TestRow87RefusesWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, beyond = 4, 40
		f := newFull(t, limit)
		stream, err := f.long(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		admitted := make(chan error, limit)
		for range limit - 1 {
			go func() { admitted <- getForm("f1")(t.Context(), f.world) }()
		}
		synctest.Wait()
		if got := f.server.InFlight(); got != limit {
			t.Fatalf("InFlight() = %d, want %d", got, limit)
		}
		before := time.Now()
		for range beyond {
			wantOverloaded(t, f.world)
		}
		if refused, err := f.long(t.Context()); status.Code(err) != codes.Unavailable || refused.Trailer().Get("tallyd-reason")[0] != "SERVER_OVERLOADED" {
			t.Errorf("stream = %v, want UNAVAILABLE SERVER_OVERLOADED", err)
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("the refused waited %v, want nothing", waited)
		}
		wantInfrastructure(t, f.conn)
		if got := strings.Count(f.log.String(), "calls refused"); got != 1 || strings.Contains(f.log.String(), "finished call") {
			t.Errorf("the log says %d times that calls were refused, want one summary and no line for each:\n%s", got, f.log)
		}
		for _, call := range f.observed {
			if call.Reason != "SERVER_OVERLOADED" || call.Code != "Unavailable" || call.Service == "" || call.Method == "" || call.RequestID == "" {
				t.Errorf("observed %+v, want a refused call", call)
			}
		}
		if got := len(f.observed); got != beyond+1 {
			t.Errorf("%d calls observed, want each of the %d that were refused", got, beyond+1)
		}
		close(f.release)
		for range limit - 1 {
			if err := <-admitted; err != nil {
				t.Errorf("admitted call = %v, want nil", err)
			}
		}
		if err := stream.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
			t.Errorf("admitted stream = %v, want its end", err)
		}
		if err := getForm("f1")(t.Context(), f.world); err != nil {
			t.Errorf("GetForm() after the rush = %v, want nil", err)
		}
		synctest.Wait()
		if got := f.server.InFlight(); got != 0 {
			t.Errorf("InFlight() = %d after all have ended, want 0", got)
		}
	})
}

// wantOverloaded makes a write that must be refused, in a way that whoever calls may repeat elsewhere.
func wantOverloaded(t *testing.T, w *world) {
	t.Helper()
	var header, trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine-1")
	s := status.Convert(createForm(ctx, w, grpc.Header(&header), grpc.Trailer(&trailer)))
	info := detail[*errdetails.ErrorInfo](s)
	if s.Code() != codes.Unavailable || info.GetReason() != "SERVER_OVERLOADED" || info.GetDomain() != "tallyd" ||
		info.GetMetadata()["outcome"] != "not_sent" || info.GetMetadata()["retry_safe"] != "true" {
		t.Errorf("CreateForm() = %s %v, want UNAVAILABLE SERVER_OVERLOADED, not_sent and safe to retry", s.Code(), info)
	}
	for key, want := range map[string]string{
		"tallyd-reason": "SERVER_OVERLOADED", "tallyd-outcome": "not_sent", "tallyd-request-id": "mine-1", "tallyd-cost": "0",
	} {
		if got := trailer.Get(key); len(got) != 1 || got[0] != want {
			t.Errorf("trailer %s = %q, want %q", key, got, want)
		}
	}
	if len(header) != 0 {
		t.Errorf("header = %v, want none: it stops retries", header)
	}
}

// wantInfrastructure asks for health and reflection, which no overload may hide.
func wantInfrastructure(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("Check() = %v, %v, want SERVING", health, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("reflection = %v, want an answer", err)
	}
}

// TestOverloadLogIsSummed: one line a second says how many calls were refused.
func TestOverloadLogIsSummed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFull(t, 1)
		if _, err := f.long(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			wantOverloaded(t, f.world)
		}
		time.Sleep(time.Second)
		wantOverloaded(t, f.world)
		for _, want := range []string{`"calls":1,`, `"calls":10,`} {
			if !strings.Contains(f.log.String(), want) {
				t.Errorf("the log lacks %s:\n%s", want, f.log)
			}
		}
		close(f.release)
	})
}
