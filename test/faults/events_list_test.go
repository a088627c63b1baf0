package faults

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// listed is a submission as Tally lists it.
type listed struct {
	form, id string
	sent     time.Time
}

// listing is what Tally lists; of forms without any it lists nothing.
type listing struct {
	mu   sync.Mutex
	sent []listed // oldest first
}

// submit has Tally list submissions of form f1, which were sent off just now, and delivers them.
func (d *deliverer) submit(t *testing.T, l *logger, submissions ...string) {
	t.Helper()
	for _, id := range submissions {
		at := time.Now()
		d.mu.Lock()
		d.sent = append(d.sent, listed{"f1", id, at})
		d.mu.Unlock()
		got, err := d.deliver(t.Context(), l, "f1", d.bodyFrom(at, "f1", id, "x"))
		if err != nil || got.status != http.StatusOK {
			t.Fatalf("delivering %s = %v, %v, want 200", id, got, err)
		}
	}
}

// list answers a request for the submissions of a form, all on one page, newest first. It is false for a form that nobody may list.
func (l *listing) list(w http.ResponseWriter, r *http.Request, form string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var items []string
	since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("startDate"))
	completed := 0
	for _, s := range slices.Backward(l.sent) {
		if s.form != form {
			continue
		}
		if completed++; s.sent.After(since) && r.URL.Query().Get("filter") == "completed" {
			items = append(items, fmt.Sprintf(`{"id":%q,"formId":%q,"isCompleted":true,"submittedAt":%q,"responses":[]}`,
				s.id, form, s.sent.UTC().Format("2006-01-02T15:04:05.000Z")))
		}
	}
	if completed == 0 {
		return false
	}
	_, _ = fmt.Fprintf(w, `{"page":1,"limit":500,"hasMore":false,"totalNumberOfSubmissionsPerFilter":{"all":%[1]d,"completed":%[1]d,"partial":0},`+
		`"questions":[],"submissions":[%[2]s]}`, completed, strings.Join(items, ","))
	return true
}
