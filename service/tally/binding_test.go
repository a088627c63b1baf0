package tally_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// TestRequestOnTheWire pins verb, path, query and body of requests whose binding has something to get wrong.
func TestRequestOnTheWire(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 5_000_000, time.UTC))
	parent := "fld2"
	tests := []struct {
		name                          string
		req, resp                     proto.Message
		answer                        string
		wantLine, wantQuery, wantBody string
	}{
		{
			name: "path variable", req: &tallydv1.GetFormRequest{FormId: "mexJoq"}, resp: &tallydv1.GetFormResponse{},
			wantLine: "GET /forms/mexJoq",
		},
		{
			name: "repeated query key and page", req: &tallydv1.ListFormsRequest{WorkspaceIds: []string{"a", "b"}, PageSize: 9000},
			resp: &tallydv1.ListFormsResponse{}, answer: `{"items":[],"hasMore":false}`,
			wantLine: "GET /forms", wantQuery: "limit=500&page=1&workspaceIds=a&workspaceIds=b",
		},
		{
			name: "no limit where the route knows none", req: &tallydv1.ListWorkspacesRequest{PageSize: 5},
			resp: &tallydv1.ListWorkspacesResponse{}, answer: `{"items":[],"hasMore":false}`,
			wantLine: "GET /workspaces", wantQuery: "page=1",
		},
		{
			name: "nothing of paging where all comes at once", req: &tallydv1.ListFoldersRequest{WorkspaceId: "w1", PageSize: 5},
			resp: &tallydv1.ListFoldersResponse{}, answer: `[]`, wantLine: "GET /workspaces/w1/folders",
		},
		{
			name: "unspecified filter means completed", req: &tallydv1.ListSubmissionsRequest{FormId: "f1", StartTime: at},
			resp: &tallydv1.ListSubmissionsResponse{}, answer: `{"submissions":[],"hasMore":false}`,
			wantLine: "GET /forms/f1/submissions", wantQuery: "filter=completed&page=1&startDate=2026-03-01T12%3A00%3A00.005Z",
		},
		{
			name: "two path variables", req: &tallydv1.RetryWebhookEventRequest{WebhookId: "w1", EventId: "e1"},
			resp: &tallydv1.RetryWebhookEventResponse{}, wantLine: "POST /webhooks/w1/events/e1",
		},
		{
			name: "enum in the query", req: &tallydv1.GetMetricsRequest{FormId: "f1", Period: tallydv1.AnalyticsPeriod_ANALYTICS_PERIOD_LAST_24_HOURS},
			resp: &tallydv1.GetMetricsResponse{}, wantLine: "GET /forms/f1/analytics/metrics", wantQuery: "period=24h",
		},
		{
			name: "required list travels empty", req: &tallydv1.CreateFormRequest{Status: tallydv1.FormStatus_FORM_STATUS_DRAFT},
			resp: &tallydv1.CreateFormResponse{}, wantLine: "POST /forms", wantBody: `{"status":"DRAFT","blocks":[]}`,
		},
		{
			name: "renamed field", req: &tallydv1.CreateFolderRequest{WorkspaceId: "w1", Name: "n", ParentFolderId: &parent},
			resp: &tallydv1.CreateFolderResponse{}, wantLine: "POST /workspaces/w1/folders", wantBody: `{"name":"n","parentId":"fld2"}`,
		},
		{
			name: "joined list", req: &tallydv1.CreateInvitesRequest{OrganizationId: "o", WorkspaceIds: []string{"w"}, Emails: []string{"a@example.com", "b@example.com"}},
			resp: &tallydv1.CreateInvitesResponse{}, wantLine: "POST /organizations/o/invites",
			wantBody: `{"workspaceIds":["w"],"emails":"a@example.com, b@example.com"}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var line, query, body string
			client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				line, query, body = r.Method+" "+r.URL.EscapedPath(), r.URL.RawQuery, string(data)
				if test.answer == "" {
					test.answer = `{"id":"x"}`
				}
				_, _ = io.WriteString(w, test.answer)
			})
			if err := client.Call(t.Context(), test.req, test.resp); err != nil {
				t.Fatal(err)
			}
			want, got := []string{test.wantLine, test.wantQuery, test.wantBody}, []string{line, query, body}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// hostile are ids that would change the path, were they let through.
var hostile = []string{
	"", "../me", "..", ".", "%2e%2e", "a/b", `a\b`, "?x=", "#", "a\r\nHost: x", "a\x00", "a b", "é", "．．", strings.Repeat("a", 10<<10),
}

func TestHostileIDsNeverLeave(t *testing.T) {
	for _, id := range hostile {
		client := upstream(t, func(http.ResponseWriter, *http.Request) { t.Errorf("a request left for id %.20q", id) })
		err := client.Call(t.Context(), &tallydv1.GetFormRequest{FormId: id}, &tallydv1.GetFormResponse{})
		failure, ok := errors.AsType[*tally.Error](err)
		if !ok || failure.Kind != tally.KindInvalid || failure.Outcome != tally.OutcomeNotSent {
			t.Errorf("Call(id %.20q) = %v, want KindInvalid", id, err)
		}
	}
}

// FuzzPath covers row 65: it demands that whatever id is let through arrives as exactly one segment of the path.
func FuzzPath(f *testing.F) {
	for _, id := range append(hostile, "mexJoq", "q_abc-1") {
		f.Add(id)
	}
	var path string
	client := upstream(f, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		_, _ = io.WriteString(w, `{"id":"x"}`)
	})
	f.Fuzz(func(t *testing.T, id string) {
		path = ""
		if client.Call(t.Context(), &tallydv1.GetFormRequest{FormId: id}, &tallydv1.GetFormResponse{}) != nil {
			return
		}
		if rest, ok := strings.CutPrefix(path, "/forms/"); !ok || rest != id || strings.ContainsAny(rest, "/?#%.") {
			t.Errorf("id %q travelled as %q", id, path)
		}
	})
}

// TestHeaders pins the allow-list: nothing else leaves, whatever the context carries.
func TestHeaders(t *testing.T) {
	var got http.Header
	client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		_, _ = io.WriteString(w, `{"id":"x"}`)
	})
	req := &tallydv1.CreateWorkspaceRequest{Name: "n"}
	if err := client.Call(t.Context(), req, &tallydv1.CreateWorkspaceResponse{}); err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Authorization": {"Bearer " + testKey},
		"Content-Type": {"application/json"}, "Content-Length": {"12"}, "Tally-Version": {"2025-02-01"}, "User-Agent": {"tallyd/test"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestUpdateMask(t *testing.T) {
	name, lang, closed := "New", "fr", true
	req := func(paths string, change func(*tallydv1.UpdateFormRequest)) *tallydv1.UpdateFormRequest {
		r := &tallydv1.UpdateFormRequest{FormId: "f1"}
		if paths != "" {
			r.UpdateMask = mask(strings.Split(paths, ",")...)
		}
		if change != nil {
			change(r)
		}
		return r
	}
	read := `{"language":"de","isClosed":false,"password":"p","metaTitle":"M","big":12345678901234567890}`
	tests := []struct {
		name      string
		req       *tallydv1.UpdateFormRequest
		before    string
		wantBody  string
		wantField string // of the violation, when refused
	}{
		{
			name: "no mask sends what is set", req: req("", func(r *tallydv1.UpdateFormRequest) { r.Name = &name }),
			wantBody: `{"name":"New"}`,
		},
		{
			name: "mask hides what it does not name",
			req: req("name", func(r *tallydv1.UpdateFormRequest) {
				r.Name = &name
				r.Blocks = []*tallydv1.Block{{Uuid: "u"}}
			}), wantBody: `{"name":"New"}`,
		},
		{name: "empty list", req: req("blocks", nil), wantBody: `{"blocks":[]}`},
		{
			name: "one setting keeps the others as they were read", before: read,
			req: req("settings.language", func(r *tallydv1.UpdateFormRequest) {
				r.Settings = &tallydv1.FormSettings{Language: &lang, IsClosed: &closed}
			}), wantBody: `{"settings":{"language":"fr","isClosed":false,"password":"p","metaTitle":"M","big":12345678901234567890}}`,
		},
		{
			name: "unset and nullable becomes null", before: `{"closeDate":"2026-01-01","isClosed":true}`, req: req("settings.close_date", nil),
			wantBody: `{"settings":{"closeDate":null,"isClosed":true}}`,
		},
		{name: "unset and not nullable", req: req("settings.is_closed", nil), wantField: "settings.is_closed"},
		{name: "unset scalar", req: req("name", nil), wantField: "name"},
		{name: "unknown path", req: req("nom", nil), wantField: "update_mask"},
		{name: "path into a struct", req: req("settings.styles.theme", nil), wantField: "update_mask"},
		{name: "path into a list", req: req("blocks.uuid", nil), wantField: "update_mask"},
		{name: "path of the route", req: req("form_id", nil), wantField: "update_mask"},
		{name: "the mask itself", req: req("update_mask", nil), wantField: "update_mask"},
		{name: "whole settings, not set", req: req("settings", nil), wantField: "settings"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var body string
			client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				body = string(data)
				_, _ = io.WriteString(w, `{"id":"f1"}`)
			})
			err := client.Call(t.Context(), test.req, &tallydv1.UpdateFormResponse{}, tally.WithPart("settings", []byte(test.before)))
			if test.wantField != "" {
				failure, ok := errors.AsType[*tally.Error](err)
				if !ok || failure.Kind != tally.KindInvalid || failure.Violations[0].Field != test.wantField {
					t.Fatalf("Call() = %v, want a violation of %s", err, test.wantField)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(exact(t, test.wantBody), exact(t, body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWholeSettings names all settings: what may be null becomes null, flags and unknown keys stay.
func TestWholeSettings(t *testing.T) {
	lang := "fr"
	var body string
	client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		body = string(data)
		_, _ = io.WriteString(w, `{"id":"f1"}`)
	})
	req := &tallydv1.UpdateFormRequest{
		FormId: "f1", Settings: &tallydv1.FormSettings{Language: &lang}, UpdateMask: mask("settings"),
	}
	before := []byte(`{"language":"de","isClosed":true,"password":"p","metaTitle":"M"}`)
	if err := client.Call(t.Context(), req, &tallydv1.UpdateFormResponse{}, tally.WithPart("settings", before)); err != nil {
		t.Fatal(err)
	}
	sent, _ := parsed(t, body).(map[string]any)["settings"].(map[string]any)
	got := []any{sent["language"], sent["isClosed"], sent["password"], sent["metaTitle"], len(sent) > 20}
	if diff := cmp.Diff([]any{"fr", true, nil, "M", true}, got); diff != "" {
		t.Errorf("language, isClosed, password, metaTitle, all nullable keys (-want +got):\n%s", diff)
	}
}

// TestRefusedSettings plays a Tally that refuses to take back keys that it answered with, and names one at a time. What the caller
// set itself is the caller's to change.
func TestRefusedSettings(t *testing.T) {
	other := func(keys ...string) *structpb.Struct {
		s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for _, key := range keys {
			s.Fields[key] = structpb.NewBoolValue(true)
		}
		return s
	}
	lang := "fr"
	tests := []struct {
		name         string
		settings     *tallydv1.FormSettings
		mask         []string
		refused      []string
		wantField    string
		wantRequests int
	}{
		{name: "two of Tally's own", settings: &tallydv1.FormSettings{Language: &lang}, mask: []string{"settings.language"}, refused: []string{"foo", "bar"}, wantRequests: 3},
		{name: "caller's unknown key", settings: &tallydv1.FormSettings{Other: other("mine")}, refused: []string{"mine"}, wantField: "settings.other.mine", wantRequests: 1},
		{name: "caller's after Tally's", settings: &tallydv1.FormSettings{Other: other("mine")}, refused: []string{"foo", "mine"}, wantField: "settings.other.mine", wantRequests: 2},
		{name: "caller's typed key", settings: &tallydv1.FormSettings{Language: &lang}, refused: []string{"language"}, wantField: "settings.language", wantRequests: 1},
		{name: "null by the mask", settings: &tallydv1.FormSettings{}, mask: []string{"settings.password"}, refused: []string{"password"}, wantField: "settings.password", wantRequests: 1},
		{name: "more than anybody waits for", settings: &tallydv1.FormSettings{Language: &lang}, refused: []string{"a", "b", "c", "d", "e", "f", "g"}, wantField: "-", wantRequests: 6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests := 0
			client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				data, _ := io.ReadAll(r.Body)
				sent, _ := parsed(t, string(data)).(map[string]any)["settings"].(map[string]any)
				for _, key := range test.refused {
					if _, there := sent[key]; there {
						answers(400, `{"errors":[{"message":"\"settings.`+key+`\" is not allowed","field":"settings","type":"object.unknown"}]}`)(w, r)
						return
					}
				}
				answers(200, `{"id":"f1"}`)(w, r)
			})
			req := &tallydv1.UpdateFormRequest{FormId: "f1", Settings: test.settings}
			if test.mask != nil {
				req.UpdateMask = mask(test.mask...)
			}
			before := []byte(`{"language":"de","foo":1,"bar":2,"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"password":"p"}`)
			err := client.Call(t.Context(), req, &tallydv1.UpdateFormResponse{}, tally.WithPart("settings", before))
			failure, failed := errors.AsType[*tally.Error](err)
			if failed != (test.wantField != "") {
				t.Fatalf("Call() = %v, want an error: %v", err, test.wantField != "")
			}
			if want := strings.TrimPrefix(test.wantField, "-"); failed && failure.Violations[0].Field != want {
				t.Errorf("Call() blames %q, want %q", failure.Violations[0].Field, want)
			}
			if requests != test.wantRequests {
				t.Errorf("Tally saw %d requests, want %d", requests, test.wantRequests)
			}
		})
	}
}

