package service_test

import (
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestExportIsWhole hands out each submission exactly once, in the list's order, whatever happens to the list meanwhile.
func TestExportIsWhole(t *testing.T) {
	grow := func(a *archive, page int) {
		if page == 1 {
			return
		}
		for i := range 30 {
			a.items = slices.Insert(a.items, 0, submitted{fmt.Sprintf("new%d-%d", page, i), a.items[0].at + 1000})
		}
	}
	shrink := func(a *archive, page int) {
		if page > 1 { // of what was handed out, some at the edge of a page
			a.items = slices.Delete(a.items, 100, 140)
		}
	}
	tests := []struct {
		name    string
		archive *archive
	}{
		{"none", newArchive(0, 1)},
		{"one", newArchive(1, 1)},
		{"exactly a page", newArchive(500, 1)},
		{"a page and one", newArchive(501, 1)},
		{"many pages", newArchive(2345, 1)},
		{"some at an instant", newArchive(2345, 7)},
		{"pages at an instant", newArchive(2345, 1200)},
		{"all at an instant", newArchive(1700, 1700)},
		{"an end read as its day", func() *archive { a := newArchive(2345, 1); a.coarse = true; return a }()},
		{"more pages than may bring nothing", func() *archive { a := newArchive(1600, 1); a.most = 7; return a }()},
		{"growth", func() *archive { a := newArchive(2345, 3); a.between = grow; return a }()},
		{"deletions", func() *archive { a := newArchive(2345, 3); a.between = shrink; return a }()},
		{"one without a time", func() *archive { a := newArchive(2345, 1); a.items[700].at = 0; return a }()},
		{"none with a time", func() *archive {
			a := newArchive(1300, 1)
			for i := range a.items {
				a.items[i].at = 0
			}
			return a
		}()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := test.archive.ids()
			w := newWorldOf(t, test.archive.serve)
			got, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.ids, want) {
				t.Errorf("the export has %d submissions, %s", len(got.ids), difference(want, got.ids))
			}
			if len(got.first.GetQuestions()) != 1 || got.first.GetSubmission() != nil || got.first.GetProgress().GetTotalCount() != int64(len(want)) {
				t.Errorf("the first message is %v, want the questions and the total", got.first)
			}
			if got.last.GetProgress().GetDoneCount() != int64(len(want)) || got.last.GetSubmission() != nil {
				t.Errorf("the last message is %v, want all done", got.last)
			}
		})
	}
}

// TestExportResumes breaks the stream after each of many submissions, among them those at the edge of a page and in the middle of an
// instant, and takes it up again, once as the archive is, once after growth: nothing is missing and nothing comes twice.
func TestExportResumes(t *testing.T) {
	for _, together := range []int{1, 3, 1200} {
		for _, growth := range []int{0, 40, 700} {
			t.Run(fmt.Sprintf("%d at an instant, %d more", together, growth), func(t *testing.T) {
				a := newArchive(1501, together)
				want := a.ids()
				w := newWorldOf(t, a.serve)
				whole, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
				if err != nil || !slices.Equal(whole.ids, want) {
					t.Fatalf("the whole export is not: %v", err)
				}
				for i := range growth {
					a.items = slices.Insert(a.items, 0, submitted{fmt.Sprintf("new%d", i), a.items[0].at + 1})
				}
				for _, at := range []int{0, 1, 250, 497, 498, 499, 500, 501, 700, 997, 998, 999, 1000, 1200, 1499, 1500} {
					rest, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: whole.tokens[at]}, 0)
					if err != nil {
						t.Fatal(err)
					}
					if got := append(slices.Clone(want[:at+1]), rest.ids...); !slices.Equal(got, want) {
						t.Errorf("broken after %d, %s", at+1, difference(want, got))
					}
					if done := rest.last.GetProgress().GetDoneCount(); done != int64(len(want)) {
						t.Errorf("broken after %d, %d are done in the end, want %d", at+1, done, len(want))
					}
				}
			})
		}
	}
}

// TestExportResumesWithoutTimes does the same where submissions have no time to go on from.
func TestExportResumesWithoutTimes(t *testing.T) {
	one, none := newArchive(1501, 1), newArchive(1501, 1)
	one.items[300].at = 0
	for i := range none.items {
		none.items[i].at = 0
	}
	hidden := newArchive(400, 1)
	hidden.items[300].at, hidden.strict = 0, true
	for name, a := range map[string]*archive{"one": one, "all": none, "one that an end hides": hidden} {
		t.Run(name, func(t *testing.T) {
			want := a.ids()
			w := newWorldOf(t, a.serve)
			whole, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
			if err != nil || !slices.Equal(whole.ids, want) {
				t.Fatalf("the whole export is not: %v", err)
			}
			beginning, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: whole.first.GetResumeToken()}, 0)
			if err != nil || !slices.Equal(beginning.ids, want) {
				t.Errorf("broken before the first: %v, %s", err, difference(want, beginning.ids))
			}
			for _, at := range []int{0, 299, 300, 301, 399, 499, 500, 998, 999, 1000, 1500} {
				if at >= len(want) {
					break
				}
				rest, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: whole.tokens[at]}, 0)
				if got := append(slices.Clone(want[:at+1]), rest.ids...); err != nil || !slices.Equal(got, want) {
					t.Errorf("broken after %d: %v, %s", at+1, err, difference(want, got))
				}
			}
		})
	}
}

