package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// company is a policy for the seeded company: a shop, two teams, somebody with one form, and the owner of it all.
const company = `
callers:
  - name: shop
    identities: ["dns:shop"]
    allow: [{methods: [read, write], workspaces: [wsShop]}]
  - name: customers
    identities: ["dns:customers"]
    allow: [{methods: ["*"], workspaces: [wsCust]}]
    deny: [{methods: [write], forms: [Feedbk]}, {methods: ["*"], forms: [NewsLt]}]
    reveal: [signing_secret, http_headers]
  - name: hiring
    identities: ["dns:hiring"]
    allow: [{methods: [read], folders: [fldHir]}]
  - name: classes
    identities: ["dns:classes"]
    allow: [{methods: ["FormService/Get*", "SubmissionService/*"], forms: [Wrkshp, Whsale]}]
    confirm: true
  - name: careful
    identities: ["dns:careful"]
    allow: [{methods: [write], forms: [Raffle]}]
    confirm: true
  - name: reader
    identities: ["dns:reader"]
    allow: [{methods: [read], forms: ["*"]}]
  - name: owner
    identities: ["dns:owner"]
    allow: [{methods: ["*"], workspaces: ["*"], organizations: ["*"]}]
    reveal: [password, signing_secret, http_headers, file_links]
`

func get(form string) rpc {
	return rpc{"FormService/GetForm", &tallydv1.GetFormRequest{FormId: form}}
}

