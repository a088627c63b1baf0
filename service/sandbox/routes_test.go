package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// everyRoute calls each of the 38 once, in an order in which all succeed.
var everyRoute = []struct {
	pattern, call, body string
	want                int
}{
	{"GET /users/me", "GET /users/me", "", 200},
	{"GET /organizations/{organizationId}/users", "GET /organizations/orgSal/users", "", 200},
	{"GET /organizations/{organizationId}/invites", "GET /organizations/orgSal/invites", "", 200},
	{"POST /organizations/{organizationId}/invites", "POST /organizations/orgSal/invites", `{"workspaceIds":["wsCust"],"emails":"new@example.com"}`, 204},
	{"DELETE /organizations/{organizationId}/invites/{inviteId}", "DELETE /organizations/orgSal/invites/invOda", "", 204},
	{"DELETE /organizations/{organizationId}/users/{userId}", "DELETE /organizations/orgSal/users/usrBea", "", 204},
	{"GET /forms", "GET /forms", "", 200},
	{"POST /forms", "POST /forms", `{"status":"DRAFT","blocks":[]}`, 201},
	{"GET /forms/{formId}", "GET /forms/Feedbk", "", 200},
	{"PATCH /forms/{formId}", "PATCH /forms/Feedbk", `{"name":"Feedback"}`, 200},
	{"GET /forms/{formId}/questions", "GET /forms/Feedbk/questions", "", 200},
	{"PATCH /forms/{formId}/questions/{questionId}", "PATCH /forms/Feedbk/questions/{question}", `{"title":"x"}`, 200},
	{"GET /forms/{formId}/blocks", "GET /forms/Feedbk/blocks", "", 200},
	{"PATCH /forms/{formId}/blocks", "PATCH /forms/Holidy/blocks", `{"blocks":[]}`, 200},
	{"GET /forms/{formId}/submissions", "GET /forms/Feedbk/submissions", "", 200},
	{"GET /forms/{formId}/submissions/{submissionId}", "GET /forms/Feedbk/submissions/{submission}", "", 200},
	{"DELETE /forms/{formId}/submissions/{submissionId}", "DELETE /forms/Feedbk/submissions/{submission}", "", 204},
	{"GET /forms/{formId}/analytics/metrics", "GET /forms/Feedbk/analytics/metrics?period=all", "", 200},
	{"GET /forms/{formId}/analytics/visits", "GET /forms/Feedbk/analytics/visits?period=7d", "", 200},
	{"GET /forms/{formId}/analytics/submissions", "GET /forms/Feedbk/analytics/submissions?period=24h", "", 200},
	{"GET /forms/{formId}/analytics/dimensions", "GET /forms/Feedbk/analytics/dimensions?period=12m", "", 200},
	{"GET /forms/{formId}/analytics/drop-off", "GET /forms/Feedbk/analytics/drop-off?period=today", "", 200},
	{"GET /workspaces", "GET /workspaces", "", 200},
	{"POST /workspaces", "POST /workspaces", `{"name":"New"}`, 201},
	{"GET /workspaces/{workspaceId}", "GET /workspaces/wsCust", "", 200},
	{"PATCH /workspaces/{workspaceId}", "PATCH /workspaces/wsCust", `{"name":"Guests"}`, 200},
	{"GET /workspaces/{workspaceId}/folders", "GET /workspaces/wsCust/folders", "", 200},
	{"POST /workspaces/{workspaceId}/folders", "POST /workspaces/wsCust/folders", `{"name":"New"}`, 201},
	{"PATCH /workspaces/{workspaceId}/folders/{folderId}", "PATCH /workspaces/wsCust/folders/fldCls", `{"name":"Courses"}`, 200},
	{"DELETE /workspaces/{workspaceId}/folders/{folderId}", "DELETE /workspaces/wsCust/folders/fldCls", "", 204},
	{"GET /webhooks", "GET /webhooks", "", 200},
	{"POST /webhooks", "POST /webhooks", `{"formId":"Feedbk","url":"https://example.com","eventTypes":["FORM_RESPONSE"]}`, 201},
	{"PATCH /webhooks/{webhookId}", "PATCH /webhooks/whkCrm", `{"formId":"Contct","url":"https://example.com","eventTypes":["FORM_RESPONSE"],"isEnabled":true}`, 200},
	{"GET /webhooks/{webhookId}/events", "GET /webhooks/whkCrm/events", "", 200},
	{"POST /webhooks/{webhookId}/events/{eventId}", "POST /webhooks/whkCrm/events/{event}", "", 204},
	{"DELETE /webhooks/{webhookId}", "DELETE /webhooks/whkCrm", "", 204},
	{"DELETE /forms/{formId}", "DELETE /forms/Contct", "", 204},
	{"DELETE /workspaces/{workspaceId}", "DELETE /workspaces/wsShop", "", 204},
}

