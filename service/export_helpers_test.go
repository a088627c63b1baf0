package service_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
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
	strict   bool // hides behind an end what has no time
	noEnd    bool // says at the end that there is more
	most     int  // items of a page at most, whatever is asked for; 0 for as many as asked for
	shuffle  bool // those of an instant come in another order each time
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
	if a.most > 0 {
		limit = min(limit, a.most)
	}
	page, _ := strconv.Atoi(query.Get("page"))
	items := a.items
	if a.shuffle {
		items = slices.Clone(items)
		rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		slices.SortStableFunc(items, func(a, b submitted) int { return cmp.Compare(b.at, a.at) })
	}
	if end, err := time.Parse(time.RFC3339, query.Get("endDate")); err == nil {
		if a.coarse {
			end = end.Truncate(24 * time.Hour).Add(24*time.Hour - time.Millisecond)
		}
		items = slices.DeleteFunc(slices.Clone(items), func(s submitted) bool { return s.at > end.UnixMilli() || a.strict && s.at == 0 })
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

// exported is what an export brought.
type exported struct {
	ids      []string
	tokens   []string // after each submission
	first    *tallydv1.ExportSubmissionsResponse
	last     *tallydv1.ExportSubmissionsResponse
	messages int
	hidden   int // answers that the policy hid
}

// export receives a stream to its end, or until enough submissions came.
func export(ctx context.Context, t testing.TB, w *world, req *tallydv1.ExportSubmissionsRequest, enough int) (exported, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := tallydv1.NewSubmissionServiceClient(w.conn).ExportSubmissions(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	var got exported
	for enough <= 0 || len(got.ids) < enough {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if got.messages++; got.first == nil {
			got.first = message
		}
		got.last = message
		if message.GetSubmission() != nil {
			got.ids = append(got.ids, message.GetSubmission().GetId())
			got.hidden += int(message.GetSubmission().GetHiddenResponseCount())
			got.tokens = append(got.tokens, message.GetResumeToken())
		}
	}
	return got, nil
}

// difference names the first place where two lists part.
func difference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			return fmt.Sprintf("want %d; they part at %d: want %q, got %q", len(want), i, want[i:min(i+3, len(want))], got[i:min(i+3, len(got))])
		}
	}
	return "as many as it should, in order"
}