// TestGrants is the policy as callers meet it: what is theirs works, all else is CALLER_NOT_ALLOWED, whether it exists or not. It covers
// row 73: a form that one caller has just read, through look-ups that all share, is denied to another.
func TestGrants(t *testing.T) {
	g := newGuarded(t, company)
	const none = "CALLER_NOT_ALLOWED"
	tests := []struct {
		name, caller string
		call         rpc
		want         string
	}{
		{"own form", "shop", get("Whsale"), "OK"},
		{"foreign form", "shop", get("Contct"), none},
		{"unknown form", "shop", get("nosuch"), none},
		{"form of a stranger's organization", "shop", get("Choirs"), none},
		{"own workspace", "shop", rpc{"WorkspaceService/GetWorkspace", &tallydv1.GetWorkspaceRequest{WorkspaceId: "wsShop"}}, "OK"},
		{"foreign workspace", "shop", rpc{"WorkspaceService/GetWorkspace", &tallydv1.GetWorkspaceRequest{WorkspaceId: "wsCust"}}, none},
		{"unknown workspace", "shop", rpc{"WorkspaceService/GetWorkspace", &tallydv1.GetWorkspaceRequest{WorkspaceId: "nosuch"}}, none},
		{"a form anywhere", "shop", rpc{"FormService/CreateForm", newForm("")}, none},
		{"a form elsewhere", "shop", rpc{"FormService/CreateForm", newForm("wsCust")}, none},
		{"a form at home", "shop", rpc{"FormService/CreateForm", newForm("wsShop")}, "OK"},
		{"a form after a foreign one", "shop", rpc{"FormService/CreateForm", &tallydv1.CreateFormRequest{
			Status: tallydv1.FormStatus_FORM_STATUS_DRAFT, WorkspaceId: new("wsShop"), TemplateId: new("Contct"),
		}}, none},
		{"a workspace", "shop", rpc{"WorkspaceService/CreateWorkspace", &tallydv1.CreateWorkspaceRequest{Name: "Mine"}}, none},
		{"the user of the key", "shop", rpc{"UserService/GetCurrentUser", &tallydv1.GetCurrentUserRequest{}}, none},
		{"the organization", "shop", rpc{"OrganizationService/ListOrganizationUsers", &tallydv1.ListOrganizationUsersRequest{OrganizationId: "orgSal"}}, none},
		{"an invitation", "shop", rpc{"OrganizationService/CreateInvites", &tallydv1.CreateInvitesRequest{
			OrganizationId: "orgSal", WorkspaceIds: []string{"wsShop"}, Emails: []string{"a@example.com"},
		}}, none},
		{"own webhook", "shop", rpc{"WebhookService/ListWebhookEvents", &tallydv1.ListWebhookEventsRequest{WebhookId: "whkOff"}}, "OK"},
		{"a delivery of another webhook", "shop", rpc{"WebhookService/RetryWebhookEvent", &tallydv1.RetryWebhookEventRequest{WebhookId: "whkOff", EventId: "nosuch"}}, none},
		{"foreign webhook", "shop", rpc{"WebhookService/ListWebhookEvents", &tallydv1.ListWebhookEventsRequest{WebhookId: "whkCrm"}}, none},
		{"unknown webhook", "shop", rpc{"WebhookService/ListWebhookEvents", &tallydv1.ListWebhookEventsRequest{WebhookId: "nosuch"}}, none},
		{"own webhook to a foreign form", "shop", rpc{"WebhookService/UpdateWebhook", &tallydv1.UpdateWebhookRequest{WebhookId: "whkOff", FormId: new("Contct")}}, none},
		{"a webhook for a foreign form", "shop", rpc{"WebhookService/CreateWebhook", &tallydv1.CreateWebhookRequest{FormId: "Contct", Url: "https://shop.example.com"}}, none},
		{"a folder of a foreign workspace", "shop", rpc{"WorkspaceService/DeleteFolder", &tallydv1.DeleteFolderRequest{WorkspaceId: "wsShop", FolderId: "fldEvt"}}, none},
		{"a question of another form", "shop", rpc{"FormService/UpdateQuestion", &tallydv1.UpdateQuestionRequest{FormId: "Whsale", QuestionId: "nosuch", Title: new("x")}}, none},

		{"denied form beats its workspace", "customers", get("NewsLt"), none},
		{"a form that may be read", "customers", get("Feedbk"), "OK"},
		{"and not written", "customers", rpc{"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "Feedbk"}}, none},
		{"a workspace that holds a denied form", "customers", rpc{"WorkspaceService/DeleteWorkspace", &tallydv1.DeleteWorkspaceRequest{WorkspaceId: "wsCust"}}, none},

		{"form in the folder", "hiring", get("JobApp"), "OK"},
		{"form beside the folder", "hiring", get("Repair"), none},
		{"read is not write", "hiring", rpc{"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "JobApp"}}, none},
		{"a folder's grant is none of its workspace", "hiring", rpc{"WorkspaceService/ListFolders", &tallydv1.ListFoldersRequest{WorkspaceId: "wsTeam"}}, none},

		{"form by id", "classes", get("Wrkshp"), "OK"},
		{"method that no rule names", "classes", rpc{"FormService/ListQuestions", &tallydv1.ListQuestionsRequest{FormId: "Wrkshp"}}, none},

		{"forms of the own workspace", "shop", rpc{"FormService/ListForms", &tallydv1.ListFormsRequest{WorkspaceIds: []string{"wsShop"}}}, "OK"},
		{"forms of a foreign workspace", "shop", rpc{"FormService/ListForms", &tallydv1.ListFormsRequest{WorkspaceIds: []string{"wsShop", "wsCust"}}}, none},
		{"forms of an unknown workspace", "shop", rpc{"FormService/ListForms", &tallydv1.ListFormsRequest{WorkspaceIds: []string{"nosuch"}}}, none},
		{"row 73: a form that others just read", "hiring", get("Whsale"), none},

		{"any form", "reader", get("Holidy"), "OK"},
		{"forms are no workspaces", "reader", rpc{"WorkspaceService/GetWorkspace", &tallydv1.GetWorkspaceRequest{WorkspaceId: "wsShop"}}, none},

		{"everything", "owner", rpc{"UserService/GetCurrentUser", &tallydv1.GetCurrentUserRequest{}}, "OK"},
		{"a form that is not there", "owner", get("nosuch"), "RESOURCE_NOT_FOUND"},
		{"proven, but in no entry", "passer-by", get("Whsale"), none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.call.call(as(t, test.caller), t, g.conn); reasonOf(err) != test.want {
				t.Errorf("%s = %v, want %s", test.caller, err, test.want)
			}
		})
	}
	if err := get("Whsale").call(t.Context(), t, g.conn); reasonOf(err) != "CALLER_UNAUTHENTICATED" {
		t.Errorf("nobody = %v, want CALLER_UNAUTHENTICATED", err)
	}
}

func newForm(workspace string) *tallydv1.CreateFormRequest {
	req := &tallydv1.CreateFormRequest{Status: tallydv1.FormStatus_FORM_STATUS_DRAFT}
	if workspace != "" {
		req.WorkspaceId = &workspace
	}
	return req
}

// TestForeignAndUnknownAlike holds that nobody can probe for ids: status, details and trailers are the same, to the byte but for the
// request's id, and so is the cost, the first time and later.
func TestForeignAndUnknownAlike(t *testing.T) {
	for _, first := range []string{"Contct", "nosuch"} {
		g := newGuarded(t, company)
		if err := get("Whsale").call(as(t, "shop"), t, g.conn); err != nil {
			t.Fatal(err)
		}
		seen := func(form string) string {
			var trailer metadata.MD
			_, err := g.forms().GetForm(as(t, "shop"), &tallydv1.GetFormRequest{FormId: form}, grpc.Trailer(&trailer))
			delete(trailer, "tallyd-request-id")
			return strings.ReplaceAll(fmt.Sprintf("%v %v", status.Convert(err).Proto(), trailer), form, "FORM")
		}
		second := map[string]string{"Contct": "nosuch", "nosuch": "Contct"}[first]
		for range 2 {
			if diff := cmp.Diff(seen(first), seen(second)); diff != "" {
				t.Errorf("GetForm(%q) and GetForm(%q) differ:\n%s", first, second, diff)
			}
		}
	}
}

// TestFilteredLists holds what each caller sees of the lists of the whole account: items, counts, and no token that leads elsewhere.
func TestFilteredLists(t *testing.T) {
	g := newGuarded(t, company)
	tests := []struct {
		caller                           string
		wantForms, wantWorks, wantHookOf []string
	}{
		{"shop", []string{"Raffle", "Whsale"}, []string{"wsShop"}, []string{"Whsale"}},
		{"customers", []string{"Contct", "Feedbk", "OldOne", "QuizMe", "Wrkshp"}, []string{"wsCust"}, []string{"Contct", "Feedbk"}},
		{"hiring", []string{"JobApp"}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.caller, func(t *testing.T) {
			var forms, works, hooks []string
			list := &tallydv1.ListFormsRequest{PageSize: 2}
			for {
				page, err := g.forms().ListForms(as(t, test.caller), list)
				if err != nil {
					t.Fatal(err)
				}
				if int(page.GetTotalSize()) != len(test.wantForms) {
					t.Errorf("total_size = %d, want %d", page.GetTotalSize(), len(test.wantForms))
				}
				for _, form := range page.GetForms() {
					forms = append(forms, form.GetId())
				}
				if list.PageToken = page.GetNextPageToken(); list.GetPageToken() == "" {
					break
				}
			}
			workspaces, err := tallydv1.NewWorkspaceServiceClient(g.conn).ListWorkspaces(as(t, test.caller), &tallydv1.ListWorkspacesRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for _, workspace := range workspaces.GetWorkspaces() {
				works = append(works, workspace.GetId())
				if len(workspace.GetMembers()) != 0 || workspace.Index != nil || workspace.GetCreatedByUserId() != "" {
					t.Errorf("workspace %v tells of people or of its place among others", workspace)
				}
			}
			webhooks, err := tallydv1.NewWebhookServiceClient(g.conn).ListWebhooks(as(t, test.caller), &tallydv1.ListWebhooksRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for _, webhook := range webhooks.GetWebhooks() {
				hooks = append(hooks, webhook.GetFormId())
			}
			for _, diff := range []string{
				cmp.Diff(test.wantForms, sorted(forms)), cmp.Diff(test.wantWorks, sorted(works)), cmp.Diff(test.wantHookOf, sorted(hooks)),
			} {
				if diff != "" {
					t.Errorf("%s (-want +got):\n%s", test.caller, diff)
				}
			}
			if int(workspaces.GetTotalSize()) != len(works) || int(webhooks.GetTotalSize()) != len(hooks) {
				t.Errorf("total sizes = %d, %d, want %d, %d", workspaces.GetTotalSize(), webhooks.GetTotalSize(), len(works), len(hooks))
			}
		})
	}
}

// TestSecrets holds that secrets are empty for everyone to whom the policy does not reveal them.
func TestSecrets(t *testing.T) {
	g := newGuarded(t, company)
	tests := []struct {
		caller                             string
		wantPassword, wantSecret, wantLink bool
	}{
		{"reader", false, false, false},
		{"owner", true, true, true},
	}
	for _, test := range tests {
		ctx := as(t, test.caller)
		form, err := g.forms().GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Raffle"})
		if err != nil {
			t.Fatal(err)
		}
		if got := form.GetForm().GetSettings().Password != nil; got != test.wantPassword {
			t.Errorf("%s sees the password: %v, want %v", test.caller, got, test.wantPassword)
		}
		hooks, err := tallydv1.NewWebhookServiceClient(g.conn).ListWebhooks(ctx, &tallydv1.ListWebhooksRequest{})
		if err != nil {
			t.Fatal(err)
		}
		secret := false
		for _, hook := range hooks.GetWebhooks() {
			secret = secret || hook.SigningSecret != nil || len(hook.GetHttpHeaders().GetHeaders()) > 0
		}
		if secret != test.wantSecret {
			t.Errorf("%s sees secrets of webhooks: %v, want %v", test.caller, secret, test.wantSecret)
		}
		page, err := tallydv1.NewSubmissionServiceClient(g.conn).ListSubmissions(ctx, &tallydv1.ListSubmissionsRequest{
			FormId: "JobApp", View: tallydv1.SubmissionView_SUBMISSION_VIEW_FULL,
		})
		if err != nil {
			t.Fatal(err)
		}
		if text := page.String() + fmt.Sprint(page.GetSubmissions()); len(page.GetSubmissions()) == 0 || text == "" {
			t.Fatal("no submissions to look at")
		}
		data, err := proto.Marshal(page)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(data), "accessToken"); got != test.wantLink {
			t.Errorf("%s sees links to files: %v, want %v", test.caller, got, test.wantLink)
		}
	}
}

// TestHiddenSecretSurvivesUpdate holds that a caller who does not see a secret cannot empty it by sending back what it saw.
func TestHiddenSecretSurvivesUpdate(t *testing.T) {
	g := newGuarded(t, company)
	ctx := as(t, "shop")
	title := "Closed"
	update := &tallydv1.UpdateFormRequest{
		FormId: "Raffle", Settings: &tallydv1.FormSettings{CloseMessageTitle: &title},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"settings"}},
	}
	_, err := g.forms().UpdateForm(ctx, update)
	if reasonOf(err) != "INVALID_FIELD" || !strings.Contains(err.Error(), "settings.password") {
		t.Errorf("UpdateForm() with a mask that names the hidden password = %v, want INVALID_FIELD that says so", err)
	}
	update.UpdateMask.Paths = []string{"settings.close_message_title"}
	if _, err := g.forms().UpdateForm(ctx, update); err != nil {
		t.Errorf("UpdateForm() of one setting = %v, want nil", err)
	}
	form, err := g.forms().GetForm(as(t, "owner"), &tallydv1.GetFormRequest{FormId: "Raffle"})
	if err != nil || form.GetForm().GetSettings().GetPassword() == "" {
		t.Errorf("the owner sees password %q, %v, want the one that was there", form.GetForm().GetSettings().GetPassword(), err)
	}
}

// TestConfirm holds that a caller of whom it is demanded repeats the id of what it destroys, and that others need not.
func TestConfirm(t *testing.T) {
	g := newGuarded(t, company)
	submissions := tallydv1.NewSubmissionServiceClient(g.conn)
	page, err := submissions.ListSubmissions(as(t, "classes"), &tallydv1.ListSubmissionsRequest{FormId: "Wrkshp", PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	req := &tallydv1.DeleteSubmissionRequest{FormId: "Wrkshp", SubmissionId: page.GetSubmissions()[0].GetId()}
	for _, confirm := range []string{"", "Wrkshp"} {
		req.Confirm = confirm
		if _, err := submissions.DeleteSubmission(as(t, "classes"), req); reasonOf(err) != "INVALID_FIELD" {
			t.Errorf("DeleteSubmission() with confirm %q = %v, want INVALID_FIELD", confirm, err)
		}
	}
	blocks := []*tallydv1.Block{{Uuid: "u", Type: "TEXT", GroupUuid: "g", GroupType: "TEXT"}}
	for _, call := range []rpc{
		{"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "Raffle", Blocks: blocks}},
		{"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "Raffle", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"blocks"}}}},
		{"FormService/ReplaceBlocks", &tallydv1.ReplaceBlocksRequest{FormId: "Raffle", Blocks: blocks}},
	} {
		if err := call.call(as(t, "careful"), t, g.conn); reasonOf(err) != "INVALID_FIELD" || !strings.Contains(err.Error(), "confirm must repeat form_id") {
			t.Errorf("%s without confirm = %v, want INVALID_FIELD that says so", call.method, err)
		}
	}
	rename := rpc{"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "Raffle", Name: new("Draw")}}
	if err := rename.call(as(t, "careful"), t, g.conn); err != nil {
		t.Errorf("UpdateForm() of a name = %v, want nil: it destroys nothing", err)
	}
	if strings.Contains(g.paths.String(), "DELETE") {
		t.Errorf("Tally was asked to delete: %s", g.paths.String())
	}
	req.FormId = "Whsale"
	req.Confirm = req.GetSubmissionId()
	if _, err := submissions.DeleteSubmission(as(t, "classes"), req); reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("DeleteSubmission() of another form's = %v, want CALLER_NOT_ALLOWED", err)
	}
	req.FormId = "Wrkshp"
	if _, err := submissions.DeleteSubmission(as(t, "classes"), req); err != nil {
		t.Errorf("DeleteSubmission() confirmed = %v, want nil", err)
	}
}
