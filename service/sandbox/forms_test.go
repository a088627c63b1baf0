package sandbox

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// titled is a body that makes a form with one text question.
const titled = `{"status":"PUBLISHED","blocks":[
	{"uuid":"` + uuidA + `","type":"FORM_TITLE","groupUuid":"` + uuidB + `","groupType":"TEXT","payload":{"html":"Tea <b>&amp; cake</b>"}},
	{"uuid":"` + uuidC + `","type":"TITLE","groupUuid":"` + uuidD + `","groupType":"QUESTION","payload":{"html":"Name"}},
	{"uuid":"884ff838-97f9-4ac9-8db1-31aa052df988","type":"INPUT_TEXT","groupUuid":"7d9c2e31-b5aa-4c8b-9c2d-123456789abc",
	 "groupType":"INPUT_TEXT","payload":{"isRequired":true}}]}`

// makeForm creates the form of the body and returns its id.
func (b *bench) makeForm(body string) string {
	b.t.Helper()
	return b.do("POST /forms", body).want(201).at("id").(string)
}

func TestListForms(t *testing.T) {
	b := start(t)
	all := b.do("GET /forms").want(200)
	all.wantAt("page", 1.0).wantAt("limit", 50.0).wantAt("total", 12.0).wantAt("hasMore", false).wantAt("items.#", 12)
	for _, tc := range []struct {
		name, query string
		wantItems   int
		wantFirst   any
		wantMore    bool
		wantTotal   float64
	}{
		{"first page", "?limit=5", 5, "Untitl", true, 12},
		{"second page", "?limit=5&page=2", 5, nil, true, 12},
		{"last page", "?limit=5&page=3", 2, nil, false, 12},
		{"past the end", "?limit=5&page=4", 0, nil, false, 12},
		{"far past the end", "?limit=500&page=2147483647", 0, nil, false, 12},
		{"one workspace", "?workspaceIds=wsShop", 2, "Whsale", false, 2},
		{"two workspaces", "?workspaceIds=wsShop&workspaceIds=wsTeam", 6, "Untitl", false, 6},
		{"unknown workspace", "?workspaceIds=nobody", 0, nil, false, 0},
		{"exactly full", "?limit=12", 12, "Untitl", false, 12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do("GET /forms" + tc.query).want(200)
			a.wantAt("items.#", tc.wantItems).wantAt("hasMore", tc.wantMore).wantAt("total", tc.wantTotal)
			if tc.wantFirst != nil {
				a.wantAt("items.0.id", tc.wantFirst)
			}
		})
	}
	b.do("GET /forms?workspaceIds=wsElse").want(403)
}

func TestListedForm(t *testing.T) {
	a := start(t).do("GET /forms?workspaceIds=wsShop").want(200)
	for path, want := range map[string]any{
		"items.0.id": "Whsale", "items.0.name": "Wholesale order", "items.0.isNameModifiedByUser": false,
		"items.0.workspaceId": "wsShop", "items.0.organizationId": "orgSal", "items.0.status": "PUBLISHED",
		"items.0.hasDraftBlocks": false, "items.0.numberOfSubmissions": 310.0, "items.0.isClosed": false,
		"items.0.index": 0.0, "items.1.index": 1.0, "items.1.isClosed": true,
		"items.0.payments.0.amount": 50.0, "items.0.payments.0.currency": "EUR",
		"items.0.createdAt": "2025-10-20T13:00:00.000Z", "items.0.updatedAt": "2026-08-14T08:15:30.000Z",
	} {
		a.wantAt(path, want)
	}
	if strings.Contains(a.body, "folderId") || strings.Count(a.body, "payments") != 1 {
		t.Errorf("GET /forms = %s, want no folderId and one payments", a.body)
	}
}

