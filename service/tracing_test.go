package service

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	otelattribute "go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/statuspage"
)

// verdict is a service whose one method ends as told, for a caller who is named.
type verdict struct {
	tallydv1.UnimplementedUserServiceServer

	code   codes.Code
	caller string
}

func (v *verdict) GetCurrentUser(ctx context.Context, _ *tallydv1.GetCurrentUserRequest) (*tallydv1.GetCurrentUserResponse, error) {
	recordOf(ctx).setCaller(v.caller, "test")
	if v.code == codes.OK {
		return &tallydv1.GetCurrentUserResponse{}, nil
	}
	return nil, status.Error(v.code, "the form Secret1 of the key tly-secret")
}

// observed is a server that is watched from all sides.
type observed struct {
	conn  *grpc.ClientConn
	spans *tracetest.SpanRecorder
	log   *strings.Builder // read after end
	calls []statuspage.Call
	end   func()
}

func observe(t *testing.T, handler tallydv1.UserServiceServer) *observed {
	t.Helper()
	o := &observed{spans: tracetest.NewSpanRecorder(), log: &strings.Builder{}}
	config := DefaultConfig()
	config.Log = slog.New(slog.NewTextHandler(o.log, nil))
	config.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(o.spans))
	config.Observe = func(call statuspage.Call) { o.calls = append(o.calls, call) }
	server := NewServer(config, func(to grpc.ServiceRegistrar) { tallydv1.RegisterUserServiceServer(to, handler) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	if o.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	o.end = sync.OnceFunc(func() {
		o.conn.Close()
		server.Shutdown()
		served.Wait()
	})
	t.Cleanup(o.end)
	return o
}

func (o *observed) call(ctx context.Context) error {
	_, err := tallydv1.NewUserServiceClient(o.conn).GetCurrentUser(ctx, &tallydv1.GetCurrentUserRequest{})
	return err
}

// attributesOf returns the attributes of a span as text; those of the connection only if they are there at all.
func attributesOf(span sdktrace.ReadOnlySpan) map[string]string {
	found := map[string]string{}
	for _, attr := range span.Attributes() {
		found[string(attr.Key)] = attr.Value.String()
		if strings.HasSuffix(string(attr.Key), ".port") && attr.Value.Type() == otelattribute.INT64 {
			found[string(attr.Key)] = "PORT"
		}
	}
	return found
}

// TestSpanOfEachCode ends a call with every code there is: the six that are the server's errors mark the span, the others do not, and
// none brings its text.
func TestSpanOfEachCode(t *testing.T) {
	names := map[codes.Code]string{
		codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
		codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
		codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
		codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
		codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
		codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
	}
	serverErrors := map[codes.Code]bool{
		codes.Unknown: true, codes.DeadlineExceeded: true, codes.Unimplemented: true, codes.Internal: true, codes.Unavailable: true, codes.DataLoss: true,
	}
	for code, name := range names {
		t.Run(name, func(t *testing.T) {
			o := observe(t, &verdict{code: code})
			if err := o.call(t.Context()); status.Code(err) != code {
				t.Fatalf("GetCurrentUser() = %v, want %s", err, code)
			}
			o.end()
			ended := o.spans.Ended()
			if len(ended) != 1 {
				t.Fatalf("%d spans ended, want 1", len(ended))
			}
			want := map[string]string{
				"rpc.system.name": "grpc", "rpc.method": "tallyd.v1.UserService/GetCurrentUser", "rpc.response.status_code": name,
				"server.address": "127.0.0.1", "server.port": "PORT", "network.peer.address": "127.0.0.1", "network.peer.port": "PORT",
			}
			wantStatus := sdktrace.Status{Code: otelcodes.Unset}
			if serverErrors[code] {
				want["error.type"], wantStatus.Code = name, otelcodes.Error
			}
			if code != codes.OK {
				want["tallyd.reason"] = reasonName(libraryReason(code))
			}
			if diff := cmp.Diff(want, attributesOf(ended[0])); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if got := ended[0].Status(); got != wantStatus {
				t.Errorf("Status = %+v, want %+v", got, wantStatus)
			}
			if got := ended[0]; got.Name() != "tallyd.v1.UserService/GetCurrentUser" || got.SpanKind() != trace.SpanKindServer || len(got.Events()) != 0 {
				t.Errorf("span = %s %s with %d events, want the method, server, none", got.Name(), got.SpanKind(), len(got.Events()))
			}
		})
	}
}

// TestTraceContext takes the caller's trace when it is well formed, and begins one when it is not.
func TestTraceContext(t *testing.T) {
	const traceID, spanID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	const parent = "00-" + traceID + "-" + spanID + "-01"
	tests := []struct {
		name      string
		md        metadata.MD
		wantTrace bool // of the caller
		wantState string
	}{
		{"caller's own", metadata.Pairs("traceparent", parent), true, ""},
		{"with state", metadata.Pairs("traceparent", parent, "tracestate", "a=1,b=2"), true, "a=1,b=2"},
		{"with state in parts", metadata.Pairs("traceparent", parent, "tracestate", "a=1", "tracestate", "b=2"), true, "a=1,b=2"},
		{"with broken state", metadata.Pairs("traceparent", parent, "tracestate", "a=1,a=2,,=;"), true, ""},
		{"twice", metadata.Pairs("traceparent", parent, "traceparent", parent), false, ""},
		{"none", nil, false, ""},
		{"zeros", metadata.Pairs("traceparent", "00-00000000000000000000000000000000-0000000000000000-01"), false, ""},
		{"upper case", metadata.Pairs("traceparent", strings.ToUpper(parent)), false, ""},
		{"too long", metadata.Pairs("traceparent", parent+"-x"), false, ""},
		{"no version", metadata.Pairs("traceparent", parent[3:]), false, ""},
		{"long rubbish", metadata.Pairs("traceparent", strings.Repeat("0", 8000)), false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := observe(t, &verdict{})
			md := metadata.Join(test.md, metadata.Pairs("baggage", "user=secret"))
			if err := o.call(metadata.NewOutgoingContext(t.Context(), md)); err != nil {
				t.Fatal(err)
			}
			o.end()
			span := o.spans.Ended()[0]
			if got := span.SpanContext().TraceID().String() == traceID; got != test.wantTrace {
				t.Errorf("trace %s is the caller's = %v, want %v", span.SpanContext().TraceID(), got, test.wantTrace)
			}
			wantParent := "0000000000000000"
			if test.wantTrace {
				wantParent = spanID
			}
			if got := span.Parent().SpanID().String(); got != wantParent {
				t.Errorf("parent = %s, want %s", got, wantParent)
			}
			if got := span.SpanContext().TraceState().String(); got != test.wantState {
				t.Errorf("tracestate = %q, want %q", got, test.wantState)
			}
			if !strings.Contains(o.log.String(), "trace_id="+span.SpanContext().TraceID().String()) {
				t.Errorf("log = %s, want the trace's id", o.log)
			}
		})
	}
}

