package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// ledger is a Tally that answers by verb and address and writes down what came.
type ledger struct {
	mu      sync.Mutex
	answers map[string]string // verb and address -> body
	seen    []string          // verb, address and body
}

func (l *ledger) serve(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	call := r.Method + " " + r.URL.RequestURI()
	l.seen = append(l.seen, strings.TrimSpace(call+" "+string(data)))
	answer, known := l.answers[call]
	if !known {
		w.WriteHeader(http.StatusNotFound)
		answer = `{"message":"nothing at ` + call + `"}`
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer)
}

func paths(of ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: of} }

// wantCalls compares what Tally saw; bodies are compared as JSON.
func wantCalls(t *testing.T, want, got []string) {
	t.Helper()
	parse := func(calls []string) []any {
		var parsed []any
		for _, call := range calls {
			at := strings.Index(call, " {")
			if at < 0 {
				parsed = append(parsed, call)
				continue
			}
			var body any
			if err := json.Unmarshal([]byte(call[at:]), &body); err != nil {
				t.Fatalf("%v in %s", err, call)
			}
			parsed = append(parsed, call[:at], body)
		}
		return parsed
	}
	if diff := cmp.Diff(parse(want), parse(got)); diff != "" {
		t.Errorf("what Tally saw (-want +got):\n%s", diff)
	}
}

const (
	formBefore = `{"id":"f1","name":"Old","status":"DRAFT","updatedAt":"2026-01-02T03:04:05.000Z",` +
		`"settings":{"language":"de","isClosed":true,"password":"p","styles":{"theme":"DARK"},"news":[1,2]}}`
	formAfter = `{"id":"f1","name":"New","status":"DRAFT","updatedAt":"2026-01-02T03:04:06.000Z"}`
)