func TestListedOddities(t *testing.T) {
	a := start(t).do("GET /forms").want(200)
	var page struct {
		Items []struct {
			ID, Status string
			Name       *string
			FolderID   string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &page); err != nil {
		t.Fatalf("Unmarshal() = %v, want no error", err)
	}
	seen := map[string]bool{}
	for _, f := range page.Items {
		seen["no name"] = seen["no name"] || f.Name == nil
		seen["newline"] = seen["newline"] || f.Name != nil && strings.Contains(*f.Name, "\n")
		seen["trash"] = seen["trash"] || f.Status == "DELETED"
		seen["draft"] = seen["draft"] || f.Status == "DRAFT"
		seen["folder"] = seen["folder"] || f.FolderID != ""
	}
	for _, oddity := range []string{"no name", "newline", "trash", "draft", "folder"} {
		if !seen[oddity] {
			t.Errorf("GET /forms shows no form with %s", oddity)
		}
	}
}

func TestGetForm(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, form string
		want       int
		wantBody   string
	}{
		{"mine", "Feedbk", 200, ""},
		{"unknown", "nobody", 404, `{"message":"Form was not found"}`},
		{"another organization's", "Choirs", 403, `{"message":"You do not have access to this resource"}`},
		{"in the trash", "OldOne", 404, `{"message":"Form was not found"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do("GET /forms/" + tc.form).want(tc.want)
			if tc.wantBody != "" {
				a.wantBody(tc.wantBody)
			}
		})
	}
	member := b.as("tly-sandbox-member")
	member.do("GET /forms/Holidy").want(200)
	member.do("GET /forms/Feedbk").want(403)
	member.do("GET /forms").want(200).wantAt("total", 4.0)
}

func TestForeignFormIsForbiddenEverywhere(t *testing.T) {
	b := start(t)
	for _, call := range []string{
		"GET /forms/Choirs", "PATCH /forms/Choirs", "DELETE /forms/Choirs", "GET /forms/Choirs/questions",
		"GET /forms/Choirs/blocks", "GET /forms/Choirs/submissions", "GET /forms/Choirs/submissions/x",
		"DELETE /forms/Choirs/submissions/x", "GET /forms/Choirs/analytics/metrics?period=7d",
		"GET /workspaces/wsElse", "PATCH /workspaces/wsElse", "DELETE /workspaces/wsElse",
		"GET /workspaces/wsElse/folders", "GET /organizations/orgElt/users", "GET /organizations/orgElt/invites",
	} {
		t.Run(call, func(t *testing.T) {
			b := b.in(t)
			b.do(call, `{"name":"x"}`).want(403).wantAt("message", "You do not have access to this resource")
		})
	}
}

func TestTrashedForm(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []Option
		want int
	}{
		{"unless chosen", nil, 404},
		{"unauthorized", []Option{WithTrashedFormStatus(401)}, 401},
		{"forbidden", []Option{WithTrashedFormStatus(403)}, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, tc.opts...)
			b.do("DELETE /forms/Contct").want(204).wantBody("")
			for _, call := range []string{"GET /forms/Contct", "DELETE /forms/Contct", "GET /forms/Contct/submissions", "GET /forms/Contct/questions"} {
				b.do(call).want(tc.want)
			}
			b.do("PATCH /forms/Contct", `{"status":"PUBLISHED"}`).want(tc.want)
			a := b.do("GET /forms").want(200).wantAt("total", 12.0)
			if got := strings.Count(a.body, `"status":"DELETED"`); got != 2 {
				t.Errorf("GET /forms shows %d trashed forms, want 2", got)
			}
		})
	}
}

func TestFullForm(t *testing.T) {
	b := start(t)
	a := b.do("GET /forms/Raffle").want(200)
	for path, want := range map[string]any{
		"id": "Raffle", "isClosed": true, "settings.password": "tin-2026", "settings.isClosed": true,
		"settings.saveForLater": true, "settings.styles": nil, "settings.closeMessageTitle": "The raffle is over",
		"settings.#": 40, "blocks.0.type": "FORM_TITLE", "blocks.0.groupType": "TEXT",
		"blocks.0.payload.title": "Collectors' tin raffle", "blocks.0.payload.safeHTMLSchema.0.0": "Collectors' tin raffle",
		"blocks.0.payload.html": nil,
	} {
		a.wantAt(path, want)
	}
	b.do("GET /forms/Feedbk").want(200).wantAt("settings.styles.theme", "CUSTOM")
	bare := b.do("GET /forms/Untitl").want(200).wantAt("name", nil).wantAt("settings", nil)
	if !strings.Contains(bare.body, `"settings":null`) || !strings.Contains(bare.body, `"name":null`) {
		t.Errorf("GET /forms/Untitl = %s, want settings and name as null", bare.body)
	}
}

func TestCreateForm(t *testing.T) {
	clock := newWatch()
	b := start(t, WithClock(clock.read))
	a := b.do("POST /forms", titled).want(201)
	for path, want := range map[string]any{
		"name": "Tea & cake", "workspaceId": "wsCust", "organizationId": "orgSal", "status": "PUBLISHED",
		"hasDraftBlocks": false, "isClosed": false, "createdAt": "2026-09-01T12:00:00.000Z",
		"updatedAt": "2026-09-01T12:00:00.000Z", "#": 9,
	} {
		a.wantAt(path, want)
	}
	id := a.at("id").(string)
	b.do("GET /forms?limit=1").want(200).wantAt("items.0.id", id).wantAt("total", 13.0)
	full := b.do("GET /forms/"+id).want(200).wantAt("settings", nil).wantAt("blocks.#", 3)
	full.wantAt("blocks.0.payload.safeHTMLSchema.1.0", "&amp; cake").wantAt("blocks.0.payload.title", "Tea & cake")
	b.do("GET /forms/"+id+"/questions").want(200).wantAt("questions.#", 1).wantAt("questions.0.title", "Name").
		wantAt("hasResponses", false)
}

func TestCreateFormBody(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, body string
		want       int
		wantText   string
	}{
		{"smallest", `{"status":"DRAFT","blocks":[]}`, 201, `"name":null`},
		{"blank", `{"status":"BLANK","blocks":[]}`, 201, `"status":"BLANK"`},
		{"with name and password", `{"status":"DRAFT","blocks":[],"name":"Mine","password":"x"}`, 201, `"name":"Mine"`},
		{"workspace", `{"status":"DRAFT","blocks":[],"workspaceId":"wsTeam"}`, 201, `"workspaceId":"wsTeam"`},
		{"folder", `{"status":"DRAFT","blocks":[],"workspaceId":"wsCust","folderId":"fldCls"}`, 201, `"workspaceId":"wsCust"`},
		{"template", `{"status":"DRAFT","blocks":[],"templateId":"any"}`, 201, ""},
		{"no status", `{"blocks":[]}`, 400, `"status\" is required`},
		{"no blocks", `{"status":"DRAFT"}`, 400, `"blocks\" is required`},
		{"deleted", `{"status":"DELETED","blocks":[]}`, 400, `"status\" must be one of [BLANK, DRAFT, PUBLISHED]`},
		{"no such status", `{"status":"published","blocks":[]}`, 400, `any.only`},
		{"unknown key", `{"status":"DRAFT","blocks":[],"title":"x"}`, 400, `"title\" is not allowed`},
		{"unknown setting", `{"status":"DRAFT","blocks":[],"settings":{"colour":"red"}}`, 400, `"settings.colour\" is not allowed`},
		{"foreign workspace", `{"status":"DRAFT","blocks":[],"workspaceId":"wsElse"}`, 403, `"message"`},
		{"unknown workspace", `{"status":"DRAFT","blocks":[],"workspaceId":"550e8400-e29b-41d4-a716-446655440000"}`, 404, `Workspace was not found`},
		{"unknown folder", `{"status":"DRAFT","blocks":[],"folderId":"nobody"}`, 404, `Folder was not found`},
		{
			"title shares group", `{"status":"DRAFT","blocks":[` +
				`{"uuid":"` + uuidA + `","type":"TITLE","groupUuid":"` + uuidB + `","groupType":"QUESTION","payload":{}},` +
				`{"uuid":"` + uuidC + `","type":"INPUT_TEXT","groupUuid":"` + uuidB + `","groupType":"INPUT_TEXT","payload":{}}]}`,
			400, `TITLE block must not share groupUuid with an input block`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do("POST /forms", tc.body).want(tc.want)
			if !strings.Contains(a.body, strings.ReplaceAll(tc.wantText, `"status`, `\"status`)) && !strings.Contains(a.body, tc.wantText) {
				t.Errorf("POST /forms %s = %s, want it to hold %s", tc.body, a.body, tc.wantText)
			}
		})
	}
	b.as("tly-sandbox-member").do("POST /forms", `{"status":"DRAFT","blocks":[]}`).want(201).wantAt("workspaceId", "wsTeam")
	b.as("tly-sandbox-other").do("POST /forms", `{"status":"DRAFT","blocks":[]}`).want(201).wantAt("workspaceId", "wsElse")
}

