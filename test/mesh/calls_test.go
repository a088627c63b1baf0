package mesh

import (
	"context"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// call is one RPC of the contract. It carries an id that shows in the request that Tally sees.
type call struct {
	name string
	do   func(ctx context.Context, conn *grpc.ClientConn, id string, options ...grpc.CallOption) error
}

var read = call{"GetForm", func(ctx context.Context, conn *grpc.ClientConn, id string, options ...grpc.CallOption) error {
	_, err := tallydv1.NewFormServiceClient(conn).GetForm(ctx, &tallydv1.GetFormRequest{FormId: id}, options...)
	return err
}}

// writes are calls of every verb that changes something, with a body and without.
var writes = []call{
	{"CreateForm", func(ctx context.Context, conn *grpc.ClientConn, id string, options ...grpc.CallOption) error {
		req := &tallydv1.CreateFormRequest{Status: tallydv1.FormStatus_FORM_STATUS_DRAFT, WorkspaceId: &id}
		_, err := tallydv1.NewFormServiceClient(conn).CreateForm(ctx, req, options...)
		return err
	}},
	{"UpdateForm", func(ctx context.Context, conn *grpc.ClientConn, id string, options ...grpc.CallOption) error {
		req := &tallydv1.UpdateFormRequest{FormId: id, Name: new("n")}
		_, err := tallydv1.NewFormServiceClient(conn).UpdateForm(ctx, req, options...)
		return err
	}},
	{"RetryWebhookEvent", func(ctx context.Context, conn *grpc.ClientConn, id string, options ...grpc.CallOption) error {
		req := &tallydv1.RetryWebhookEventRequest{WebhookId: "wh1", EventId: id}
		_, err := tallydv1.NewWebhookServiceClient(conn).RetryWebhookEvent(ctx, req, options...)
		return err
	}},
	{"DeleteSubmission", func(ctx context.Context, conn *grpc.ClientConn, id string, options ...grpc.CallOption) error {
		req := &tallydv1.DeleteSubmissionRequest{FormId: "f1", SubmissionId: id}
		_, err := tallydv1.NewSubmissionServiceClient(conn).DeleteSubmission(ctx, req, options...)
		return err
	}},
}

// calm makes a call that Tally answers well, so that failures of Tally that a test asks for do not open the breaker.
func calm(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	if err := read.do(t.Context(), conn, "calm"); err != nil {
		t.Fatalf("GetForm() between failures = %v, want nil", err)
	}
}

// reasonOf returns what an error says to a machine.
func reasonOf(err error) (codes.Code, string) {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return s.Code(), info.GetReason()
		}
	}
	return s.Code(), ""
}