// TestRefusedSettingIsDroppedOnce plays a Tally that answers with a key and then refuses to take it back.
func TestRefusedSettingIsDroppedOnce(t *testing.T) {
	lang := "fr"
	var bodies []string
	drift := map[string]int{}
	client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(data))
		if strings.Contains(string(data), "metaTitle") {
			answers(400, `{"message":"\"settings.metaTitle\" is not allowed","errorType":"VALIDATION",
				"errors":[{"message":"\"settings.metaTitle\" is not allowed","field":"settings","type":"object.unknown"}]}`)(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"id":"f1"}`)
	}, func(c *tally.Config) { c.Drift = func(path, kind string) { drift[path+" "+kind]++ } })
	req := &tallydv1.UpdateFormRequest{
		FormId: "f1", Settings: &tallydv1.FormSettings{Language: &lang}, UpdateMask: mask("settings.language"),
	}
	before := []byte(`{"language":"de","metaTitle":null,"isClosed":true}`)
	if err := client.Call(t.Context(), req, &tallydv1.UpdateFormResponse{}, tally.WithPart("settings", before)); err != nil {
		t.Fatal(err)
	}
	want := []any{
		parsed(t, `{"settings":{"language":"fr","metaTitle":null,"isClosed":true}}`), parsed(t, `{"settings":{"language":"fr","isClosed":true}}`),
	}
	if len(bodies) != 2 || !cmp.Equal(want, []any{parsed(t, bodies[0]), parsed(t, bodies[1])}) {
		t.Errorf("bodies = %q, want the second without the refused key alone", bodies)
	}
	if drift["tallyd.v1.UpdateFormRequest.settings.metaTitle refused_key"] != 1 {
		t.Errorf("drift = %v, want the refused key once", drift)
	}
}