var formTime = timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// TestUpdateForm pins what travels for each way to say what changes: what is not named is not touched, also where nobody knows
// whether Tally merges settings or replaces them.
func TestUpdateForm(t *testing.T) {
	const get = "GET /forms/f1"
	tests := []struct {
		name     string
		req      *tallydv1.UpdateFormRequest
		want     []string
		wantCode codes.Code
		wantPart string // of the message
	}{
		{
			name: "what is set", req: &tallydv1.UpdateFormRequest{Name: new("New")},
			want: []string{`PATCH /forms/f1 {"name":"New"}`},
		},
		{
			name: "what the mask names alone", req: &tallydv1.UpdateFormRequest{Name: new("New"), Status: tallydv1.FormStatus_FORM_STATUS_PUBLISHED.Enum(), UpdateMask: paths("name")},
			want: []string{`PATCH /forms/f1 {"name":"New"}`},
		},
		{
			name: "everything, as AIP-134 spells it",
			req:  &tallydv1.UpdateFormRequest{Name: new("New"), Status: tallydv1.FormStatus_FORM_STATUS_DRAFT.Enum(), UpdateMask: paths("*")},
			want: nil, wantCode: codes.InvalidArgument, wantPart: "must be set",
		},
		{
			name: "a setting", req: &tallydv1.UpdateFormRequest{Settings: &tallydv1.FormSettings{Language: new("fr")}, UpdateMask: paths("settings.language")},
			want: []string{get, `PATCH /forms/f1 {"settings":{"language":"fr","isClosed":true,"password":"p","styles":{"theme":"DARK"},"news":[1,2]}}`},
		},
		{
			name: "a setting taken back", req: &tallydv1.UpdateFormRequest{UpdateMask: paths("settings.password"), Settings: &tallydv1.FormSettings{}},
			want: []string{get, `PATCH /forms/f1 {"settings":{"language":"de","isClosed":true,"password":null,"styles":{"theme":"DARK"},"news":[1,2]}}`},
		},
		{
			name: "a setting that the contract does not know",
			req: &tallydv1.UpdateFormRequest{Settings: &tallydv1.FormSettings{Other: &structpb.Struct{
				Fields: map[string]*structpb.Value{"news": structpb.NewNumberValue(3)},
			}}},
			want: []string{get, `PATCH /forms/f1 {"settings":{"language":"de","isClosed":true,"password":"p","styles":{"theme":"DARK"},"news":3}}`},
		},
		{
			name: "expected time", req: &tallydv1.UpdateFormRequest{Name: new("New"), ExpectedUpdateTime: formTime},
			want: []string{get, `PATCH /forms/f1 {"name":"New"}`},
		},
		{
			name: "other time", req: &tallydv1.UpdateFormRequest{Name: new("New"), ExpectedUpdateTime: timestamppb.New(formTime.AsTime().Add(time.Second))},
			want: []string{get}, wantCode: codes.Aborted, wantPart: "update_time is 2026-01-02T03:04:05Z",
		},
		{
			name: "path that is none", req: &tallydv1.UpdateFormRequest{Name: new("New"), UpdateMask: paths("title")},
			wantCode: codes.InvalidArgument, wantPart: `update_mask: names "title"`,
		},
		{
			name: "path into a Struct", req: &tallydv1.UpdateFormRequest{Settings: &tallydv1.FormSettings{}, UpdateMask: paths("settings.other.news")},
			wantCode: codes.InvalidArgument, wantPart: "deeper",
		},
		{
			name: "named, unset and never null", req: &tallydv1.UpdateFormRequest{UpdateMask: paths("status")},
			wantCode: codes.InvalidArgument, wantPart: "status is named in update_mask, so it must be set",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := &ledger{answers: map[string]string{get: formBefore, "PATCH /forms/f1": formAfter}}
			w := newWorld(t, l.serve, nil)
			test.req.FormId = "f1"
			resp, err := tallydv1.NewFormServiceClient(w.conn).UpdateForm(t.Context(), test.req)
			if status.Code(err) != test.wantCode || !strings.Contains(status.Convert(err).Message(), test.wantPart) {
				t.Errorf("UpdateForm() = %v, want %v with %q", err, test.wantCode, test.wantPart)
			}
			if err == nil && resp.GetForm().GetName() != "New" {
				t.Errorf("UpdateForm() = %v, want Tally's answer", resp)
			}
			wantCalls(t, test.want, l.seen)
		})
	}
}

// webhookList is a page of Tally's list of webhooks.
func webhookList(more bool, webhooks ...string) string {
	return fmt.Sprintf(`{"webhooks":[%s],"page":1,"limit":100,"hasMore":%t,"totalCount":3}`, strings.Join(webhooks, ","), more)
}

func webhookJSON(id string) string {
	return `{"id":"` + id + `","formId":"f1","url":"https://` + id + `.example.com","eventTypes":["FORM_RESPONSE"],"isEnabled":true,` +
		`"signingSecret":"s3","httpHeaders":[{"name":"X-A","value":"1"}],"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-02T03:04:05.000Z"}`
}

