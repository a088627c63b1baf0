package service_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service"
)

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
