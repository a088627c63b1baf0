package service_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// restless is an archive that changes before pages and breaks, and knows what an export of it owes.
type restless struct {
	*archive

	breaks *rand.Rand // of the test alone
	random *rand.Rand // the others hold under the archive's lock: a stream that broke may still ask
	gone   map[string]bool
	came   int
}

// change lets some arrive and deletes some, of those handed out as of the others. The caller holds the lock.
func (r *restless) change() {
	for range r.random.IntN(4) {
		r.came++
		r.items = slices.Insert(r.items, 0, submitted{fmt.Sprintf("new%d", r.came), r.items[0].at + r.random.Int64N(3) + 1})
	}
	for range r.random.IntN(3) {
		if len(r.items) > 1 {
			at := r.random.IntN(len(r.items))
			r.gone[r.items[at].id] = true
			r.items = slices.Delete(r.items, at, at+1)
		}
	}
}

// TestExportWhateverHappens exports archives of all shapes, that change all the time, over streams that break anywhere: what was there
// at the beginning and still is comes once, nothing else comes that arrived since, and nothing comes twice.
func TestExportWhateverHappens(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1)) // a failure comes again with its seed
		r := &restless{archive: newArchive(20+random.IntN(60), 1), random: random, gone: map[string]bool{}}
		r.breaks = rand.New(rand.NewPCG(seed, 2))
		at := r.items[0].at
		for i := range r.items { // up to five at an instant, fewer than a page holds
			r.items[i].at = at - int64(i)/int64(1+seed%5)*1000
		}
		r.most, r.shuffle = 7+random.IntN(9), seed%3 == 0
		r.between = func(_ *archive, page int) {
			if page > 1 {
				r.change()
			}
		}
		want := r.ids()
		got := r.exportInParts(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		seen := map[string]int{}
		for _, id := range got {
			if seen[id]++; seen[id] > 1 {
				t.Fatalf("seed %d: %s came twice", seed, id)
			}
			if !slices.Contains(want, id) {
				t.Fatalf("seed %d: %s came, which arrived later", seed, id)
			}
		}
		r.mu.Lock()
		for _, id := range want {
			if seen[id] == 0 && !r.gone[id] {
				t.Errorf("seed %d: %s is missing", seed, id)
			}
		}
		r.mu.Unlock()
	}
}

// exportInParts breaks the stream after a few submissions, again and again, and changes the archive before it goes on.
func (r *restless) exportInParts(t *testing.T) (ids []string) {
	t.Helper()
	w := newWorldOf(t, r.serve)
	req := &tallydv1.ExportSubmissionsRequest{FormId: "f1"}
	for range 200 {
		part, err := export(t.Context(), t, w, req, 1+r.breaks.IntN(12))
		if err != nil {
			t.Errorf("ExportSubmissions() = %v, want nil", err)
			return ids
		}
		ids = append(ids, part.ids...)
		if part.last.GetSubmission() == nil {
			return ids
		}
		req.ResumeToken = part.last.GetResumeToken()
		r.mu.Lock()
		r.change()
		r.mu.Unlock()
	}
	t.Error("the export has no end")
	return ids
}

// TestExportResumesInsideAnInstant deletes, of many at one instant, what was handed out last; and shows the rest in another order.
func TestExportResumesInsideAnInstant(t *testing.T) {
	tests := []struct {
		name             string
		size, at, delete int
		shuffle          bool
		wantReason       string
	}{
		{name: "the last", size: 1300, at: 700, delete: 1},
		{name: "the last on the first page", size: 1300, at: 300, delete: 1},
		{name: "the last three of five", size: 1000, at: 5, delete: 3},
		{name: "another order", size: 300, at: 12, shuffle: true},
		{name: "more than the token names", size: 5000, at: 700, delete: 16, wantReason: "RESUME_TOKEN_INVALID"},
		{name: "more than the token names, of all that there is", size: 400, at: 300, delete: 16, wantReason: "RESUME_TOKEN_INVALID"},
		{name: "more than the token names, on the first page", size: 5000, at: 300, delete: 16, wantReason: "RESUME_TOKEN_INVALID"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newArchive(test.size, 1200)
			want := a.ids()
			a.shuffle = test.shuffle
			w := newWorldOf(t, a.serve)
			part, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, test.at)
			if err != nil {
				t.Fatal(err)
			}
			a.mu.Lock()
			a.items = slices.Delete(a.items, test.at-test.delete, test.at)
			before := a.requests
			a.mu.Unlock()
			rest, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: part.tokens[test.at-1]}, 0)
			if test.wantReason != "" {
				a.mu.Lock()
				defer a.mu.Unlock()
				if reasonOf(err) != test.wantReason || len(rest.ids) != 0 || a.requests-before > 4 { // one or two of them of the stream that broke
					t.Errorf("ExportSubmissions() = %d submissions after %d pages, %v, want none and %s at once",
						len(rest.ids), a.requests-before, err, test.wantReason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Concat(part.ids, rest.ids)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%d came, %s", len(got), difference(want, got))
			}
		})
	}
}