// TestUpdateWebhook pins the search through the list and what travels: Tally replaces all that a webhook has, so all of it is sent back.
func TestUpdateWebhook(t *testing.T) {
	const first, second = "GET /webhooks?limit=100&page=1", "GET /webhooks?limit=100&page=2"
	whole := func(change string) string {
		return `PATCH /webhooks/w2 {"formId":"f1","url":"https://w2.example.com","eventTypes":["FORM_RESPONSE"],"isEnabled":true,` +
			`"signingSecret":"s3","httpHeaders":[{"name":"X-A","value":"1"}]` + change + `}`
	}
	tests := []struct {
		name     string
		req      *tallydv1.UpdateWebhookRequest
		want     []string
		wantCode codes.Code
		wantPart string
	}{
		{
			name: "found on the second page", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w2", IsEnabled: new(false)},
			want: []string{first, second, strings.Replace(whole(""), `"isEnabled":true`, `"isEnabled":false`, 1)},
		},
		{
			name: "secret and headers taken away", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w2", UpdateMask: paths("signing_secret", "http_headers")},
			want: []string{first, second, strings.Replace(strings.Replace(whole(""), `"s3"`, `null`, 1), `[{"name":"X-A","value":"1"}]`, `null`, 1)},
		},
		{
			name: "what the mask names alone", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w2", Url: new("https://new.example.com"), IsEnabled: new(false), UpdateMask: paths("url")},
			want: []string{first, second, strings.Replace(whole(""), "https://w2.example.com", "https://new.example.com", 1)},
		},
		{
			name: "everything, as AIP-134 spells it",
			req: &tallydv1.UpdateWebhookRequest{
				WebhookId: "w2", FormId: new("f2"), Url: new("https://new.example.com"), IsEnabled: new(false), UpdateMask: paths("*"),
				EventTypes: []tallydv1.WebhookEventType{tallydv1.WebhookEventType_WEBHOOK_EVENT_TYPE_FORM_RESPONSE},
			},
			want: []string{first, second, `PATCH /webhooks/w2 {"formId":"f2","url":"https://new.example.com","eventTypes":["FORM_RESPONSE"],` +
				`"isEnabled":false,"signingSecret":null,"httpHeaders":null}`},
		},
		{
			name: "header with an empty value stays whole", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w4", IsEnabled: new(false)},
			want: []string{first, second, `PATCH /webhooks/w4 {"formId":"f1","url":"https://w4.example.com","eventTypes":["FORM_RESPONSE"],"isEnabled":false,` +
				`"signingSecret":"s3","httpHeaders":[{"name":"X-A","value":""}]}`},
		},
		{
			name: "type of event that is new", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w5", IsEnabled: new(false)},
			want: []string{first, second}, wantCode: codes.InvalidArgument, wantPart: "event_types: holds a type that this version does not know",
		},
		{
			name: "not there", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w9", IsEnabled: new(false)},
			want: []string{first, second}, wantCode: codes.NotFound, wantPart: "Tally's list holds no such resource",
		},
		{
			name: "other time", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w1", IsEnabled: new(false), ExpectedUpdateTime: timestamppb.New(formTime.AsTime().Add(time.Hour))},
			want: []string{first}, wantCode: codes.Aborted, wantPart: "update_time is",
		},
		{
			name: "private address", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w1", Url: new("http://10.0.0.1/")},
			wantCode: codes.InvalidArgument, wantPart: "url must not lead to this machine",
		},
		{
			name: "path that is none", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w1", UpdateMask: paths("secret")},
			wantCode: codes.InvalidArgument, wantPart: "update_mask",
		},
		{
			name: "nothing", req: &tallydv1.UpdateWebhookRequest{WebhookId: "w1"},
			wantCode: codes.InvalidArgument, wantPart: "update_mask must name a field to change",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := &ledger{answers: map[string]string{
				first: webhookList(true, webhookJSON("w1")), second: webhookList(false, webhookJSON("w2"), webhookJSON("w3"),
					strings.Replace(webhookJSON("w4"), `"value":"1"`, `"value":""`, 1),
					strings.Replace(webhookJSON("w5"), `["FORM_RESPONSE"]`, `["FORM_RESPONSE","FORM_OPENED"]`, 1)),
				"PATCH /webhooks/w2": "", "PATCH /webhooks/w4": "",
			}}
			w := newWorld(t, l.serve, nil)
			resp, err := tallydv1.NewWebhookServiceClient(w.conn).UpdateWebhook(t.Context(), test.req)
			if status.Code(err) != test.wantCode || !strings.Contains(status.Convert(err).Message(), test.wantPart) {
				t.Errorf("UpdateWebhook() = %v, want %v with %q", err, test.wantCode, test.wantPart)
			}
			if err == nil && resp.GetWebhook().GetId() != test.req.GetWebhookId() {
				t.Errorf("UpdateWebhook() = %v, want the webhook as it is now", resp)
			}
			wantCalls(t, test.want, l.seen)
		})
	}
}

