package service_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// submitted is a submission of the archive: when it was sent off, in milliseconds, 0 for never.
type submitted struct {
	id string
	at int64
}

// archive is a Tally with submissions of one form, newest first, that a test can change between two pages.
type archive struct {
	mu       sync.Mutex
	items    []submitted
	coarse   bool // reads an end as the day that holds it
	noEnd    bool // says at the end that there is more
	between  func(a *archive, page int)
	requests int
	status   int
}

func (a *archive) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.requests++; a.between != nil {
		a.between(a, a.requests)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
		return
	}
	query := r.URL.Query()
	limit, _ := strconv.Atoi(query.Get("limit"))
	page, _ := strconv.Atoi(query.Get("page"))
	items := a.items
	if end, err := time.Parse(time.RFC3339, query.Get("endDate")); err == nil {
		if a.coarse {
			end = end.Truncate(24 * time.Hour).Add(24*time.Hour - time.Millisecond)
		}
		items = slices.DeleteFunc(slices.Clone(items), func(s submitted) bool { return s.at > end.UnixMilli() })
	}
	from := min((page-1)*limit, len(items))
	to := min(from+limit, len(items))
	var text []string
	for _, s := range items[from:to] {
		text = append(text, s.json())
	}
	_, _ = fmt.Fprintf(w, `{"page":%d,"limit":%d,"hasMore":%v,"totalNumberOfSubmissionsPerFilter":{"all":%d,"completed":%d,"partial":0},
		"questions":[{"id":"q1","type":"INPUT_TEXT","title":"Why?"}],"submissions":[%s]}`,
		page, limit, to < len(items) || a.noEnd, len(a.items), len(a.items), strings.Join(text, ","))
}

func (s submitted) json() string {
	at := ""
	if s.at != 0 {
		at = fmt.Sprintf(`"submittedAt":%q,`, time.UnixMilli(s.at).UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	return fmt.Sprintf(`{"id":%q,"formId":"f1",%s"isCompleted":true,"responses":[{"questionId":"q1","answer":"text"}]}`, s.id, at)
}

// newArchive has n submissions, so many at each instant.
func newArchive(n, together int) *archive {
	a := &archive{}
	newest := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	for i := range n {
		a.items = append(a.items, submitted{fmt.Sprintf("s%d", i), newest - int64(i/together)*7000})
	}
	return a
}

func (a *archive) ids() (ids []string) {
	for _, s := range a.items {
		ids = append(ids, s.id)
	}
	return ids
}
