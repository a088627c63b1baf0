package faults

import (
	"context"
	"net/http"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// underWay are calls and how each must end, although tallyd was told to stop while Tally worked on them.
var underWay = []struct {
	name       string
	call       func(context.Context, *grpc.ClientConn) error
	wantCode   codes.Code
	wantReason string
}{
	{"a read", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := tallydv1.NewFormServiceClient(conn).GetForm(ctx, &tallydv1.GetFormRequest{FormId: "f1"})
		return err
	}, codes.OK, ""},
	{"a write", func(ctx context.Context, conn *grpc.ClientConn) error {
		req := &tallydv1.UpdateFormRequest{FormId: "f1", Name: new("n")}
		_, err := tallydv1.NewFormServiceClient(conn).UpdateForm(ctx, req)
		return err
	}, codes.OK, ""},
	// What its 401 means is known only when the check of the key is back.
	{"a call that the plan lacks", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := tallydv1.NewWebhookServiceClient(conn).ListWebhooks(ctx, &tallydv1.ListWebhooksRequest{})
		return err
	}, codes.PermissionDenied, "TALLY_FEATURE_UNAVAILABLE"},
}

func answerUnderWay(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/webhooks" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	alive(aForm)(w, r)
}

// TestDrain covers row 103: on SIGTERM readiness and health say no at once, streams without an end are ended, what is under way ends
// as it would have, and the process ends with 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, len(underWay)+1), make(chan struct{})
	p := serveWith(t, newTally(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		answerUnderWay(w, r)
	}), newKey(), "--reflection=on")
	conn := p.dial(t)
	watch, reflection := openStreams(t, conn)
	ended := make(chan func(), len(underWay))
	for _, u := range underWay {
		go func() {
			err := u.call(t.Context(), conn)
			ended <- func() { checkEnd(t, u.name, err, u.wantCode, u.wantReason) }
		}()
	}
	for range cap(arrived) {
		<-arrived
	}

	p.signal(t, syscall.SIGTERM)
	checkWatchEnds(t, watch)
	if _, err := reflection.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the reflection stream ended in %v, want Unavailable", err)
	}
	checkOperators(t, p)
	close(release)
	for range underWay {
		(<-ended)()
	}
	if code := p.code(t); code != 0 {
		t.Errorf("exit code = %d, want 0\n%s", code, p.output)
	}
}

func checkEnd(t *testing.T, name string, err error, wantCode codes.Code, wantReason string) {
	t.Helper()
	if code, reason := reasonOf(err); code != wantCode || reason != wantReason {
		t.Errorf("%s under way at SIGTERM = %v, want %v %s", name, err, wantCode, wantReason)
	}
}

// checkOperators demands that the operators' port goes on while the process drains, and says that it does.
func checkOperators(t *testing.T, p *process) {
	t.Helper()
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusOK} {
		if code, body := get(t, p.admin+path); code != want {
			t.Errorf("GET %s while draining = %d %q, want %d", path, code, body, want)
		}
	}
}

// openStreams opens streams that only the server's end ends.
func openStreams(t *testing.T, conn *grpc.ClientConn) (
	grpc.ServerStreamingClient[healthpb.HealthCheckResponse], reflectionpb.ServerReflection_ServerReflectionInfoClient,
) {
	t.Helper()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("Watch() = %v, %v, want SERVING", first, err)
	}
	reflection, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return watch, reflection
}

// checkWatchEnds demands that a watch says NOT_SERVING at most once more and ends in a code that sends the caller elsewhere.
func checkWatchEnds(t *testing.T, watch grpc.ServerStreamingClient[healthpb.HealthCheckResponse]) {
	t.Helper()
	last, err := watch.Recv()
	if err == nil {
		if last.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("Watch() = %v, want NOT_SERVING", last)
		}
		_, err = watch.Recv()
	}
	if code, reason := reasonOf(err); code != codes.Unavailable || reason != "SERVER_DRAINING" {
		t.Errorf("Watch() ended in %v, want Unavailable SERVER_DRAINING", err)
	}
}

// TestSecondSignal covers the impatient operator: a second SIGTERM ends the process although a call is under way.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	p := serveWith(t, newTally(t, alive(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	})), newKey())
	conn := p.dial(t)
	go func() { _ = underWay[0].call(t.Context(), conn) }()
	await(t, arrived, "the call")
	watch, _ := openStreams(t, conn)
	p.signal(t, syscall.SIGTERM)
	// The end of the watch says that the first signal was taken.
	checkWatchEnds(t, watch)
	p.signal(t, syscall.SIGTERM)
	if code := p.code(t); code == 0 {
		t.Errorf("exit code = %d, want another: a call was cut", code)
	}
}
