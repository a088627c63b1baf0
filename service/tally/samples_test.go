package tally_test

import (
	encjson "encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const u = "https://example.com/hooks/tally"

// TestSamplesDecode feeds every recorded answer through the client that would meet it. want picks a value that only a right decoding
// gives.
func TestSamplesDecode(t *testing.T) {
	form := func(field string) string { return `{"id":"f1","` + field + `":` }
	tests := []struct {
		name, file     string
		prefix, suffix string // for fragments
		req, resp      proto.Message
		want           func(proto.Message) any
		wantValue      any
	}{
		{
			name: "forms envelope", file: "rest-forms-list-maton.json",
			req: &tallydv1.ListFormsRequest{}, resp: &tallydv1.ListFormsResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.ListFormsResponse).GetForms()[0].GetSubmissionCount()
			}, wantValue: int64(42),
		},
		{
			name: "forms of the first version", file: "rest-forms-list-2025-01-15-flat-array.json",
			req: &tallydv1.ListFormsRequest{}, resp: &tallydv1.ListFormsResponse{},
			want:      func(m proto.Message) any { return m.(*tallydv1.ListFormsResponse).GetForms()[0].GetId() },
			wantValue: "LmBenY",
		},
		{
			name: "created form", file: "rest-form-create-response-201.json",
			req: &tallydv1.CreateFormRequest{Status: 1}, resp: &tallydv1.CreateFormResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.CreateFormResponse).GetForm().GetCreateTime().AsTime().UnixMilli()
			}, wantValue: int64(1734690859262),
		},
		{
			name: "settings", file: "rest-form-settings-real-2026-02.json", prefix: form("settings"), suffix: "}",
			req: &tallydv1.GetFormRequest{FormId: "f1"}, resp: &tallydv1.GetFormResponse{},
			want: func(m proto.Message) any {
				s := m.(*tallydv1.GetFormResponse).GetForm().GetSettings()
				return []any{s.GetLanguage(), s.GetStyles().GetStructValue().AsMap()["theme"], len(s.GetOther().GetFields())}
			}, wantValue: []any{"de", "CUSTOM", 10},
		},
		{
			name: "official submissions", file: "rest-submissions-list-official.json",
			req: &tallydv1.ListSubmissionsRequest{FormId: "f1"}, resp: &tallydv1.ListSubmissionsResponse{},
			want: func(m proto.Message) any {
				r := m.(*tallydv1.ListSubmissionsResponse)
				return []any{r.GetSubmissions()[0].GetResponses()[0].GetAnswerJson(), r.GetTotals().GetAll(), r.GetQuestions()[0].GetId()}
			}, wantValue: []any{`"Filip"`, int64(4), "EKOE2N"},
		},
		{
			name: "submissions with other keys", file: "rest-submissions-list-maton-value-key.json",
			req: &tallydv1.ListSubmissionsRequest{FormId: "f1"}, resp: &tallydv1.ListSubmissionsResponse{},
			want: func(m proto.Message) any {
				r := m.(*tallydv1.ListSubmissionsResponse)
				return []any{r.GetSubmissions()[0].GetResponses()[0].GetAnswerJson(), r.GetQuestions()[0].GetId()}
			}, wantValue: []any{`"John Doe"`, "33333333-3333-3333-3333-333333333333"},
		},
		{
			name: "answers of each type", file: "rest-answers-per-type-constructed.json", prefix: `{"submission":`, suffix: `,"questions":[]}`,
			req: &tallydv1.GetSubmissionRequest{FormId: "f1", SubmissionId: "s1"}, resp: &tallydv1.GetSubmissionResponse{},
			want: func(m proto.Message) any {
				return len(m.(*tallydv1.GetSubmissionResponse).GetSubmission().GetResponses())
			}, wantValue: 8,
		},
		{
			name: "questions", file: "rest-questions-list-sample.json",
			req: &tallydv1.ListQuestionsRequest{FormId: "f1"}, resp: &tallydv1.ListQuestionsResponse{},
			want: func(m proto.Message) any {
				r := m.(*tallydv1.ListQuestionsResponse)
				return []any{r.GetHasResponses(), r.GetQuestions()[0].GetResponseCount()}
			}, wantValue: []any{true, int64(42)},
		},
		{
			name: "user", file: "rest-users-me-maton.json",
			req: &tallydv1.GetCurrentUserRequest{}, resp: &tallydv1.GetCurrentUserResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.GetCurrentUserResponse).GetUser().GetSubscriptionPlan()
			}, wantValue: tallydv1.SubscriptionPlan_SUBSCRIPTION_PLAN_FREE,
		},
		{
			name: "members as a bare array", file: "rest-organization-users-bare-array.json",
			req: &tallydv1.ListOrganizationUsersRequest{OrganizationId: "o1"}, resp: &tallydv1.ListOrganizationUsersResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.ListOrganizationUsersResponse).GetUsers()[0].GetEmail()
			}, wantValue: "john@example.com",
		},
		{
			name: "workspace", file: "rest-workspace-get-maton.json",
			req: &tallydv1.GetWorkspaceRequest{WorkspaceId: "w1"}, resp: &tallydv1.GetWorkspaceResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.GetWorkspaceResponse).GetWorkspace().GetMembers()[0].GetFirstName()
			}, wantValue: "John",
		},
		{
			name: "folder", file: "rest-folder.json",
			req: &tallydv1.CreateFolderRequest{WorkspaceId: "w1", Name: "n"}, resp: &tallydv1.CreateFolderResponse{},
			want: func(m proto.Message) any {
				f := m.(*tallydv1.CreateFolderResponse).GetFolder()
				return []any{f.GetName(), f.ParentFolderId == nil}
			}, wantValue: []any{"Campaigns", true},
		},
		{
			name: "created webhook", file: "rest-webhook-create-response.json",
			req: &tallydv1.CreateWebhookRequest{FormId: "f1", Url: u}, resp: &tallydv1.CreateWebhookResponse{},
			want: func(m proto.Message) any { return m.(*tallydv1.CreateWebhookResponse).GetWebhook().GetIsEnabled() }, wantValue: true,
		},
		{
			name: "webhook events", file: "rest-webhook-events-list-constructed.json",
			req: &tallydv1.ListWebhookEventsRequest{WebhookId: "w1"}, resp: &tallydv1.ListWebhookEventsResponse{},
			want: func(m proto.Message) any {
				events := m.(*tallydv1.ListWebhookEventsResponse).GetEvents()
				return []any{events[0].GetStatusCode(), events[1].StatusCode == nil, events[1].GetDeliveryStatus()}
			}, wantValue: []any{int32(200), true, tallydv1.DeliveryStatus_DELIVERY_STATUS_DROPPED},
		},
		{
			name: "delivery with every type", file: "webhook-01-official-all-field-types.json",
			prefix: `{"hasMore":false,"events":[{"payload":`, suffix: `}]}`,
			req: &tallydv1.ListWebhookEventsRequest{WebhookId: "w1"}, resp: &tallydv1.ListWebhookEventsResponse{},
			want: func(m proto.Message) any {
				data := m.(*tallydv1.ListWebhookEventsResponse).GetEvents()[0].GetPayload().GetData()
				return []any{len(data.GetFields()), data.GetFields()[11].GetOptions()[1].GetText()}
			}, wantValue: []any{29, "In progress"},
		},
		{
			name: "delivery of 2022", file: "webhook-02-2022-multiple-choice-scalar-value.json",
			prefix: `{"hasMore":false,"events":[{"payload":`, suffix: `}]}`,
			req: &tallydv1.ListWebhookEventsRequest{WebhookId: "w1"}, resp: &tallydv1.ListWebhookEventsResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.ListWebhookEventsResponse).GetEvents()[0].GetPayload().GetData().GetFields()[0].GetValueJson()
			}, wantValue: `"d89dba67-bb2e-45cb-9ab4-61fcaf3f773f"`,
		},
		{
			name: "metrics", file: "rest-analytics-metrics.json",
			req: &tallydv1.GetMetricsRequest{FormId: "f1", Period: 1}, resp: &tallydv1.GetMetricsResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.GetMetricsResponse).GetMetrics().GetVisitDurationSeconds()
			}, wantValue: 123.0,
		},
		{
			name: "dimensions", file: "rest-analytics-dimensions.json",
			req: &tallydv1.GetDimensionsRequest{FormId: "f1", Period: 1}, resp: &tallydv1.GetDimensionsResponse{},
			want: func(m proto.Message) any { return m.(*tallydv1.GetDimensionsResponse).GetDimensions() != nil }, wantValue: true,
		},
		{
			name: "drop-off", file: "rest-analytics-drop-off.json",
			req: &tallydv1.GetDropOffRequest{FormId: "f1", Period: 1}, resp: &tallydv1.GetDropOffResponse{},
			want: func(m proto.Message) any {
				return m.(*tallydv1.GetDropOffResponse).GetDropOff().GetQuestions()[0].GetTitle()
			}, wantValue: "Name",
		},
		{
			name: "blocks in their wrapper", file: "rest-blocks-get-wrapper-constructed.json",
			req: &tallydv1.ListBlocksRequest{FormId: "f1"}, resp: &tallydv1.ListBlocksResponse{},
			want: func(m proto.Message) any { return m.(*tallydv1.ListBlocksResponse).GetName() }, wantValue: "Contact form",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := test.prefix + string(sample(t, test.file)) + test.suffix
			client := upstream(t, answers(200, body))
			if err := client.Call(t.Context(), test.req, test.resp); err != nil {
				t.Fatalf("Call() = %v, want nil", err)
			}
			if diff := cmp.Diff(test.wantValue, test.want(test.resp)); diff != "" {
				t.Errorf("%s decoded (-want +got):\n%s", test.file, diff)
			}
		})
	}
}

