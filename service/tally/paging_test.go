package tally_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// listing is a pretend list of submissions, newest first, that pages as Tally does.
type listing struct {
	ids      []string
	requests int
	after    func(l *listing) // runs after each request
}

func (l *listing) serve(w http.ResponseWriter, r *http.Request) {
	l.requests++
	query := r.URL.Query()
	page, _ := strconv.Atoi(query.Get("page"))
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil {
		limit = 50
	}
	ids := l.ids
	// An id's number is the second in which it was sent off.
	if end := query.Get("endDate"); end != "" {
		var kept []string
		for _, id := range ids {
			if at(id) <= end {
				kept = append(kept, id)
			}
		}
		ids = kept
	}
	from, to := min((page-1)*limit, len(ids)), min(page*limit, len(ids))
	var items []string
	for _, id := range ids[from:to] {
		items = append(items, fmt.Sprintf(`{"id":%q,"submittedAt":%q}`, id, at(id)))
	}
	_, _ = fmt.Fprintf(w, `{"page":%d,"limit":%d,"hasMore":%t,"submissions":[%s],"questions":[]}`, page, limit, to < len(ids), strings.Join(items, ","))
	if l.after != nil {
		l.after(l)
	}
}

func at(id string) string {
	n, _ := strconv.Atoi(id[1:])
	return fmt.Sprintf("2026-01-01T00:%02d:%02d.000Z", n/60, n%60)
}

// numbered returns the ids from n down to 1, newest first.
func numbered(n int) []string {
	var ids []string
	for i := n; i > 0; i-- {
		ids = append(ids, "s"+strconv.Itoa(i))
	}
	return ids
}

// readAll pages to the end and returns the ids in the order of their pages.
func readAll(t *testing.T, client *tally.Client, size int32) ([]string, error) {
	t.Helper()
	var ids []string
	req := &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: size}
	for range 1000 {
		resp := &tallydv1.ListSubmissionsResponse{}
		if err := client.Call(t.Context(), req, resp); err != nil {
			return ids, err
		}
		for _, s := range resp.GetSubmissions() {
			ids = append(ids, s.GetId())
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return ids, nil
		}
	}
	t.Fatal("the list does not end")
	return nil, nil
}

