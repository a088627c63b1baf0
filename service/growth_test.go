package service_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestGrowthBetweenPages covers row 38: answers arrive while a caller pages through the newest first, fewer than a page, a whole page
// and more. Each submission of the start is seen once, also when the caller gives an end that lies ahead.
func TestGrowthBetweenPages(t *testing.T) {
	tests := []struct {
		name string
		end  *timestamppb.Timestamp
	}{
		{"newest first", nil},
		{"until tomorrow", timestamppb.New(time.Now().Add(24 * time.Hour))},
	}
	for _, test := range tests {
		for _, growth := range []int{1, 20, 45} {
			t.Run(test.name+" "+strconv.Itoa(growth), func(t *testing.T) {
				w, pretended := sandboxWorld(t)
				grow := func() {
					for range growth {
						if _, err := pretended.Submit("Repair", nil); err != nil {
							t.Fatal(err)
						}
					}
				}
				want := everySubmission(t, w, test.end, 500, func() {})
				if diff := cmp.Diff(want, everySubmission(t, w, test.end, 20, grow)); diff != "" {
					t.Errorf("submissions (-there at the start +seen):\n%s", diff)
				}
			})
		}
	}
}

// everySubmission pages through a form and returns the ids; between each two pages the given thing happens.
func everySubmission(t *testing.T, w *world, end *timestamppb.Timestamp, size int32, between func()) []string {
	t.Helper()
	req := &tallydv1.ListSubmissionsRequest{FormId: "Repair", EndTime: end, PageSize: size}
	var ids []string
	for range 50 {
		page, err := tallydv1.NewSubmissionServiceClient(w.conn).ListSubmissions(t.Context(), req)
		if err != nil {
			t.Fatalf("ListSubmissions() after %d = %v, want nil", len(ids), err)
		}
		for _, s := range page.GetSubmissions() {
			ids = append(ids, s.GetId())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return ids
		}
		between()
	}
	t.Fatalf("ListSubmissions() did not end after %d", len(ids))
	return nil
}