func TestCreatedPasswordIsShown(t *testing.T) {
	b := start(t)
	id := b.makeForm(`{"status":"DRAFT","blocks":[],"password":"open sesame"}`)
	b.do("GET /forms/"+id).want(200).wantAt("settings.password", "open sesame")
}

func TestUpdateForm(t *testing.T) {
	clock := newWatch()
	b := start(t, WithClock(clock.read))
	id := b.makeForm(titled)
	clock.wind(time.Minute)
	for _, tc := range []struct {
		name, body string
		wantName   any
		wantStatus string
		wantBlocks int
	}{
		{"nothing", `{}`, "Tea & cake", "PUBLISHED", 3},
		{"status", `{"status":"DRAFT"}`, "Tea & cake", "DRAFT", 3},
		{"name", `{"name":"Coffee"}`, "Coffee", "DRAFT", 3},
		{"blocks are replaced, the name stays as set", `{"blocks":` + oneBlock("DIVIDER", "{}") + `}`, "Coffee", "DRAFT", 1},
		{"no blocks", `{"blocks":[]}`, "Coffee", "DRAFT", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do("PATCH /forms/"+id, tc.body).want(200)
			a.wantAt("name", tc.wantName).wantAt("status", tc.wantStatus).wantAt("updatedAt", "2026-09-01T12:01:00.000Z")
			a.wantAt("createdAt", "2026-09-01T12:00:00.000Z").wantAt("blocks", nil)
			b.do("GET /forms/"+id).want(200).wantAt("blocks.#", tc.wantBlocks)
		})
	}
	b.do("GET /forms/"+id).want(200).wantAt("isNameModifiedByUser", true)
	b.do("PATCH /forms/"+id, `{"status":"DELETED"}`).want(400).wantAt("errors.0.type", "any.only")
	b.do("PATCH /forms/"+id, `{"workspaceId":"wsTeam"}`).want(400).wantAt("errors.0.type", "object.unknown")
	b.do("PATCH /forms/"+id, `{"blocks":null}`).want(400).wantAt("errors.0.type", "array.base")
}

