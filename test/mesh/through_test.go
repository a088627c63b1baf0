package mesh

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestLargeList passes several MiB of answers through nginx.
func TestLargeList(t *testing.T) {
	findNginx(t)
	replica := serve(t, newTally(t, manyAnswers))
	req := &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 500}
	list := func(address string) *tallydv1.ListSubmissionsResponse {
		page, err := tallydv1.NewSubmissionServiceClient(dial(t, address)).ListSubmissions(t.Context(), req)
		if err != nil {
			t.Fatalf("ListSubmissions() = %v, want nil", err)
		}
		return page
	}
	want, got := list(replica.address), list(newNginx(t, "", replica).address)
	if size := proto.Size(want); size < 3<<20 {
		t.Errorf("the page has %d bytes, want some MiB", size)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("ListSubmissions() (-direct +behind nginx):\n%.2000s", diff)
	}
}

// manyAnswers is a page of 500 submissions with 6.5 KiB of text each.
func manyAnswers(w http.ResponseWriter, _ *http.Request, _ string) {
	text := strings.Repeat("long ", 1300)
	_, _ = io.WriteString(w, `{"hasMore":false,"questions":[{"id":"q1","type":"TEXTAREA"}],"submissions":[`)
	for n := range 500 {
		if n > 0 {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = fmt.Fprintf(w, `{"id":"s%d","formId":"f1","isCompleted":true,"responses":[{"id":"r%d","questionId":"q1","answer":%q}]}`, n, n, text)
	}
	_, _ = io.WriteString(w, "]}")
}

// TestLargeRequest shows the one default of nginx that must be changed: it refuses requests over 1 MiB, in a way that no caller takes
// for something that may be repeated.
func TestLargeRequest(t *testing.T) {
	findNginx(t)
	tally := newTally(t, anything)
	replica := serve(t, tally)
	payload, err := structpb.NewStruct(map[string]any{"html": strings.Repeat("x", 2<<20)})
	if err != nil {
		t.Fatal(err)
	}
	req := &tallydv1.CreateFormRequest{
		Status: tallydv1.FormStatus_FORM_STATUS_DRAFT,
		Blocks: []*tallydv1.Block{{Uuid: "b1", Type: "TEXT", GroupUuid: "g1", GroupType: "TEXT", Payload: payload}},
	}
	for server, want := range map[string]codes.Code{"": codes.Unknown, "client_max_body_size 4m;": codes.OK} {
		_, err := tallydv1.NewFormServiceClient(dial(t, newNginx(t, server, replica).address)).CreateForm(t.Context(), req)
		if code := status.Code(err); code != want {
			t.Errorf("CreateForm() of 2 MiB behind nginx with %q = %.200v, want %v", server, err, want)
		}
	}
	if asked := tally.count("POST"); asked != 1 {
		t.Errorf("Tally saw %d forms, want 1", asked)
	}
}

// TestDeadlinePasses lets a deadline travel through nginx: tallyd ends the call, since this client has no clock of its own.
func TestDeadlinePasses(t *testing.T) {
	findNginx(t)
	release := make(chan struct{})
	replica := serve(t, newTally(t, func(http.ResponseWriter, *http.Request, string) { <-release }))
	defer close(release)
	message, err := proto.Marshal(&tallydv1.GetFormRequest{FormId: "f1"})
	if err != nil {
		t.Fatal(err)
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	address := "http://" + newNginx(t, "", replica).address + "/tallyd.v1.FormService/GetForm"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Timeout": {"500m"}}
	client := &http.Transport{Protocols: new(http.Protocols)}
	client.Protocols.SetUnencryptedHTTP2(true)
	defer client.CloseIdleConnections()
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if code, reason := resp.Header.Get("Grpc-Status"), resp.Header.Get("Tallyd-Reason"); code != "4" || reason != "DEADLINE_IN_FLIGHT" {
		t.Errorf("GetForm() with a deadline of 500 ms = status %q, reason %q, want 4 and DEADLINE_IN_FLIGHT", code, reason)
	}
}

// TestCancellationPasses lets a caller go away behind nginx: Tally is not waited for any longer.
func TestCancellationPasses(t *testing.T) {
	findNginx(t)
	arrived, left := make(chan struct{}), make(chan struct{})
	replica := serve(t, newTally(t, func(_ http.ResponseWriter, r *http.Request, _ string) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	conn := dial(t, newNginx(t, "", replica).address)
	ended := make(chan error, 1)
	go func() { ended <- read.do(ctx, conn, "f1") }()
	await(t, arrived, "the request")
	cancel()
	await(t, left, "the end of the request")
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("GetForm() = %v, want Canceled", err)
	}
}

// TestStreamPasses watches the health through nginx to the end of the replica.
func TestStreamPasses(t *testing.T) {
	findNginx(t)
	replica := serve(t, newTally(t, anything), "--lame-duck", "200ms")
	conn := dial(t, newNginx(t, "", replica).address)
	stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, stream, healthpb.HealthCheckResponse_SERVING)
	replica.signal(t, syscall.SIGTERM)
	wantStatus(t, stream, healthpb.HealthCheckResponse_NOT_SERVING)
	_, err = stream.Recv()
	if code, reason := reasonOf(err); code != codes.Unavailable || reason != "SERVER_DRAINING" {
		t.Errorf("Watch() ended in %v, want Unavailable SERVER_DRAINING", err)
	}
	replica.ended(t)
}

func wantStatus(t *testing.T, stream grpc.ServerStreamingClient[healthpb.HealthCheckResponse], want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	if got, err := stream.Recv(); err != nil || got.GetStatus() != want {
		t.Errorf("Watch() = %v, %v, want %v", got, err, want)
	}
}

// await waits for an event.
func await(t *testing.T, event <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("waited for %s in vain", what)
	}
}
