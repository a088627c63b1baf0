package service_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/events"
)

// answering returns a Tally that knows the key and answers whatever else it is asked alike.
func answering(t *testing.T, status int, body string) *service.Upstream {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/users/me" {
			_, _ = fmt.Fprint(w, `{"id":"u1"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return service.NewUpstream(newClient(t, server.URL), service.HandlerConfig{})
}

// A submission is gone when Tally says so, and not when it says nothing about it: what is taken for gone is erased.
func TestSubmissionIsGone(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		body     string
		wantGone bool
	}{
		{"not found", 404, `{"message":"Submission was not found"}`, true},
		{"gone", 410, `{"message":"gone"}`, true},
		{"forbidden", 403, `{"message":"forbidden"}`, false},
		{"refused although the key is good", 401, "Unauthorized", false},
		{"to be paid", 402, `{"message":"pay"}`, false},
		{"no such route", 404, "<html>", false},
		{"down", 503, "<html>", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := answering(t, test.status, test.body).Submission(t.Context(), "f", "s")
			if err == nil || errors.Is(err, events.ErrNoSubmission) != test.wantGone {
				t.Errorf("Submission() = %v, want that there is none: %v", err, test.wantGone)
			}
		})
	}
}

// Whatever Tally has not delivered counts, also what waits for its next try; and no page is read behind the one that goes back far enough.
func TestUndelivered(t *testing.T) {
	now := time.Now().UTC()
	event := func(status string, age time.Duration) string {
		return fmt.Sprintf(`{"id":"e-%s","deliveryStatus":%q,"createdAt":%q,"payload":{"data":{"submissionId":"of-%s"}}}`,
			status, status, now.Add(-age).Format(time.RFC3339), strings.ToLower(status))
	}
	first := event("SUCCEEDED", 0) + "," + event("QUEUED", time.Minute)
	second := event("FAILED", 2*time.Minute) + "," + event("DROPPED", time.Hour)
	pages := map[string]string{"": first, "1": first, "2": second}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, known := pages[r.URL.Query().Get("page")]
		if !known {
			t.Errorf("%s is asked for", r.URL)
		}
		_, _ = fmt.Fprintf(w, `{"page":1,"limit":25,"hasMore":true,"totalNumberOfEvents":75,"events":[%s]}`, page)
	}))
	t.Cleanup(server.Close)
	up := service.NewUpstream(newClient(t, server.URL), service.HandlerConfig{})
	got, err := up.Undelivered(t.Context(), "w", now.Add(-30*time.Minute))
	if want := []string{"of-queued", "of-failed", "of-dropped"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("Undelivered() = %q, %v, want %q", got, err, want)
	}
}

// Tally refuses the list of webhooks until there is one; what else goes wrong does not say that there is none.
func TestWebhooksRefused(t *testing.T) {
	tests := []struct {
		name        string
		status      int
		body        string
		wantRefused bool
	}{
		{"refused although the key is good", 401, "Unauthorized", true},
		{"forbidden", 403, `{"message":"forbidden"}`, true},
		{"not found", 404, `{"message":"Webhooks were not found"}`, false},
		{"to be paid", 402, `{"message":"pay"}`, false},
		{"down", 503, "<html>", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := answering(t, test.status, test.body).Webhooks(t.Context())
			if err == nil || errors.Is(err, events.ErrListRefused) != test.wantRefused {
				t.Errorf("Webhooks() = %v, want that the list is refused: %v", err, test.wantRefused)
			}
		})
	}
}
