package service_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestHiddenQuestions holds that the answers to hidden questions are removed and that this is said, and that nothing that tells of all
// questions of the form at once goes round it.
func TestHiddenQuestions(t *testing.T) {
	owner := newGuarded(t, company)
	all, err := owner.forms().ListQuestions(as(t, "owner"), &tallydv1.ListQuestionsRequest{FormId: "Contct"})
	if err != nil || len(all.GetQuestions()) < 2 {
		t.Fatalf("ListQuestions() = %v, %v, want some questions", all, err)
	}
	hidden := all.GetQuestions()[0]
	g := newGuarded(t, fmt.Sprintf(`
callers:
  - name: desk
    identities: ["dns:desk"]
    allow: [{methods: [read, write], workspaces: ["*"]}]
    hide: [{form: Contct, questions: [%s]}]
    reveal: [file_links]
`, hidden.GetId()))
	ctx := as(t, "desk")
	questions, err := g.forms().ListQuestions(ctx, &tallydv1.ListQuestionsRequest{FormId: "Contct"})
	if err != nil || len(questions.GetQuestions()) != len(all.GetQuestions())-1 {
		t.Errorf("ListQuestions() = %d questions, %v, want %d", len(questions.GetQuestions()), err, len(all.GetQuestions())-1)
	}
	page, err := tallydv1.NewSubmissionServiceClient(g.conn).ListSubmissions(ctx, &tallydv1.ListSubmissionsRequest{FormId: "Contct"})
	if err != nil {
		t.Fatal(err)
	}
	saidSo := 0
	for _, submission := range page.GetSubmissions() {
		saidSo += int(submission.GetHiddenResponseCount())
		if submission.GetPdfUrl() != "" || submission.GetPreviewUrl() != "" {
			t.Errorf("submission %s has a preview, on which the hidden answer stands", submission.GetId())
		}
	}
	form, err := g.forms().GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Contct"})
	if err != nil || len(form.GetForm().GetBlocks()) != 0 || form.GetForm().GetName() == "" {
		t.Errorf("GetForm() = %d blocks, %v, want the form without its blocks", len(form.GetForm().GetBlocks()), err)
	}
	exported, err := export(ctx, t, g.world, &tallydv1.ExportSubmissionsRequest{FormId: "Contct"}, 0)
	if err != nil || exported.hidden < saidSo {
		t.Errorf("ExportSubmissions() = %d submissions with %d hidden answers, %v, want %d of them at least", len(exported.ids), exported.hidden, err, saidSo)
	}
	for _, answer := range []proto.Message{questions, page, form, exported.first} {
		if data, _ := proto.Marshal(answer); strings.Contains(string(data), hidden.GetId()) {
			t.Errorf("%T names the hidden question %s", answer, hidden.GetId())
		}
	}
	if saidSo == 0 {
		t.Error("hidden_response_count is 0 everywhere, want the number of hidden answers")
	}
	other, err := g.forms().GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Feedbk"})
	if err != nil || len(other.GetForm().GetBlocks()) == 0 {
		t.Errorf("GetForm() of another form = %d blocks, %v, want them all", len(other.GetForm().GetBlocks()), err)
	}
	blocks := []*tallydv1.Block{{Uuid: "u", Type: "TEXT", GroupUuid: "g", GroupType: "TEXT"}}
	for _, test := range []rpc{
		{"FormService/ListBlocks", &tallydv1.ListBlocksRequest{FormId: "Contct"}},
		{"FormService/ReplaceBlocks", &tallydv1.ReplaceBlocksRequest{FormId: "Contct", Blocks: blocks}},
		{"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "Contct", Blocks: blocks}},
		{"FormService/UpdateQuestion", &tallydv1.UpdateQuestionRequest{FormId: "Contct", QuestionId: hidden.GetId(), Title: new("x")}},
		{"AnalyticsService/GetDropOff", &tallydv1.GetDropOffRequest{FormId: "Contct", Period: tallydv1.AnalyticsPeriod_ANALYTICS_PERIOD_ALL}},
		{"WebhookService/ListWebhookEvents", &tallydv1.ListWebhookEventsRequest{WebhookId: "whkCrm"}},
		{"WebhookService/UpdateWebhook", &tallydv1.UpdateWebhookRequest{WebhookId: "whkCrm", Url: new("https://desk.example.com")}},
		{"WebhookService/UpdateWebhook", &tallydv1.UpdateWebhookRequest{WebhookId: "whkNps", FormId: new("Contct")}},
		{"WebhookService/CreateWebhook", &tallydv1.CreateWebhookRequest{FormId: "Contct", Url: "https://desk.example.com"}},
	} {
		if err := test.call(ctx, t, g.conn); reasonOf(err) != "CALLER_NOT_ALLOWED" {
			t.Errorf("%s = %v, want CALLER_NOT_ALLOWED", test.method, err)
		}
	}
}

// TestOwnDelivery holds that a caller may repeat a delivery of its own webhook, one of a page that is not the first too.
func TestOwnDelivery(t *testing.T) {
	g := newGuarded(t, company)
	events, list := tallydv1.NewWebhookServiceClient(g.conn), &tallydv1.ListWebhookEventsRequest{WebhookId: "whkCrm"}
	var last *tallydv1.WebhookEvent
	for {
		page, err := events.ListWebhookEvents(as(t, "customers"), list)
		if err != nil {
			t.Fatal(err)
		}
		last = page.GetEvents()[len(page.GetEvents())-1]
		if list.PageToken = page.GetNextPageToken(); list.GetPageToken() == "" {
			break
		}
	}
	req := &tallydv1.RetryWebhookEventRequest{WebhookId: "whkCrm", EventId: last.GetId()}
	if _, err := events.RetryWebhookEvent(as(t, "customers"), req); err != nil {
		t.Errorf("RetryWebhookEvent() of the oldest delivery = %v, want nil", err)
	}
}

// TestShadow holds that a policy in shadow denies and hides nothing and says what it would have denied.
func TestShadow(t *testing.T) {
	g := newGuarded(t, "shadow: true\n"+company)
	for _, caller := range []string{"shop", "passer-by"} {
		if err := get("Contct").call(as(t, caller), t, g.conn); err != nil {
			t.Errorf("GetForm() by %s = %v, want nil", caller, err)
		}
	}
	if err := get("Contct").call(t.Context(), t, g.conn); err != nil {
		t.Errorf("GetForm() by nobody = %v, want nil", err)
	}
	list, err := g.forms().ListForms(as(t, "shop"), &tallydv1.ListFormsRequest{})
	if err != nil || len(list.GetForms()) < 10 {
		t.Errorf("ListForms() = %d forms, %v, want all", len(list.GetForms()), err)
	}
	if got := strings.Count(g.audit.String(), `"msg":"would be denied"`); got != 3 {
		t.Errorf("the audit trail has %d records of what would be denied, want 3:\n%s", got, g.audit.String())
	}
}

// TestAudit holds that each write and each denial leaves one record, and reads none, without an answer or a secret in it.
func TestAudit(t *testing.T) {
	g := newGuarded(t, company)
	title := "Never in a trail"
	calls := []struct {
		caller string
		call   rpc
		want   string
	}{
		{"shop", get("Whsale"), ""},
		{"shop", get("Contct"), `"msg":"denied","request_id":"R","method":"FormService/GetForm","code":"PermissionDenied","caller":"shop","proven_by":"test","rule":"rules`},
		{"", get("Contct"), `"msg":"denied","request_id":"R","method":"FormService/GetForm","code":"Unauthenticated","peer":`},
		{
			"shop",
			rpc{"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "Whsale", Name: &title}},
			`"msg":"write","request_id":"R","method":"FormService/UpdateForm","code":"OK","caller":"shop","proven_by":"test","rule":`,
		},
		{"shop", rpc{"FormService/CreateForm", newForm("wsShop")}, `"workspace_id":"wsShop","created_id":"`},
		{
			"owner",
			rpc{"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "nosuch"}},
			`"reason":"RESOURCE_NOT_FOUND","outcome":"rejected","resource":{"form_id":"nosuch"}`,
		},
	}
	seen := ""
	for _, test := range calls {
		ctx := t.Context()
		if test.caller != "" {
			ctx = as(t, test.caller)
		}
		_ = test.call.call(ctx, t, g.conn)
		written := strings.TrimPrefix(g.audit.String(), seen)
		seen = g.audit.String()
		if records := strings.Count(written, "\n"); records != min(len(test.want), 1) {
			t.Errorf("%s by %q left %d records, want %d: %s", test.call.method, test.caller, records, min(len(test.want), 1), written)
		}
		want := strings.SplitSeq(test.want, `"R"`)
		for part := range want {
			if part = strings.TrimSuffix(part, `"rule":"rules`); !strings.Contains(written, part) {
				t.Errorf("%s by %q left %s, want %s in it", test.call.method, test.caller, written, part)
			}
		}
	}
	if strings.Contains(seen, title) {
		t.Errorf("the trail holds what was written: %s", seen)
	}
}

// TestFailedLookUpDenies holds that nothing is let through while nobody knows where a form lies, and that the error says whose fault
// that is and that a write was not sent.
func TestFailedLookUpDenies(t *testing.T) {
	g := newGuarded(t, company)
	g.fail(http.StatusInternalServerError)
	for _, call := range []rpc{get("Whsale"), {"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "Whsale"}}} {
		err := call.call(as(t, "shop"), t, g.conn)
		info := infoOf(err)
		want := []string{codes.Unavailable.String(), "TALLY_ERROR", "tally.so", "not_sent", "true"}
		got := []string{status.Code(err).String(), info.GetReason(), info.GetDomain(), info.GetMetadata()["outcome"], info.GetMetadata()["retry_safe"]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", call.method, diff)
		}
	}
	if strings.Contains(g.paths.String(), "DELETE") {
		t.Errorf("Tally was asked to delete: %s", g.paths.String())
	}
}

// TestLookUpsAreFew holds what look-ups cost: one list for all callers, one request for each foreign id, none for ids that rules name.
func TestLookUpsAreFew(t *testing.T) {
	g := newGuarded(t, company)
	ask := func(caller, form string) int {
		before := g.requests()
		_ = get(form).call(as(t, caller), t, g.conn)
		return g.requests() - before
	}
	tests := []struct {
		name, caller, form string
		want               int
	}{
		{"by id", "classes", "Wrkshp", 1},
		{"first by workspace", "shop", "Whsale", 2},
		{"again", "shop", "Raffle", 1},
		{"another caller", "customers", "Contct", 1},
		{"foreign", "shop", "Contct", 1},
		{"foreign again", "shop", "Contct", 0},
		{"no rule by place", "classes", "Contct", 0},
	}
	for _, test := range tests {
		if got := ask(test.caller, test.form); got != test.want {
			t.Errorf("%s: GetForm(%q) by %s cost %d requests, want %d", test.name, test.form, test.caller, got, test.want)
		}
	}
}
