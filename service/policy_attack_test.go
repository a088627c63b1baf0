package service_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestForeignWebhookCostsAsUnknown holds that the cost of a denial does not tell whether a webhook exists.
func TestForeignWebhookCostsAsUnknown(t *testing.T) {
	cost := func(id string) string {
		g := newGuarded(t, company)
		var costs []string
		for range 2 {
			var trailer metadata.MD
			err := g.conn.Invoke(as(t, "shop"), "/tallyd.v1.WebhookService/ListWebhookEvents",
				&tallydv1.ListWebhookEventsRequest{WebhookId: id}, &tallydv1.ListWebhookEventsResponse{}, grpc.Trailer(&trailer))
			costs = append(costs, reasonOf(err)+" "+strings.Join(trailer.Get("tallyd-cost"), ","))
		}
		return strings.Join(costs, ", ")
	}
	if foreign, unknown := cost("whkCrm"), cost("nosuch"); foreign != unknown {
		t.Errorf("a foreign webhook costs %s, an unknown one %s, want the same", foreign, unknown)
	}
}

// TestDeniedPlaces holds that a denial of a folder or a workspace counts for what is made or renamed there.
func TestDeniedPlaces(t *testing.T) {
	g := newGuarded(t, `
callers:
  - name: c
    identities: ["dns:c"]
    allow: [{methods: ["*"], workspaces: ["*"]}]
    deny: [{methods: ["*"], folders: [fldHir]}, {methods: ["*"], workspaces: [wsCust]}]
`)
	denied := newForm("wsTeam")
	denied.FolderId = new("fldHir")
	tests := []struct {
		name string
		call rpc
		want string
	}{
		{"a form in a denied folder", rpc{"FormService/CreateForm", denied}, "CALLER_NOT_ALLOWED"},
		{"a form beside it", rpc{"FormService/CreateForm", newForm("wsTeam")}, "OK"},
		{"a form in whichever workspace is the first", rpc{"FormService/CreateForm", newForm("")}, "CALLER_NOT_ALLOWED"},
		{"a denied folder's name", rpc{"WorkspaceService/UpdateFolder", &tallydv1.UpdateFolderRequest{
			WorkspaceId: "wsTeam", FolderId: "fldHir", Name: "Mine",
		}}, "CALLER_NOT_ALLOWED"},
		{"a folder within a denied one", rpc{"WorkspaceService/CreateFolder", &tallydv1.CreateFolderRequest{
			WorkspaceId: "wsTeam", Name: "Mine", ParentFolderId: new("fldHir"),
		}}, "CALLER_NOT_ALLOWED"},
	}
	for _, test := range tests {
		if err := test.call.call(as(t, "c"), t, g.conn); reasonOf(err) != test.want {
			t.Errorf("%s: %s = %v, want %s", test.name, test.call.method, err, test.want)
		}
	}
}

// TestTrailIsBounded holds that a caller cannot fill the disk of the audit trail with what it calls an id.
func TestTrailIsBounded(t *testing.T) {
	g := newGuarded(t, company)
	many := &tallydv1.CreateInvitesRequest{OrganizationId: strings.Repeat("x", 1<<20)}
	for range 100_000 {
		many.WorkspaceIds = append(many.WorkspaceIds, "wsShop")
	}
	err := rpc{"OrganizationService/CreateInvites", many}.call(t.Context(), t, g.conn)
	if got := len(g.audit.String()); reasonOf(err) != "CALLER_UNAUTHENTICATED" || got == 0 || got > 16<<10 {
		t.Errorf("CreateInvites() by nobody = %v and left %d bytes, want CALLER_UNAUTHENTICATED and a short record", err, got)
	}
}

// TestUnnamedQuestionIsHidden holds that an answer which does not say to which question it belongs is withheld where some are hidden.
func TestUnnamedQuestionIsHidden(t *testing.T) {
	g := newGuarded(t, `
callers:
  - name: c
    identities: ["dns:c"]
    allow: [{methods: ["*"], workspaces: [wsCust]}]
    hide: [{form: Contct, questions: [secret]}]
`)
	g.answers.Store("GET /forms/Contct/submissions/s1", `{"questions":[],"submission":{"id":"s1","formId":"Contct","responses":[
		{"id":"r1","questionId":"secret","answer":"hush"},{"id":"r2","answer":"hush"},{"id":"r3","questionId":"open","answer":"loud"}]}}`)
	req := &tallydv1.GetSubmissionRequest{FormId: "Contct", SubmissionId: "s1"}
	got, err := tallydv1.NewSubmissionServiceClient(g.conn).GetSubmission(as(t, "c"), req)
	if err != nil || strings.Contains(fmt.Sprint(got), "r2") || got.GetSubmission().GetHiddenResponseCount() != 2 {
		t.Errorf("GetSubmission() = %v, %v, want the response r3 alone", got, err)
	}
}