// FuzzResumeToken holds that no token does harm: it is taken, or refused in one sentence.
func FuzzResumeToken(f *testing.F) {
	a := newArchive(20, 2)
	w := newWorldOf(f, a.serve)
	whole, err := export(f.Context(), f, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole.tokens[5])
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if !utf8.ValidString(token) {
			t.Skip("no client sends it")
		}
		_, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: token}, 0)
		if err != nil && status.Code(err) != codes.InvalidArgument && status.Code(err) != codes.Internal {
			t.Errorf("ExportSubmissions() with token %q = %v", token, err)
		}
	})
}

// TestExportResumesFromItsBeginning takes up a stream that broke before its first submission: what came since is not part of it.
func TestExportResumesFromItsBeginning(t *testing.T) {
	a := newArchive(20, 1)
	want := a.ids()
	w := newWorldOf(t, a.serve)
	whole, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.items = slices.Insert(a.items, 0, submitted{"new", a.items[0].at + 1})
	again, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: whole.first.GetResumeToken()}, 0)
	if err != nil || !slices.Equal(again.ids, want) {
		t.Errorf("the export has %q, %v, want what was there when it began", again.ids, err)
	}
}

// TestExportResumesAfterDeletions deletes what was handed out last before the stream is taken up again.
func TestExportResumesAfterDeletions(t *testing.T) {
	for _, together := range []int{1, 5} {
		a := newArchive(1000, together)
		want := a.ids()
		w := newWorldOf(t, a.serve)
		part, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 503)
		if err != nil {
			t.Fatal(err)
		}
		a.items = slices.Delete(a.items, 502, 503)
		req := &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: part.tokens[502]}
		rest, err := export(t.Context(), t, w, req, 0)
		if got := slices.Concat(part.ids, rest.ids); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d at an instant: %v, %s", together, err, difference(want, got))
		}
	}
}

// TestExportRefusesForeignTokens names the token in one sentence.
func TestExportRefusesForeignTokens(t *testing.T) {
	w := newWorldOf(t, newArchive(10, 1).serve)
	whole, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	token := whole.tokens[3]
	tests := []struct {
		name string
		req  *tallydv1.ExportSubmissionsRequest
		want string
	}{
		{"another form", &tallydv1.ExportSubmissionsRequest{FormId: "f2", ResumeToken: token}, "RESUME_TOKEN_INVALID"},
		{"another filter", &tallydv1.ExportSubmissionsRequest{FormId: "f1", Filter: 2, ResumeToken: token}, "RESUME_TOKEN_INVALID"},
		{"another range", &tallydv1.ExportSubmissionsRequest{FormId: "f1", EndTime: timestamppb.Now(), ResumeToken: token}, "RESUME_TOKEN_INVALID"},
		{"damaged", &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: token[:10] + "x" + token[11:]}, "RESUME_TOKEN_INVALID"},
		{"none", &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: "x"}, "RESUME_TOKEN_INVALID"},
		{"a form that is no id", &tallydv1.ExportSubmissionsRequest{FormId: "../me"}, "INVALID_FIELD"},
		{"no form", &tallydv1.ExportSubmissionsRequest{}, "INVALID_FIELD"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := export(t.Context(), t, w, test.req, 0)
			if status.Code(err) != codes.InvalidArgument || reasonOf(err) != test.want {
				t.Errorf("ExportSubmissions() = %v, want InvalidArgument %s", err, test.want)
			}
		})
	}
}

// TestExportNeverLosesSilently ends with an error where the list is such that something could be missed, or has no end.
func TestExportNeverLosesSilently(t *testing.T) {
	mixed := newArchive(1200, 1)
	mixed.items[700], mixed.items[701] = mixed.items[701], mixed.items[700]
	endless := newArchive(700, 1)
	endless.noEnd = true
	for name, a := range map[string]*archive{"not newest first": mixed, "without an end": endless} {
		t.Run(name, func(t *testing.T) {
			_, err := export(t.Context(), t, newWorldOf(t, a.serve), &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
			if status.Code(err) != codes.Internal || reasonOf(err) != "TALLY_PROTOCOL" {
				t.Errorf("ExportSubmissions() = %v, want Internal TALLY_PROTOCOL", err)
			}
		})
	}
}
