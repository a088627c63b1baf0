package service_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// wordy serves submissions of the given number, each with one answer of so many bytes, newest first, as Tally pages.
func wordy(submissions, bytes int) http.HandlerFunc {
	answer := strconv.Quote(strings.Repeat("a", bytes))
	return func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		if limit == 0 {
			limit = 50
		}
		first := (max(page, 1) - 1) * limit
		last := min(first+limit, submissions)
		_, _ = fmt.Fprintf(w, `{"page":%d,"limit":%d,"hasMore":%t,"totalNumberOfSubmissionsPerFilter":{"all":%d,"completed":%d,"partial":0},`+
			`"questions":[{"id":"q1","type":"TEXTAREA","title":"Why?"}],"submissions":[`, page, limit, last < submissions, submissions, submissions)
		for i := first; i < last; i++ {
			if i > first {
				_, _ = fmt.Fprint(w, ",")
			}
			_, _ = fmt.Fprintf(w, `{"id":"s%d","formId":"f1","isCompleted":true,"submittedAt":"2026-01-01T00:00:00.000Z",`+
				`"responses":[{"id":"r%d","questionId":"q1","answer":%s}]}`, i, i, answer)
		}
		_, _ = fmt.Fprint(w, "]}")
	}
}

// TestLongSubmissions reads 500 submissions of 20 KB, 10 MB in all, with a client that takes 4 MiB at most: no page is larger than
// 3.5 MiB, and none of the submissions is lost or comes twice.
func TestLongSubmissions(t *testing.T) {
	const count = 500
	w := newWorld(t, wordy(count, 20_000), nil)
	client := tallydv1.NewSubmissionServiceClient(w.conn)
	for _, view := range []tallydv1.SubmissionView{tallydv1.SubmissionView_SUBMISSION_VIEW_BASIC, tallydv1.SubmissionView_SUBMISSION_VIEW_FULL} {
		t.Run(view.String(), func(t *testing.T) {
			var ids []string
			req := &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: count, View: view}
			for {
				page, err := client.ListSubmissions(t.Context(), req)
				if err != nil {
					t.Fatalf("ListSubmissions() after %d = %v, want nil", len(ids), err)
				}
				if size := proto.Size(page); size > 3_670_016 {
					t.Errorf("ListSubmissions() = %d bytes, want at most 3.5 MiB", size)
				}
				for _, s := range page.GetSubmissions() {
					ids = append(ids, s.GetId())
					if len(s.GetResponses()[0].GetText()) != 20_000 {
						t.Fatalf("submission %s lost its answer", s.GetId())
					}
				}
				if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
					break
				}
			}
			want := make([]string, count)
			for i := range want {
				want[i] = "s" + strconv.Itoa(i)
			}
			if !slices.Equal(ids, want) {
				t.Errorf("ListSubmissions() gave %d submissions, want each of %d once and in order", len(ids), count)
			}
		})
	}
}

// TestSubmissionTooLongForAnyAnswer says how large it is, instead of a client's library that refuses it unread.
func TestSubmissionTooLongForAnyAnswer(t *testing.T) {
	w := newWorld(t, wordy(3, 4<<20), nil)
	_, err := tallydv1.NewSubmissionServiceClient(w.conn).ListSubmissions(t.Context(), &tallydv1.ListSubmissionsRequest{FormId: "f1"})
	info := detail[*errdetails.ErrorInfo](status.Convert(err))
	if status.Code(err) != codes.ResourceExhausted || info.GetReason() != "RESPONSE_TOO_LARGE" {
		t.Fatalf("ListSubmissions() = %v, want ResourceExhausted RESPONSE_TOO_LARGE", err)
	}
	size, _ := strconv.Atoi(info.GetMetadata()["size_bytes"])
	limit, _ := strconv.Atoi(info.GetMetadata()["limit_bytes"])
	if size < 4<<20 || limit != 3_670_016 {
		t.Errorf("size_bytes, limit_bytes = %d, %d, want the submission's and 3.5 MiB", size, limit)
	}
}

// TestListTokens holds a list to what AIP-158 promises.
func TestListTokens(t *testing.T) {
	w := newWorld(t, wordy(5, 10), nil)
	client := tallydv1.NewSubmissionServiceClient(w.conn)
	list := func(ctx context.Context, change func(*tallydv1.ListSubmissionsRequest)) (*tallydv1.ListSubmissionsResponse, error) {
		req := &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 2}
		change(req)
		return client.ListSubmissions(ctx, req)
	}
	first, err := list(t.Context(), func(*tallydv1.ListSubmissionsRequest) {})
	if err != nil || len(first.GetSubmissions()) != 2 || first.GetNextPageToken() == "" {
		t.Fatalf("ListSubmissions() = %v, %v, want two and a token", first, err)
	}
	huge, err := list(t.Context(), func(r *tallydv1.ListSubmissionsRequest) { r.PageSize = 1 << 30 })
	if err != nil || len(huge.GetSubmissions()) != 5 || huge.GetNextPageToken() != "" {
		t.Errorf("ListSubmissions(huge page) = %v, %v, want all five", huge, err)
	}
	tests := []struct {
		name   string
		change func(*tallydv1.ListSubmissionsRequest)
	}{
		{"another form", func(r *tallydv1.ListSubmissionsRequest) { r.FormId, r.PageToken = "f2", first.GetNextPageToken() }},
		{"another filter", func(r *tallydv1.ListSubmissionsRequest) {
			r.Filter, r.PageToken = tallydv1.SubmissionFilter_SUBMISSION_FILTER_PARTIAL, first.GetNextPageToken()
		}},
		{"no token of ours", func(r *tallydv1.ListSubmissionsRequest) { r.PageToken = "bm9uZQ" }},
		{"token cut short", func(r *tallydv1.ListSubmissionsRequest) { r.PageToken = first.GetNextPageToken()[:10] }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := w.calls.Load()
			_, err := list(t.Context(), test.change)
			if status.Code(err) != codes.InvalidArgument || detail[*errdetails.ErrorInfo](status.Convert(err)).GetReason() != "PAGE_TOKEN_INVALID" {
				t.Errorf("ListSubmissions() = %v, want InvalidArgument PAGE_TOKEN_INVALID", err)
			}
			if n := w.calls.Load() - before; n != 0 {
				t.Errorf("Tally saw %d requests, want 0", n)
			}
		})
	}
}
