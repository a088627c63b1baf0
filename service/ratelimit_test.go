package service_test

import (
	"context"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestRowsOf429 covers rows 1 to 4: what Tally says with a 429 is when the caller hears that another try is worth it, and until then
// nothing leaves, whoever asks; a call that cannot wait that long is refused at once.
func TestRowsOf429(t *testing.T) {
	tally := time.Now().Add(-5 * time.Minute).UTC() // its clock is five minutes off
	tests := []struct {
		name        string
		headers     map[string][]string
		least, most time.Duration
	}{
		{"row 1: seconds", map[string][]string{"Retry-After": {"7"}}, 6 * time.Second, 7 * time.Second},
		{"row 2: a date by another clock", map[string][]string{
			"Retry-After": {tally.Add(9 * time.Second).Format(http.TimeFormat)}, "Date": {tally.Format(http.TimeFormat)},
		}, 8 * time.Second, 9 * time.Second},
		{"row 3: no word, which is the rest of the minute", nil, 55 * time.Second, time.Minute},
		{"row 4: less than nothing", map[string][]string{"Retry-After": {"-1"}}, time.Second / 2, time.Second},
		{"row 4: for ever", map[string][]string{"Retry-After": {"1000000000"}}, 119 * time.Second, 2 * time.Minute},
		{"row 4: no number", map[string][]string{"Retry-After": {"NaN"}}, 55 * time.Second, time.Minute},
		{"row 4: a number in other clothes", map[string][]string{"Retry-After": {"1e9"}}, 55 * time.Second, time.Minute},
		{"row 4: two headers, of which the longer counts", map[string][]string{"Retry-After": {"3", "30"}}, 29 * time.Second, 30 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var asked atomic.Int32
			w := newWorldOf(t, func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) == 1 {
					_, _ = w.Write([]byte(`{"id":"f1","name":"Form"}`))
					return
				}
				maps.Copy(w.Header(), test.headers)
				w.WriteHeader(http.StatusTooManyRequests)
			}, shared(100))
			forms := tallydv1.NewFormServiceClient(w.conn)
			get := func(within time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				_, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "f1"})
				return err
			}
			if err := get(time.Minute); err != nil {
				t.Fatal(err)
			}
			err := get(time.Minute)
			if status.Code(err) != codes.ResourceExhausted || reasonOf(err) != "TALLY_RATE_LIMITED" || infoOf(err).GetDomain() != "tally.so" {
				t.Fatalf("GetForm() = %v, want ResourceExhausted TALLY_RATE_LIMITED of tally.so", err)
			}
			if delay := retryDelay(err); delay < test.least || delay > test.most {
				t.Errorf("RetryInfo = %v, want %v to %v", delay, test.least, test.most)
			}
			err = get(400 * time.Millisecond)
			if status.Code(err) != codes.ResourceExhausted || reasonOf(err) != "QUOTA_WAIT_EXCEEDS_DEADLINE" || infoOf(err).GetMetadata()["outcome"] != "not_sent" {
				t.Errorf("GetForm() in the pause = %v, want ResourceExhausted QUOTA_WAIT_EXCEEDS_DEADLINE, not sent", err)
			}
			if delay := retryDelay(err); delay < test.least-time.Second || delay > test.most {
				t.Errorf("RetryInfo in the pause = %v, want what is left of %v", delay, test.most)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("Tally got %d requests, want 2: none in the pause", n)
			}
		})
	}
}

// TestRepetitionPays covers row 6: a read that failed is repeated and succeeds, and both requests are paid.
func TestRepetitionPays(t *testing.T) {
	var asked atomic.Int32
	w := newWorldOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"id":"f1","name":"Form"}`))
	}, shared(100))
	if _, err := tallydv1.NewFormServiceClient(w.conn).GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"}); err != nil {
		t.Fatal(err)
	}
	resp, err := tallydv1.NewQuotaServiceClient(w.conn).GetQuota(t.Context(), &tallydv1.GetQuotaRequest{})
	if err != nil || resp.GetQuota().GetUsed() != 2 {
		t.Errorf("GetQuota() = %v, %v, want 2 requests used", resp, err)
	}
}
