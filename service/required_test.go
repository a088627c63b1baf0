package service_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestWhatIsLeftOut says of each field that is required so, once, and of an update that it changes nothing; Tally hears of none.
func TestWhatIsLeftOut(t *testing.T) {
	w := newWorld(t, body("{}"), nil)
	form, webhook := tallydv1.NewFormServiceClient(w.conn), tallydv1.NewWebhookServiceClient(w.conn)
	tests := []struct {
		name string
		call func(context.Context) error
		want map[string]string
	}{
		{"id", func(ctx context.Context) error {
			_, err := form.GetForm(ctx, &tallydv1.GetFormRequest{})
			return err
		}, map[string]string{"form_id": "is required: must be 1 to 64 letters, digits, '-' or '_'"}},
		{"webhook", func(ctx context.Context) error {
			_, err := webhook.CreateWebhook(ctx, &tallydv1.CreateWebhookRequest{})
			return err
		}, map[string]string{
			"form_id": "is required: must be 1 to 64 letters, digits, '-' or '_'",
			"url":     "is required",
		}},
		{"status", func(ctx context.Context) error {
			_, err := form.CreateForm(ctx, &tallydv1.CreateFormRequest{})
			return err
		}, map[string]string{"status": "is required: must be one of FORM_STATUS_BLANK, FORM_STATUS_DRAFT, FORM_STATUS_PUBLISHED"}},
		{"change", func(ctx context.Context) error {
			_, err := form.UpdateForm(ctx, &tallydv1.UpdateFormRequest{FormId: "f1"})
			return err
		}, map[string]string{"update_mask": "must name a field to change, or the request must set one"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.call(t.Context())
			if code := status.Code(err); code != codes.InvalidArgument {
				t.Fatalf("call = %v, want InvalidArgument", err)
			}
			got := map[string]string{}
			for _, detail := range status.Convert(err).Details() {
				if bad, ok := detail.(*errdetails.BadRequest); ok {
					for _, v := range bad.GetFieldViolations() {
						if got[v.GetField()] != "" {
							t.Errorf("%s is complained of twice", v.GetField())
						}
						got[v.GetField()] = v.GetDescription()
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
	if n := w.calls.Load(); n != 0 {
		t.Errorf("Tally saw %d requests, want 0", n)
	}
}