func TestNameFollowsTheTitle(t *testing.T) {
	b := start(t)
	id := b.makeForm(titled)
	b.do("PATCH /forms/"+id, `{"blocks":`+oneBlock("FORM_TITLE", `{"html":"Lunch"}`)+`}`).want(200).wantAt("name", "Lunch")
	b.do("PATCH /forms/"+id, `{"blocks":`+oneBlock("FORM_TITLE", `{"safeHTMLSchema":[["Dinner&nbsp;"],["at eight",[["tag","div"]]]]}`)+`}`).
		want(200).wantAt("name", "Dinner at eight")
	b.do("PATCH /forms/"+id, `{"blocks":[]}`).want(200).wantAt("name", nil)
}

func TestSettingsPatch(t *testing.T) {
	for _, tc := range []struct {
		name         string
		patch        SettingsPatch
		wantLanguage any
		wantProgress any
	}{
		{"merge", Merge, "en", true},
		{"replace", Replace, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, WithSettingsPatch(tc.patch))
			b.do("PATCH /forms/Feedbk", `{"settings":{"isClosed":true,"submissionsLimit":5}}`).want(200).wantAt("isClosed", true)
			a := b.do("GET /forms/Feedbk").want(200).wantAt("settings.#", 40)
			a.wantAt("settings.language", tc.wantLanguage).wantAt("settings.hasProgressBar", tc.wantProgress)
			a.wantAt("settings.isClosed", true).wantAt("settings.submissionsLimit", 5.0)
			b.do("PATCH /forms/Feedbk", `{"settings":null}`).want(200)
			b.do("GET /forms/Feedbk").want(200).wantAt("settings.isClosed", true)
		})
	}
}

