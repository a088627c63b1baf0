package service_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

// aliveKey is a key that Tally takes.
type aliveKey struct{ apikey.Key }

func (k aliveKey) Current() apikey.Key { return k.Key }
func (aliveKey) Err() error            { return nil }
func (aliveKey) Confirm(context.Context, apikey.Key) (apikey.Verdict, error) {
	return apikey.VerdictGood, nil
}

// world is the whole chain: a client, the server, and a server that stands for Tally.
type world struct {
	conn     *grpc.ClientConn
	address  string
	server   *service.Server
	log      *lockedBuffer
	calls    *atomic.Int64 // requests that Tally saw
	handlers service.HandlerConfig
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t testing.TB, upstream http.HandlerFunc, change func(*service.Config), dial ...grpc.DialOption) *world {
	t.Helper()
	w := &world{log: &lockedBuffer{}, calls: &atomic.Int64{}}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls.Add(1)
		upstream(rw, r)
	}))
	t.Cleanup(server.Close)
	w.start(t, newClient(t, server.URL), change)
	w.dial(t, dial...)
	return w
}

// newWorldOf is a world whose client is changed.
func newWorldOf(t testing.TB, upstream http.HandlerFunc, change ...func(*tally.Config)) *world {
	t.Helper()
	w := &world{log: &lockedBuffer{}, calls: &atomic.Int64{}}
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	w.start(t, newClient(t, server.URL, append(change, func(c *tally.Config) { w.handlers.Quota = c.Quota })...), nil)
	w.dial(t)
	return w
}

func newClient(t testing.TB, address string, change ...func(*tally.Config)) *tally.Client {
	t.Helper()
	key, err := apikey.ParseKey("tly-0123456789abcdefghijABCDEFGHIJ01")
	if err != nil {
		t.Fatal(err)
	}
	contract, err := tally.NewContract(
		tallydv1.File_tallyd_v1_form_service_proto, tallydv1.File_tallyd_v1_submission_service_proto,
		tallydv1.File_tallyd_v1_webhook_service_proto, tallydv1.File_tallyd_v1_workspace_service_proto,
		tallydv1.File_tallyd_v1_user_service_proto, tallydv1.File_tallyd_v1_organization_service_proto,
		tallydv1.File_tallyd_v1_analytics_service_proto,
	)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	config := tally.Config{
		URL: base, Version: "2026-08-04", UserAgent: "tallyd/test", Keys: aliveKey{key}, Limits: tally.DefaultLimits(),
	}
	for _, f := range change {
		f(&config)
	}
	client := tally.New(contract, config)
	t.Cleanup(client.Close)
	return client
}

func (w *world) start(t testing.TB, client *tally.Client, change func(*service.Config)) {
	t.Helper()
	config := service.DefaultConfig()
	config.Log = slog.New(slog.NewJSONHandler(w.log, nil))
	if change != nil {
		change(&config)
	}
	w.server = service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, client, w.handlers)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = w.server.Serve(listener) })
	t.Cleanup(func() {
		w.server.Shutdown()
		served.Wait()
	})
	w.address = listener.Addr().String()
}