// TestExportSeesDisorder across a submission without a time.
func TestExportSeesDisorder(t *testing.T) {
	a := newArchive(20, 1)
	a.items[10].at, a.items[11].at = 0, a.items[3].at
	_, err := export(t.Context(), t, newWorldOf(t, a.serve), &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
	if status.Code(err) != codes.Internal || reasonOf(err) != "TALLY_PROTOCOL" {
		t.Errorf("ExportSubmissions() = %v, want Internal TALLY_PROTOCOL", err)
	}
}

// TestExportEndsWhenAsked holds that an end is an end, also at the time that Timestamp{} stands for.
func TestExportEndsWhenAsked(t *testing.T) {
	a := newArchive(20, 1)
	for name, end := range map[string]*timestamppb.Timestamp{
		"in the middle": timestamppb.New(time.UnixMilli(a.items[5].at)), "1970": {},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, s := range a.items {
				if s.at <= end.AsTime().UnixMilli() {
					want = append(want, s.id)
				}
			}
			got, err := export(t.Context(), t, newWorldOf(t, a.serve), &tallydv1.ExportSubmissionsRequest{FormId: "f1", EndTime: end}, 0)
			if err != nil || !slices.Equal(got.ids, want) {
				t.Errorf("ExportSubmissions() = %v, %s", err, difference(want, got.ids))
			}
		})
	}
}

// TestExportThatEndedHasNoMore takes up an export behind its last message.
func TestExportThatEndedHasNoMore(t *testing.T) {
	untimed := newArchive(1300, 1)
	for i := range untimed.items {
		untimed.items[i].at = 0
	}
	for name, a := range map[string]*archive{
		"none": newArchive(0, 1), "each at its time": newArchive(1300, 1), "all at an instant": newArchive(1700, 1700), "without times": untimed,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOf(t, a.serve)
			whole, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			req := &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: whole.last.GetResumeToken()}
			again, err := export(t.Context(), t, w, req, 0)
			if err != nil || len(again.ids) != 0 || again.last.GetProgress().GetDoneCount() != int64(len(a.items)) {
				t.Errorf("ExportSubmissions() = %d submissions and %v, %v, want none and the last progress", len(again.ids), again.last, err)
			}
		})
	}
}

// TestResumeTokensAreSmall holds that a token is no burden beside its submission, and that a request takes the largest.
func TestResumeTokensAreSmall(t *testing.T) {
	for together, most := range map[int]int{1: 250, 1700: 4096} {
		a := newArchive(1700, together)
		for i := range a.items {
			a.items[i].id = fmt.Sprintf("%s-%s", a.items[i].id, strings.Repeat("x", 58)) // as long as an id may be
		}
		got, err := export(t.Context(), t, newWorldOf(t, a.serve), &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at, token := range got.tokens {
			if len(token) > most {
				t.Fatalf("with %d at an instant token %d has %d bytes, want at most %d", together, at, len(token), most)
			}
		}
	}
}

// TestExportSeesDisorderBetweenPages where pages are counted, since a submission has no time.
func TestExportSeesDisorderBetweenPages(t *testing.T) {
	a := newArchive(20, 1)
	a.most = 10
	a.items[5].at, a.items[10].at = 0, a.items[3].at
	_, err := export(t.Context(), t, newWorldOf(t, a.serve), &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
	if status.Code(err) != codes.Internal || reasonOf(err) != "TALLY_PROTOCOL" {
		t.Errorf("ExportSubmissions() = %v, want Internal TALLY_PROTOCOL", err)
	}
}