// TestUnsampled follows a caller who does not want its call traced.
func TestUnsampled(t *testing.T) {
	o := observe(t, &verdict{})
	md := metadata.Pairs("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	if err := o.call(metadata.NewOutgoingContext(t.Context(), md)); err != nil {
		t.Fatal(err)
	}
	o.end()
	if got := len(o.spans.Ended()); got != 0 || strings.Contains(o.log.String(), "trace_id") {
		t.Errorf("%d spans ended, and the log says %s; want no word of a trace", got, o.log)
	}
}

// TestSilentServices leaves no span, no line and no call for what machines ask all the time, nor for what does not exist.
func TestSilentServices(t *testing.T) {
	o := observe(t, &verdict{})
	if _, err := healthpb.NewHealthClient(o.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"/tallyd.v1.UserService/Shiny", "/tallyd.v1.Shiny/Get", "/a/b"} {
		err := o.conn.Invoke(t.Context(), method, &tallydv1.GetCurrentUserRequest{}, &tallydv1.GetCurrentUserResponse{})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s = %v, want Unimplemented", method, err)
		}
	}
	o.end()
	if started := o.spans.Started(); len(started) != 0 || len(o.calls) != 0 || o.log.Len() != 0 {
		t.Errorf("%d spans started, %d calls observed, log %s; want nothing", len(started), len(o.calls), o.log)
	}
}

// TestObserveCalls tells each finished call, with its caller, once.
func TestObserveCalls(t *testing.T) {
	handler := &verdict{caller: "billing"}
	o := observe(t, handler)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "req-1")
	_ = o.call(ctx)
	handler.code, handler.caller = codes.NotFound, ""
	_ = o.call(ctx)
	o.end()
	want := []statuspage.Call{
		{Service: "tallyd.v1.UserService", Method: "GetCurrentUser", Caller: "billing", RequestID: "req-1"},
		{Service: "tallyd.v1.UserService", Method: "GetCurrentUser", RequestID: "req-1", Code: "NotFound", Reason: reasonName(libraryReason(codes.NotFound))},
	}
	for i := range o.calls {
		if o.calls[i].Time.IsZero() {
			t.Errorf("call %d has no time", i)
		}
		o.calls[i].Time = want[0].Time
	}
	if diff := cmp.Diff(want, o.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSpace(o.log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "caller=billing") || !strings.Contains(lines[0], "peer=127.0.0.1:") || strings.Contains(lines[1], "caller=") {
		t.Errorf("log = %s, want a line each, with the caller when known and the peer always", o.log)
	}
}
