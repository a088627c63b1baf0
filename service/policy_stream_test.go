package service_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/policy"
)

// streamOf is a server stream with the name of an RPC, as the contract's own streams will be. It sends two submissions, one of which is
// of another form.
func streamOf(method string) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName: method, ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			req := &tallydv1.GetSubmissionRequest{}
			if err := stream.RecvMsg(req); err != nil {
				return err
			}
			for _, form := range []string{"f1", "f2"} {
				answer := &tallydv1.GetSubmissionResponse{Submission: &tallydv1.Submission{
					Id: "s", FormId: form, PdfUrl: "https://tally.so/pdf?accessToken=x",
				}}
				if err := stream.SendMsg(answer); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// TestStreamsPassThePolicy holds that a stream is decided by its request, that each of its messages is filtered, and that one which the
// contract says nothing about is denied.
func TestStreamsPassThePolicy(t *testing.T) {
	conn, audit := streamWorld(t)
	tests := []struct {
		name, caller, method, form string
		wantReason                 string
		wantMessages               int
	}{
		{"own form, until a foreign submission comes", "a", "GetSubmission", "f1", "CALLER_NOT_ALLOWED", 1},
		{"foreign form", "a", "GetSubmission", "f2", "CALLER_NOT_ALLOWED", 0},
		{"nobody", "", "GetSubmission", "f1", "CALLER_UNAUTHENTICATED", 0},
		{"in no entry", "b", "GetSubmission", "f1", "CALLER_NOT_ALLOWED", 0},
		{"not in the contract", "a", "Undescribed", "f1", "CALLER_NOT_ALLOWED", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			if test.caller != "" {
				ctx = as(t, test.caller)
			}
			before := strings.Count(audit.String(), "\n")
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/tallyd.v1.SubmissionService/"+test.method)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(&tallydv1.GetSubmissionRequest{FormId: test.form, SubmissionId: "s"}); err != nil {
				t.Fatal(err)
			}
			_ = stream.CloseSend()
			got := 0
			for ; ; got++ {
				answer := &tallydv1.GetSubmissionResponse{}
				if err = stream.RecvMsg(answer); err != nil {
					break
				}
				if answer.GetSubmission().GetFormId() != "f1" || answer.GetSubmission().GetPdfUrl() != "" {
					t.Errorf("a message holds %v, want one of f1 without a link", answer)
				}
			}
			if errors.Is(err, io.EOF) || reasonOf(err) != test.wantReason || got != test.wantMessages {
				t.Errorf("the stream sent %d messages and ended with %v, want %d and %s", got, err, test.wantMessages, test.wantReason)
			}
			if records := strings.Count(audit.String(), "\n") - before; records != 1 {
				t.Errorf("the audit trail has %d records of it, want 1", records)
			}
		})
	}
}

// streamWorld is a server with such streams under a policy, and its audit trail.
func streamWorld(t *testing.T) (*grpc.ClientConn, *lockedBuffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.yaml")
	rules := "callers: [{name: a, identities: ['dns:a'], allow: [{methods: ['*'], forms: [f1]}]}]"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	prove := func([]*configv1.IdentitySource) (policy.Resolver, error) { return saysWho{}, nil }
	keeper, err := policy.Open(file, prove, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	config := service.DefaultConfig()
	audit := &lockedBuffer{}
	config.Audit = service.NewAuditLog(audit, func(err error) { t.Error(err) })
	config.Authority = &service.Authority{Policy: keeper.Current, Places: policy.NewPlaces(nil)}
	server := service.NewServer(config, func(to grpc.ServiceRegistrar) {
		to.RegisterService(&grpc.ServiceDesc{
			ServiceName: "tallyd.v1.SubmissionService", HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{streamOf("GetSubmission"), streamOf("Undescribed")},
		}, struct{}{})
	})
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
	w := &world{address: listener.Addr().String()}
	w.dial(t)
	return w.conn, audit
}