func TestSettingsRule(t *testing.T) {
	for _, tc := range []struct{ name, settings, want string }{
		{"null", `null`, ""},
		{"theme as object", `{"styles":{"theme":"CUSTOM"}}`, ""},
		{"theme as text", `{"styles":"body{}"}`, ""},
		{"rich text", `{"redirectOnCompletion":{"html":"https://example.com","mentions":[]}}`, ""},
		{"rich text as text", `{"redirectOnCompletion":"https://example.com"}`, ""},
		{"observed only", `{"metaTitle":"T","selfEmailSendingDomainId":null}`, ""},
		{"a number for rich text", `{"selfEmailTo":7}`, `"settings.selfEmailTo" must be of type object`},
		{"text for a switch", `{"isClosed":"true"}`, `"settings.isClosed" must be a boolean`},
		{"text for a count", `{"submissionsLimit":"5"}`, `"settings.submissionsLimit" must be a number`},
		{"half a count", `{"submissionsLimit":5.5}`, `"settings.submissionsLimit" must be an integer`},
		{"a list", `[]`, `"settings" must be of type object`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if bad := settingsRule("settings", parsed(t, tc.settings)); bad != nil {
				got = bad.message()
			}
			if got != tc.want {
				t.Errorf("settingsRule(%s) = %q, want %q", tc.settings, got, tc.want)
			}
		})
	}
}

// What reading shows of the settings must be writable again.
func TestSettingsRoundTrip(t *testing.T) {
	b := start(t)
	before := b.do("GET /forms/Feedbk").want(200)
	settings, err := json.Marshal(before.at("settings"))
	if err != nil {
		t.Fatalf("Marshal() = %v, want no error", err)
	}
	b.do("PATCH /forms/Feedbk", fmt.Sprintf(`{"settings":%s}`, settings)).want(200)
	after, err := json.Marshal(b.do("GET /forms/Feedbk").want(200).at("settings"))
	if err != nil || string(after) != string(settings) {
		t.Errorf("settings = %s (%v), want %s", after, err, settings)
	}
}

func TestBlockRoutes(t *testing.T) {
	b := start(t)
	b.do("GET /forms/QuizMe/blocks").want(200).wantAt("#", 3).wantAt("id", "QuizMe").wantAt("name", "Which coffee are you?").
		wantAt("blocks.0.type", "FORM_TITLE")
	a := b.do("PATCH /forms/QuizMe/blocks", `{"blocks":`+oneBlock("TEXT", `{"html":"a<br>b"}`)+`,"settings":{"language":"nl"}}`).want(200)
	a.wantAt("blocks.#", 1).wantAt("name", nil).wantAt("blocks.0.payload.safeHTMLSchema.#", 3)
	b.do("GET /forms/QuizMe").want(200).wantAt("blocks.#", 1).wantAt("settings.language", "nl")
	b.do("PATCH /forms/QuizMe/blocks", `{}`).want(400).wantAt("message", `"blocks" is required`)
	b.do("PATCH /forms/nobody/blocks", `{"blocks":[]}`).want(404)
	b.do("GET /forms/nobody/blocks").want(404)
}

// Numbers must come back as they were written.
func TestNumbersSurvive(t *testing.T) {
	b := start(t)
	id := b.makeForm(`{"status":"DRAFT","blocks":` + oneBlock("INPUT_NUMBER", `{"minNumber":1e3,"maxNumber":12345678901234567.25}`) + `}`)
	a := b.do("GET /forms/" + id).want(200)
	for _, want := range []string{`"minNumber":1e3`, `"maxNumber":12345678901234567.25`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("GET /forms/%s = %s, want it to hold %s", id, a.body, want)
		}
	}
}