// TestBlocksRoundTrip reads recorded blocks and sends them back: no key may be lost or changed.
func TestBlocksRoundTrip(t *testing.T) {
	lists := []string{
		"rest-blocks-checkboxes-real.json", "rest-blocks-multiple-choice-with-other-real.json", "rest-blocks-one-of-each-2025-09.json",
		"rest-blocks-rich-text-schema-real.json", "rest-block-page-break-real.json",
	}
	singles := []string{
		"rest-block-calculated-fields.json", "rest-block-conditional-logic-real.json", "rest-block-form-title-real.json",
		"rest-block-image.json", "rest-block-linear-scale-in-columns.json", "rest-block-text-with-mention-schema.json",
	}
	fragments := []string{"rest-mention-hidden-field.json", "rest-mention-metadata-respondent-id.json"}
	bodies := map[string]string{}
	for _, name := range lists {
		bodies[name] = string(sample(t, name))
	}
	for _, name := range singles {
		bodies[name] = "[" + string(sample(t, name)) + "]"
	}
	for _, name := range fragments {
		bodies[name] = `[{"uuid":"a","type":"TEXT","groupUuid":"b","groupType":"TEXT","payload":` + string(sample(t, name)) + `}]`
	}
	for name, blocks := range bodies {
		t.Run(name, func(t *testing.T) {
			var sent []byte
			client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					_, _ = io.WriteString(w, `{"id":"f1","name":"n","blocks":`+blocks+`}`)
					return
				}
				sent, _ = io.ReadAll(r.Body)
			})
			list := &tallydv1.ListBlocksResponse{}
			if err := client.Call(t.Context(), &tallydv1.ListBlocksRequest{FormId: "f1"}, list); err != nil {
				t.Fatal(err)
			}
			replace := &tallydv1.ReplaceBlocksRequest{FormId: "f1", Blocks: list.GetBlocks()}
			if err := client.Call(t.Context(), replace, &tallydv1.ReplaceBlocksResponse{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(parsed(t, `{"blocks":`+blocks+`}`), parsed(t, string(sent))); diff != "" {
				t.Errorf("blocks sent back (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSamplesEncode builds each recorded request from a message and compares what leaves, in meaning.
func TestSamplesEncode(t *testing.T) {
	enabled, secret, form, other, app := false, "new-secret", "form_456", "my-secret", "my-app"
	hook, n8n := "https://example.com/new-webhook", "N8N"
	response := []tallydv1.WebhookEventType{tallydv1.WebhookEventType_WEBHOOK_EVENT_TYPE_FORM_RESPONSE}
	tests := []struct {
		name, file string
		prefix     string
		suffix     string
		req        proto.Message
	}{
		{name: "minimal form", file: "rest-form-create-request-minimal.json", req: createForm(t, "rest-form-create-request-minimal.json")},
		{name: "contact form", file: "rest-form-create-request-contact.json", req: createForm(t, "rest-form-create-request-contact.json")},
		{name: "other group types", file: "rest-form-create-request-dante.json", req: createForm(t, "rest-form-create-request-dante.json")},
		{name: "dropdown", file: "rest-form-create-request-dropdown.json", req: createForm(t, "rest-form-create-request-dropdown.json")},
		{
			name: "settings", file: "rest-form-settings-request-theme-close.json",
			prefix: `{"status":"DRAFT","blocks":[],"settings":`, suffix: "}",
			req: &tallydv1.CreateFormRequest{Status: 2, Settings: settings(t, "rest-form-settings-request-theme-close.json")},
		},
		{
			name: "invites", file: "rest-invites-create-request.json",
			req: &tallydv1.CreateInvitesRequest{
				OrganizationId: "o1", WorkspaceIds: []string{"3jW9Q1"}, Emails: []string{"user1@example.com", "user2@example.com"},
			},
		},
		{
			name: "webhook", file: "rest-webhook-create-request-full.json",
			req: &tallydv1.CreateWebhookRequest{
				FormId: "mexJoq", Url: "https://example.com/webhook", EventTypes: response, SigningSecret: &other, ExternalSubscriber: &app,
				HttpHeaders: &tallydv1.HttpHeaders{Headers: []*tallydv1.HttpHeader{{Name: "X-Custom-Header", Value: "custom-value"}}},
			},
		},
		{
			name: "webhook of an integration", file: "rest-webhook-create-request-n8n.json",
			req: &tallydv1.CreateWebhookRequest{
				FormId: "mexJoq", Url: "https://n8n.example.com/webhook/abc/webhook", EventTypes: response, ExternalSubscriber: &n8n,
			},
		},
		{
			name: "webhook update", file: "rest-webhook-update-request.json",
			req: &tallydv1.UpdateWebhookRequest{
				WebhookId: "w1", FormId: &form, Url: &hook, EventTypes: response, IsEnabled: &enabled, SigningSecret: &secret,
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var sent []byte
			client := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				sent, _ = io.ReadAll(r.Body)
				_, _ = io.WriteString(w, `{"id":"x"}`)
			})
			if err := client.Call(t.Context(), test.req, responseFor(test.req)); err != nil {
				t.Fatal(err)
			}
			want := parsed(t, test.prefix+string(sample(t, test.file))+test.suffix)
			if diff := cmp.Diff(want, parsed(t, string(sent))); diff != "" {
				t.Errorf("body sent (-want +got):\n%s", diff)
			}
		})
	}
}

// responseFor returns an empty response for a request that creates or updates.
func responseFor(req proto.Message) proto.Message {
	switch req.(type) {
	case *tallydv1.CreateFormRequest:
		return &tallydv1.CreateFormResponse{}
	case *tallydv1.CreateInvitesRequest:
		return &tallydv1.CreateInvitesResponse{}
	case *tallydv1.UpdateFormRequest:
		return &tallydv1.UpdateFormResponse{}
	case *tallydv1.CreateWebhookRequest:
		return &tallydv1.CreateWebhookResponse{}
	default:
		return &tallydv1.UpdateWebhookResponse{}
	}
}

func parsed(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := encjson.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// createForm builds the request through protojson, whose keys happen to be Tally's for blocks: an encoder that is not ours.
func createForm(t testing.TB, file string) *tallydv1.CreateFormRequest {
	t.Helper()
	body, _ := parsed(t, string(sample(t, file))).(map[string]any)
	body["status"] = "FORM_STATUS_" + body["status"].(string)
	return viaProtoJSON(t, body, &tallydv1.CreateFormRequest{})
}

func settings(t testing.TB, file string) *tallydv1.FormSettings {
	t.Helper()
	return viaProtoJSON(t, parsed(t, string(sample(t, file))), &tallydv1.FormSettings{})
}

func viaProtoJSON[M proto.Message](t testing.TB, body any, into M) M {
	t.Helper()
	data, err := encjson.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
	return into
}