// TestSearchForAWebhookEnds plays a list that goes round in circles: it is given up after 100 pages, and nothing is written.
func TestSearchForAWebhookEnds(t *testing.T) {
	requests, writes := 0, 0
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		requests++
		if r.Method != http.MethodGet {
			writes++
		}
		_, _ = io.WriteString(rw, webhookList(true, webhookJSON([]string{"w1", "w2"}[requests%2])))
	}, nil)
	_, err := tallydv1.NewWebhookServiceClient(w.conn).UpdateWebhook(t.Context(), &tallydv1.UpdateWebhookRequest{WebhookId: "w9", IsEnabled: new(false)})
	if reason := detail[*errdetails.ErrorInfo](status.Convert(err)).GetReason(); status.Code(err) != codes.Internal || reason != "TALLY_PROTOCOL" {
		t.Errorf("UpdateWebhook() = %v, want Internal TALLY_PROTOCOL", err)
	}
	if requests != 100 || writes != 0 {
		t.Errorf("Tally saw %d requests and %d writes, want 100 and none", requests, writes)
	}
}

// TestCreateWebhook reports submissions unless told otherwise, since Tally demands to be told.
func TestCreateWebhook(t *testing.T) {
	l := &ledger{answers: map[string]string{"POST /webhooks": `{"id":"w1","url":"https://x.example.com"}`}}
	w := newWorld(t, l.serve, nil)
	hooks := tallydv1.NewWebhookServiceClient(w.conn)
	resp, err := hooks.CreateWebhook(t.Context(), &tallydv1.CreateWebhookRequest{FormId: "f1", Url: "https://x.example.com"})
	if err != nil || resp.GetWebhook().GetId() != "w1" {
		t.Errorf("CreateWebhook() = %v, %v, want w1", resp, err)
	}
	for _, address := range []string{"http://169.254.169.254/", "file:///etc/passwd", "http://localhost:8080/", "http://[::1]/"} {
		if _, err := hooks.CreateWebhook(t.Context(), &tallydv1.CreateWebhookRequest{FormId: "f1", Url: address}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("CreateWebhook(%q) = %v, want InvalidArgument", address, err)
		}
	}
	wantCalls(t, []string{`POST /webhooks {"formId":"f1","url":"https://x.example.com","eventTypes":["FORM_RESPONSE"]}`}, l.seen)
}

// TestWritesOnTheWire pins the writes whose body is not the request as it stands.
func TestWritesOnTheWire(t *testing.T) {
	tests := []struct {
		name string
		call func(context.Context, *world) error
		want string
	}{
		{"addresses become one text", func(ctx context.Context, w *world) error {
			_, err := tallydv1.NewOrganizationServiceClient(w.conn).CreateInvites(ctx, &tallydv1.CreateInvitesRequest{
				OrganizationId: "o1", Emails: []string{"a@example.com", "b@example.com"}, WorkspaceIds: []string{"w1"},
			})
			return err
		}, `POST /organizations/o1/invites {"emails":"a@example.com, b@example.com","workspaceIds":["w1"]}`},
		{"no blocks at all", func(ctx context.Context, w *world) error {
			_, err := tallydv1.NewFormServiceClient(w.conn).ReplaceBlocks(ctx, &tallydv1.ReplaceBlocksRequest{FormId: "f1"})
			return err
		}, `PATCH /forms/f1/blocks {"blocks":[]}`},
		{"a folder by its mask", func(ctx context.Context, w *world) error {
			_, err := tallydv1.NewWorkspaceServiceClient(w.conn).UpdateFolder(ctx, &tallydv1.UpdateFolderRequest{
				WorkspaceId: "w1", FolderId: "d1", Name: "New", UpdateMask: paths("name"),
			})
			return err
		}, `PATCH /workspaces/w1/folders/d1 {"name":"New"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := &ledger{answers: map[string]string{}}
			w := newWorld(t, l.serve, nil)
			_ = test.call(t.Context(), w)
			wantCalls(t, []string{test.want}, l.seen)
		})
	}
}