// TestPageDrift covers row 38: the list grows at its head while a caller pages; each submission that was there comes once.
func TestPageDrift(t *testing.T) {
	for _, growth := range []int{0, 1, 7, 10, 25} {
		t.Run(strconv.Itoa(growth), func(t *testing.T) {
			list := &listing{ids: numbered(100)}
			next := 100
			list.after = func(l *listing) {
				for range growth {
					next++
					l.ids = append([]string{"s" + strconv.Itoa(next)}, l.ids...)
				}
			}
			got, err := readAll(t, upstream(t, list.serve), 10)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(numbered(100), got); diff != "" {
				t.Errorf("submissions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSmallAnswersStayWhole cuts pages that would be too large, without losing or repeating any item.
func TestSmallAnswersStayWhole(t *testing.T) {
	list := &listing{ids: numbered(100)}
	client := upstream(t, list.serve, func(c *tally.Config) { c.Limits.Answer = 200 })
	got, err := readAll(t, client, 50)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbered(100), got); diff != "" {
		t.Errorf("submissions (-want +got):\n%s", diff)
	}
	_, err = readAll(t, upstream(t, list.serve, func(c *tally.Config) { c.Limits.Answer = 10 }), 50)
	if failure, ok := errors.AsType[*tally.Error](err); !ok || failure.Kind != tally.KindItemTooLarge || failure.Limit != 10 {
		t.Errorf("Call() = %v, want KindItemTooLarge", err)
	}
}

// TestEndlessLists covers row 39: a list that repeats itself ends in an error after a bounded number of requests.
func TestEndlessLists(t *testing.T) {
	tests := []struct {
		name, body   string
		wantRequests int
	}{
		{"the same page again", `{"page":1,"limit":2,"hasMore":true,"submissions":[{"id":"a"},{"id":"b"}]}`, 2},
		{"empty and more", `{"page":1,"limit":2,"hasMore":true,"submissions":[]}`, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests := 0
			client := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				_, _ = io.WriteString(w, test.body)
			})
			_, err := readAll(t, client, 2)
			checkFault(t, err, tally.KindProtocol, tally.OutcomeUnknown)
			if requests != test.wantRequests {
				t.Errorf("%d requests, want %d", requests, test.wantRequests)
			}
		})
	}
}

// TestWrongEnvelope covers row 24: what is no list is an error, never an empty list.
func TestWrongEnvelope(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"hasMore":false}`, `{"data":[],"hasMore":false}`, `{"submissions":null,"hasMore":false}`, `{"submissions":{},"hasMore":false}`,
		`{"submissions":[]}`, `{"submissions":[],"hasMore":"no"}`, `null`, `"x"`, ``,
	} {
		client := upstream(t, answers(200, body))
		err := client.Call(t.Context(), &tallydv1.ListSubmissionsRequest{FormId: "f1"}, &tallydv1.ListSubmissionsResponse{})
		if err == nil {
			t.Errorf("Call() = nil for %q, want an error", body)
			continue
		}
		checkFault(t, err, tally.KindProtocol, tally.OutcomeUnknown)
	}
}

// TestSlicedLists pages lists that Tally sends at once.
func TestSlicedLists(t *testing.T) {
	client := upstream(t, answers(200, `[{"id":"a"},{"id":"b"},{"id":"c"}]`))
	var got [][]string
	req := &tallydv1.ListFoldersRequest{WorkspaceId: "w1", PageSize: 2}
	for {
		resp := &tallydv1.ListFoldersResponse{}
		if err := client.Call(t.Context(), req, resp); err != nil {
			t.Fatal(err)
		}
		var page []string
		for _, folder := range resp.GetFolders() {
			page = append(page, folder.GetId())
		}
		got = append(got, page)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if diff := cmp.Diff([][]string{{"a", "b"}, {"c"}}, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

// token returns the token behind the first page of a request.
func token(t testing.TB, client *tally.Client, req *tallydv1.ListSubmissionsRequest) string {
	t.Helper()
	resp := &tallydv1.ListSubmissionsResponse{}
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	return resp.GetNextPageToken()
}

func TestForeignPageTokens(t *testing.T) {
	list := &listing{ids: numbered(10)}
	client := upstream(t, list.serve)
	good := token(t, client, &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 2})
	tests := []struct {
		name string
		req  *tallydv1.ListSubmissionsRequest
		want bool
	}{
		{"its own", &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 2, PageToken: good}, true},
		{"another size", &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 1, PageToken: good}, true},
		{"another form", &tallydv1.ListSubmissionsRequest{FormId: "f2", PageSize: 2, PageToken: good}, false},
		{"another filter", &tallydv1.ListSubmissionsRequest{FormId: "f1", Filter: 1, PageToken: good}, false},
		{"cut", &tallydv1.ListSubmissionsRequest{FormId: "f1", PageToken: good[:len(good)-2]}, false},
		{"no token at all", &tallydv1.ListSubmissionsRequest{FormId: "f1", PageToken: "page two"}, false},
	}
	for _, test := range tests {
		before := list.requests
		err := client.Call(t.Context(), test.req, &tallydv1.ListSubmissionsResponse{})
		if (err == nil) != test.want {
			t.Errorf("%s: Call() = %v, want success %t", test.name, err, test.want)
		}
		if err != nil {
			checkFault(t, err, tally.KindPageToken, tally.OutcomeNotSent)
			if list.requests != before {
				t.Errorf("%s: a request left", test.name)
			}
		}
	}
}

// FuzzPageToken demands that no token makes the client panic or send what Tally would not understand.
func FuzzPageToken(f *testing.F) {
	list := &listing{ids: numbered(10)}
	client := upstream(f, list.serve)
	f.Add(token(f, client, &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 2}))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		req := &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 2, PageToken: token}
		err := client.Call(t.Context(), req, &tallydv1.ListSubmissionsResponse{})
		if failure, ok := errors.AsType[*tally.Error](err); ok && failure.Kind != tally.KindPageToken && failure.Kind != tally.KindProtocol {
			t.Errorf("Call(%q) = %v, want success or a bad token", token, err)
		}
	})
}

// FuzzErrorBody demands that whatever Tally says with an error, what a caller may read is short, printable and free of the key.
func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{
		`{"message":"\"blocks[1].type\" must be one of [A]","errorType":"VALIDATION","errors":[{"message":"\"blocks[1].type\" x","field":"blocks","type":"any.only"}]}`,
		`{"errors":[{"msg":"m","errorType":"t"}]}`, "Unauthorized", "<html>", `{"message":"` + testKey + `"}`, `{"errors":[null]}`, `{"message":{}}`,
	} {
		f.Add(400, body)
	}
	var status int
	var body string
	client := upstream(f, func(w http.ResponseWriter, r *http.Request) { answers(status, body)(w, r) })
	f.Fuzz(func(t *testing.T, s int, b string) {
		if s < 400 || s > 599 {
			s = 400
		}
		status, body = s, b
		req, resp := write()
		failure, ok := errors.AsType[*tally.Error](client.Call(t.Context(), req, resp))
		if !ok {
			t.Fatalf("status %d is no error", s)
		}
		texts := []string{failure.Message}
		for _, v := range failure.Violations {
			texts = append(texts, v.Key, v.Code, v.Description)
		}
		for _, text := range texts {
			if len([]rune(text)) > 200 || strings.ContainsAny(text, "\x00\n\r\x1b") || strings.Contains(text, testKey) {
				t.Errorf("an error says %q", text)
			}
		}
	})
}