func TestEveryRoute(t *testing.T) {
	b := start(t)
	ids := strings.NewReplacer(
		"{question}", b.do("GET /forms/Feedbk/questions").want(200).at("questions.0.id").(string),
		"{submission}", b.do("GET /forms/Feedbk/submissions").want(200).at("submissions.0.id").(string),
		"{event}", b.do("GET /webhooks/whkCrm/events").want(200).at("events.0.id").(string),
	)
	b.s.tally.reset()
	for _, r := range everyRoute {
		t.Run(r.pattern, func(t *testing.T) {
			b := b.in(t)
			a := b.do(ids.Replace(r.call), r.body).want(r.want)
			kind := a.header.Get("Content-Type")
			if a.body != "" && kind != "application/json; charset=utf-8" || a.body == "" && kind != "" {
				t.Errorf("Content-Type = %q for body %q, want JSON or none", kind, a.body)
			}
			if got := b.s.Requests()[r.pattern]; got != 1 {
				t.Errorf("Requests()[%q] = %d, want 1", r.pattern, got)
			}
		})
	}
}

func TestEveryRouteIsCalled(t *testing.T) {
	called := map[string]bool{}
	for _, r := range everyRoute {
		called[r.pattern] = true
	}
	for _, pattern := range patterns() {
		if !called[pattern] {
			t.Errorf("everyRoute in routes_test.go lacks a call of %s", pattern)
		}
		delete(called, pattern)
	}
	for pattern := range called {
		t.Errorf("%s is called and is no route", pattern)
	}
}

func TestEveryRouteNeedsAKey(t *testing.T) {
	b := start(t).as("tly-nobody")
	for _, r := range everyRoute {
		t.Run(r.pattern, func(t *testing.T) {
			b := b.in(t)
			b.do(strings.NewReplacer("{", "", "}", "").Replace(r.call), r.body).want(401).wantBody("Unauthorized")
		})
	}
}

func TestEveryRouteRefusesUnknownQuery(t *testing.T) {
	b := start(t, WithRate(0))
	for _, r := range everyRoute {
		t.Run(r.pattern, func(t *testing.T) {
			b := b.in(t)
			path, _, _ := strings.Cut(r.call, "?")
			a := b.do(strings.NewReplacer("{", "", "}", "").Replace(path)+"?period=all&colour=red", r.body).want(400)
			if got := a.at("errors.0.type"); got != "object.unknown" {
				t.Errorf("%s = %v, want object.unknown", r.pattern, got)
			}
		})
	}
}

func TestPageOf(t *testing.T) {
	list := []int{1, 2, 3, 4, 5}
	for _, tc := range []struct {
		name, page string
		limit      int
		want       []int
		wantMore   bool
	}{
		{"first", "", 2, []int{1, 2}, true},
		{"second", "2", 2, []int{3, 4}, true},
		{"last", "3", 2, []int{5}, false},
		{"exact", "1", 5, list, false},
		{"past", "4", 2, nil, false},
		{"huge", "2147483647", 500, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &call{query: map[string][]string{"page": {tc.page}}}
			got, _, more := pageOf(c, list, tc.limit)
			if !slices.Equal(got, tc.want) || more != tc.wantMore {
				t.Errorf("pageOf(%q) = %v, %v, want %v, %v", tc.page, got, more, tc.want, tc.wantMore)
			}
		})
	}
}