// TestFormOfNowhereIsDenied holds that a form of which Tally does not say where it lies passes no denial of a workspace.
func TestFormOfNowhereIsDenied(t *testing.T) {
	g := newGuarded(t, `
callers:
  - name: c
    identities: ["dns:c"]
    allow: [{methods: ["*"], forms: ["*"]}]
    deny: [{methods: ["*"], workspaces: [wsCust]}]
`)
	form := `{"id":"Lost","name":"Lost","status":"DRAFT"}`
	g.answers.Store("GET /forms/Lost", form)
	g.answers.Store("GET /forms", `{"items":[`+form+`],"page":1,"limit":50,"total":1,"hasMore":false}`)
	if err := get("Lost").call(as(t, "c"), t, g.conn); reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("GetForm() = %v, want CALLER_NOT_ALLOWED", err)
	}
	if list, err := g.forms().ListForms(as(t, "c"), &tallydv1.ListFormsRequest{}); err != nil || len(list.GetForms()) != 0 {
		t.Errorf("ListForms() = %v, %v, want none", list, err)
	}
}

// TestNewWebhookWithoutForm holds that whoever makes a webhook may go on with it where Tally's answer leaves out its form, and that one
// of which nobody says whose it is is nobody's.
func TestNewWebhookWithoutForm(t *testing.T) {
	g := newGuarded(t, company)
	events := func(id string) rpc {
		return rpc{"WebhookService/ListWebhookEvents", &tallydv1.ListWebhookEventsRequest{WebhookId: id}}
	}
	_ = events("whkOff").call(as(t, "shop"), t, g.conn) // reads the list
	g.answers.Store("POST /webhooks", `{"id":"whkNew","url":"https://shop.example.com","isEnabled":true}`)
	g.answers.Store("GET /webhooks/whkNew/events", `{"page":1,"limit":25,"hasMore":false,"totalNumberOfEvents":0,"events":[]}`)
	create := rpc{"WebhookService/CreateWebhook", &tallydv1.CreateWebhookRequest{FormId: "Whsale", Url: "https://shop.example.com"}}
	for _, call := range []rpc{create, events("whkNew")} {
		if err := call.call(as(t, "shop"), t, g.conn); err != nil {
			t.Errorf("%s = %v, want nil", call.method, err)
		}
	}
	lost := newGuarded(t, company)
	lost.answers.Store("GET /webhooks", `{"webhooks":[{"id":"whkNew","url":"https://shop.example.com"}],"page":1,"limit":100,"hasMore":false,"totalCount":1}`)
	for _, caller := range []string{"shop", "reader"} {
		if err := events("whkNew").call(as(t, caller), t, lost.conn); reasonOf(err) != "CALLER_NOT_ALLOWED" {
			t.Errorf("ListWebhookEvents() of a webhook without a form by %s = %v, want CALLER_NOT_ALLOWED", caller, err)
		}
	}
}

// TestTemplateWithHiddenQuestions holds that a copy of a form does not show the questions that the form hides.
func TestTemplateWithHiddenQuestions(t *testing.T) {
	g := newGuarded(t, `
callers:
  - name: c
    identities: ["dns:c"]
    allow: [{methods: ["*"], workspaces: ["*"]}]
    hide: [{form: Contct, questions: [secret]}]
`)
	req := newForm("wsCust")
	req.TemplateId = new("Contct")
	if err := (rpc{"FormService/CreateForm", req}).call(as(t, "c"), t, g.conn); reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("CreateForm() after a form with hidden questions = %v, want CALLER_NOT_ALLOWED", err)
	}
}

// TestHiddenHeadersStay holds that a webhook's headers do not follow it to an address of somebody who may not see them.
func TestHiddenHeadersStay(t *testing.T) {
	g := newGuarded(t, company)
	mine := "https://shop.example.com/collect"
	alone := &tallydv1.UpdateWebhookRequest{WebhookId: "whkOff", Url: &mine}
	masked := &tallydv1.UpdateWebhookRequest{
		WebhookId: "whkOff", Url: &mine, HttpHeaders: &tallydv1.HttpHeaders{}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"url"}},
	}
	anew := &tallydv1.UpdateWebhookRequest{WebhookId: "whkOff", Url: &mine, HttpHeaders: &tallydv1.HttpHeaders{
		Headers: []*tallydv1.HttpHeader{{Name: "x-own", Value: "1"}},
	}}
	for _, test := range []struct {
		req  *tallydv1.UpdateWebhookRequest
		want string
	}{{alone, "INVALID_FIELD"}, {masked, "INVALID_FIELD"}, {anew, "OK"}} {
		if err := (rpc{"WebhookService/UpdateWebhook", test.req}).call(as(t, "shop"), t, g.conn); reasonOf(err) != test.want {
			t.Errorf("UpdateWebhook(%v) = %v, want %s", test.req, err, test.want)
		}
	}
}
