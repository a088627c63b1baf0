package mesh

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
)

// ending is how a call ended, as a caller sees it.
type ending struct {
	Status  *spb.Status
	Trailer metadata.MD
}

// leftOut are what a proxy adds of its own, and the details as bytes, which are compared as what they mean.
var leftOut = []string{"server", "date", "content-type", "content-length", "grpc-status-details-bin"}

// end makes a call and returns how it ended. How often tallyd tried depends on the calls before, so that alone is left out.
func end(ctx context.Context, conn *grpc.ClientConn, c call, id string) ending {
	var trailer metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", id)
	err := c.do(ctx, conn, id, grpc.Trailer(&trailer))
	e := ending{Status: proto.CloneOf(status.Convert(err).Proto()), Trailer: trailer.Copy()}
	maps.DeleteFunc(e.Trailer, func(key string, _ []string) bool { return slices.Contains(leftOut, key) })
	if len(e.Trailer["tallyd-cost"]) == 1 {
		e.Trailer["tallyd-cost"] = []string{"some"}
	}
	for _, detail := range e.Status.GetDetails() {
		info := &errdetails.ErrorInfo{}
		if detail.UnmarshalTo(info) != nil || info.GetMetadata()["attempts"] == "" {
			continue
		}
		info.Metadata["attempts"] = "some"
		if packed, err := anypb.New(info); err == nil {
			detail.Value = packed.GetValue()
		}
	}
	return e
}

// TestErrorsSurvive compares what a caller reads directly with what it reads behind a proxy: code, message, details, trailers.
func TestErrorsSurvive(t *testing.T) {
	tests := []struct {
		name   string
		behind func(t *testing.T, replica *process) string
	}{
		{"repeating proxy", func(t *testing.T, replica *process) string { return newProxy(t, dial(t, replica.address)).address }},
		{"nginx", func(t *testing.T, replica *process) string { return newNginx(t, "", replica).address }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			replica := serve(t, newTally(t, asNamed(badAnswers)))
			direct, behind := dial(t, replica.address), dial(t, test.behind(t, replica))
			for _, a := range badAnswers {
				for _, c := range append(writes, read) {
					id := "as-" + a.name + "-1"
					calm(t, direct)
					want := end(t.Context(), direct, c, id)
					checkError(t, c, id, want)
					calm(t, direct)
					if diff := cmp.Diff(want, end(t.Context(), behind, c, id), protocmp.Transform()); diff != "" {
						t.Errorf("%s(%q) (-direct +behind the proxy):\n%s", c.name, id, diff)
					}
				}
			}
			checkLargest(t, end(t.Context(), behind, writes[1], "as-many-1").Status)
		})
	}
}

// checkError demands an error that is worth comparing.
func checkError(t *testing.T, c call, id string, got ending) {
	t.Helper()
	if got.Status.GetCode() == 0 {
		// These two look for nothing in an answer, so that it may be odd.
		if c.name != "RetryWebhookEvent" && c.name != "DeleteSubmission" {
			t.Errorf("%s(%q) = OK, want an error", c.name, id)
		}
		return
	}
	if len(got.Status.GetDetails()) == 0 || len(got.Trailer["tallyd-reason"]) != 1 {
		t.Errorf("%s(%q) = %v, trailers %v, want an error with details and a reason", c.name, id, got.Status, got.Trailer)
	}
}

// checkLargest demands that an error which names many violations comes near the 2 KiB that errors may take in the trailers, and
// stays below.
func checkLargest(t *testing.T, s *spb.Status) {
	t.Helper()
	size := len(s.GetMessage()) + base64.RawStdEncoding.EncodedLen(proto.Size(s))
	if code := codes.Code(s.GetCode()); code != codes.InvalidArgument || size < 1800 || size > 2048 {
		t.Errorf("the largest error is %v and takes %d bytes, want InvalidArgument with 1800 to 2048", code, size)
	}
}