func (w *world) dial(t testing.TB, options ...grpc.DialOption) {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(w.address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w.conn = conn
}

func (w *world) forms() tallydv1.FormServiceClient { return tallydv1.NewFormServiceClient(w.conn) }

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func TestTrailersOfASuccess(t *testing.T) {
	w := newWorld(t, body(`{"id":"f1"}`), nil)
	var header, trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine-1")
	_, err := w.forms().GetForm(ctx, &tallydv1.GetFormRequest{FormId: "f1"}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if got := trailer.Get("tallyd-request-id"); len(got) != 1 || got[0] != "mine-1" {
		t.Errorf("tallyd-request-id = %q, want the caller's own", got)
	}
	if got := trailer.Get("tallyd-cost"); len(got) != 1 || got[0] != "1" {
		t.Errorf("tallyd-cost = %q, want 1", got)
	}
	if len(header.Get("tallyd-request-id")) != 0 {
		t.Errorf("header = %v, want nothing of ours", header)
	}
}

func TestBadRequestIDIsReplaced(t *testing.T) {
	w := newWorld(t, body(`{"id":"f1"}`), nil)
	for _, id := range []string{"two words", strings.Repeat("x", 129)} {
		var trailer metadata.MD
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", id)
		if _, err := w.forms().GetForm(ctx, &tallydv1.GetFormRequest{FormId: "f1"}, grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		if got := trailer.Get("tallyd-request-id"); len(got) != 1 || len(got[0]) != 32 {
			t.Errorf("tallyd-request-id = %q for %.20q, want a new one of 32 digits", got, id)
		}
	}
}

// TestErrorOverTheWire reads an error as a caller does: code, reason, domain, field, trailers and no header.
func TestErrorOverTheWire(t *testing.T) {
	tests := []struct {
		name                             string
		upstream                         http.HandlerFunc
		call                             func(context.Context, *world, ...grpc.CallOption) error
		wantCode                         codes.Code
		wantReason, wantDomain, wantText string
	}{
		{
			name: "bad id", upstream: body(`{}`), call: getForm("../me"), wantCode: codes.InvalidArgument,
			wantReason: "INVALID_FIELD", wantDomain: "tallyd", wantText: "form_id must be 1 to 64 letters, digits, '-' or '_'",
		},
		{
			name: "row 13: missing form", upstream: fail(404, `{"message":"Form was not found"}`), call: getForm("f1"), wantCode: codes.NotFound,
			wantReason: "RESOURCE_NOT_FOUND", wantDomain: "tally.so",
		},
		{
			name: "row 12: page instead of JSON", upstream: fail(404, "<html>"), call: getForm("f1"), wantCode: codes.Internal,
			wantReason: "TALLY_PROTOCOL", wantDomain: "tallyd",
		},
		{
			name: "plan", upstream: fail(401, "Unauthorized"), call: getForm("f1"), wantCode: codes.PermissionDenied,
			wantReason: "TALLY_FEATURE_UNAVAILABLE", wantDomain: "tally.so",
		},
		{
			name: "write that may have happened", upstream: fail(500, "{}"), call: createForm, wantCode: codes.Unknown,
			wantReason: "TALLY_ERROR", wantDomain: "tally.so",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.upstream, nil)
			var trailer metadata.MD
			err := test.call(t.Context(), w, grpc.Trailer(&trailer))
			s := status.Convert(err)
			info := detail[*errdetails.ErrorInfo](s)
			if s.Code() != test.wantCode || info.GetReason() != test.wantReason || info.GetDomain() != test.wantDomain {
				t.Errorf("status = %s %s %s (%s), want %s %s %s", s.Code(), info.GetReason(), info.GetDomain(), s.Message(),
					test.wantCode, test.wantReason, test.wantDomain)
			}
			if !strings.Contains(s.Message(), test.wantText) {
				t.Errorf("message = %q, want %q in it", s.Message(), test.wantText)
			}
			if got := trailer.Get("tallyd-reason"); len(got) != 1 || got[0] != test.wantReason {
				t.Errorf("tallyd-reason = %q, want %q", got, test.wantReason)
			}
			if log := w.log.String(); !strings.Contains(log, test.wantReason) || strings.Count(log, "finished call") != 1 {
				t.Errorf("log = %s, want one line with the reason", log)
			}
		})
	}
}

func detail[D any](s *status.Status) (found D) {
	for _, d := range s.Details() {
		if want, ok := d.(D); ok {
			return want
		}
	}
	return found
}

func fail(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

func getForm(id string) func(context.Context, *world, ...grpc.CallOption) error {
	return func(ctx context.Context, w *world, options ...grpc.CallOption) error {
		_, err := w.forms().GetForm(ctx, &tallydv1.GetFormRequest{FormId: id}, options...)
		return err
	}
}

func createForm(ctx context.Context, w *world, options ...grpc.CallOption) error {
	_, err := w.forms().CreateForm(ctx, &tallydv1.CreateFormRequest{Status: tallydv1.FormStatus_FORM_STATUS_DRAFT}, options...)
	return err
}

// retrying is what a caller's service config may say, foolishly even for writes.
const retrying = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.01s","maxBackoff":"0.02s",
	"backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE","UNKNOWN"]}}]}`

// TestClientRetries shows both halves of the rule on headers: a write that has left is seen once whatever the client's config says,
// and one that did not leave is tried again. Metrics and traces, which wrap the stream that headers go to, change nothing.
func TestClientRetries(t *testing.T) {
	watched := func(c *service.Config) {
		c.Meter, c.Tracer = sdkmetric.NewMeterProvider(), sdktrace.NewTracerProvider()
	}
	for name, change := range map[string]func(*service.Config){"plain": nil, "watched": watched} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, fail(500, "{}"), change, grpc.WithDefaultServiceConfig(retrying))
			if err := createForm(t.Context(), w); status.Code(err) != codes.Unknown {
				t.Errorf("CreateForm() = %v, want UNKNOWN", err)
			}
			if got := w.calls.Load(); got != 1 {
				t.Errorf("Tally saw %d requests of a write that had left, want 1", got)
			}

			closed := httptest.NewServer(body("{}"))
			closed.Close()
			w = &world{log: &lockedBuffer{}}
			w.start(t, newClient(t, closed.URL), change)
			w.dial(t, grpc.WithDefaultServiceConfig(retrying))
			if err := createForm(t.Context(), w); status.Code(err) != codes.Unavailable {
				t.Errorf("CreateForm() = %v, want UNAVAILABLE", err)
			}
			if got := strings.Count(w.log.String(), "finished call"); got != 4 {
				t.Errorf("the server saw %d tries of a write that could not leave, want 4", got)
			}
		})
	}
}

// panicking is a Tally that makes a handler panic.
type panicking struct{ service.Tally }

// TestPanicIsContained covers row 86: its caller reads INTERNAL, and the server answers on.
func TestPanicIsContained(t *testing.T) {
	w := &world{log: &lockedBuffer{}}
	config := service.DefaultConfig()
	config.Log = slog.New(slog.NewJSONHandler(w.log, nil))
	w.server = service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, panicking{}, service.HandlerConfig{})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = w.server.Serve(listener) })
	t.Cleanup(func() { w.server.Shutdown(); served.Wait() })
	w.address = listener.Addr().String()
	w.dial(t)
	// A read may be called again; a write may have happened, which nobody must repeat.
	for effect, want := range map[string]struct {
		call     func(...grpc.CallOption) error
		safe     string
		pushback []string
	}{
		"read": {func(o ...grpc.CallOption) error { return getForm("f1")(t.Context(), w, o...) }, "true", nil},
		"write": {func(o ...grpc.CallOption) error {
			_, err := tallydv1.NewFormServiceClient(w.conn).DeleteForm(t.Context(), &tallydv1.DeleteFormRequest{FormId: "f1"}, o...)
			return err
		}, "false", []string{"-1"}},
	} {
		var trailer metadata.MD
		s := status.Convert(want.call(grpc.Trailer(&trailer)))
		if safe := detail[*errdetails.ErrorInfo](s).GetMetadata()["retry_safe"]; safe != want.safe {
			t.Errorf("%s: retry_safe = %q, want %q", effect, safe, want.safe)
		}
		if got := trailer.Get("grpc-retry-pushback-ms"); !slices.Equal(got, want.pushback) {
			t.Errorf("%s: push-back = %v, want %v", effect, got, want.pushback)
		}
		if s.Code() != codes.Internal || detail[*errdetails.ErrorInfo](s).GetReason() != "PANIC" || strings.Contains(s.Message(), "nil pointer") {
			t.Errorf("%s = %s %q, want INTERNAL PANIC without its text", effect, s.Code(), s.Message())
		}
	}
	if got := w.server.InFlight(); got != 0 {
		t.Errorf("InFlight() = %d after the panics, want 0", got)
	}
	if !strings.Contains(w.log.String(), "handlers.go") {
		t.Error("the log lacks the panic's stack")
	}
}

// TestShutdownOrder keeps a call and a health watch open while the server stops: the call ends well, the watch learns of it and ends.
