package sandbox

import (
	"strings"
	"testing"
)

func TestControlSubmit(t *testing.T) {
	b := start(t, WithRate(5))
	for range 10 {
		b.as("").do("POST /_sandbox/forms/NewsLt/submissions").want(201).wantAt("formId", "NewsLt")
	}
	id := b.do("POST /_sandbox/forms/NewsLt/submissions", `{"Your e-mail address":"new@example.com"}`).want(201).at("submissionId").(string)
	b.do("GET /forms/NewsLt/submissions?limit=1").want(200).wantAt("submissions.0.id", id).
		wantAt("submissions.0.responses.0.answer", "new@example.com").wantAt("totalNumberOfSubmissionsPerFilter.all", 1511.0)
	partial := b.do("POST /_sandbox/forms/Feedbk/submissions?partial=true", `{"How did your drink taste?":3}`).want(201).at("submissionId").(string)
	b.do("GET /forms/Feedbk/submissions/"+partial).want(200).wantAt("submission.isCompleted", false)
}

func TestControlSubmitRefusals(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, form, body string
		want             int
		wantMessage      string
	}{
		{"unknown form", "nobody", "", 404, `form "nobody" is unknown`},
		{"closed", "Raffle", "{}", 409, `form "Raffle" is closed`},
		{"no such question", "NewsLt", `{"Age":7,"Your e-mail address":"x"}`, 400, `form has no question "Age"`},
		{"no JSON", "NewsLt", `{`, 400, "body is not JSON: unexpected EOF"},
		{"an array", "NewsLt", `[]`, 400, "body must be a JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			b.do("POST /_sandbox/forms/"+tc.form+"/submissions", tc.body).want(tc.want).wantAt("message", tc.wantMessage)
		})
	}
}

func TestControlPlan(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, body string
		want       int
		wantText   string
	}{
		{"down", `{"plan":"FREE"}`, 204, ""},
		{"up again", `{"plan":"PRO","organizationId":"orgSal"}`, 204, ""},
		{"the other", `{"plan":"BUSINESS","organizationId":"orgElt"}`, 204, ""},
		{"unknown plan", `{"plan":"GOLD"}`, 400, `plan \"GOLD\" is unknown: use FREE, PRO or BUSINESS`},
		{"unknown organization", `{"plan":"PRO","organizationId":"nobody"}`, 400, `organization \"nobody\" is unknown`},
		{"nothing", `{}`, 400, `plan \"\" is unknown`},
		{"no JSON", `x`, 400, "body is not JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			if a := b.do("PUT /_sandbox/plan", tc.body).want(tc.want); !strings.Contains(a.body, tc.wantText) {
				t.Errorf("body = %s, want %s", a.body, tc.wantText)
			}
		})
	}
	b.do("GET /users/me").want(200).wantAt("subscriptionPlan", "PRO")
	b.as("tly-sandbox-other").do("GET /users/me").want(200).wantAt("subscriptionPlan", "BUSINESS")
}

func TestControlKeys(t *testing.T) {
	b := start(t)
	b.do("DELETE /_sandbox/keys/tly-sandbox").want(204)
	b.do("GET /users/me").want(401)
	b.do("PUT /_sandbox/keys/tly-sandbox").want(204)
	b.do("GET /users/me").want(200)
	b.do("DELETE /_sandbox/keys/nobody").want(404).wantAt("message", "key is unknown")
}

func TestControlRequests(t *testing.T) {
	b := start(t)
	b.do("GET /users/me").want(200)
	b.do("GET /users/me").want(200)
	b.as("nobody").do("GET /users/me").want(401)
	b.do("GET /nowhere").want(404)
	a := b.do("GET /_sandbox/requests").want(200).wantAt("#", 2)
	a.wantAt("GET /users/me.total", 3.0).wantAt("GET /users/me.200", 2.0).wantAt("GET /users/me.401", 1.0).wantAt("unmatched.404", 1.0)
	b.do("DELETE /_sandbox/requests").want(204)
	b.do("GET /_sandbox/requests").want(200).wantBody("{}")
}

func TestControlFaults(t *testing.T) {
	b := start(t)
	b.do("PUT /_sandbox/faults", `[{"route":"GET /users/me","status":503}]`).want(204)
	b.do("GET /users/me").want(503)
	b.do("PUT /_sandbox/faults", `[{"route":"GET /users/me","status":1}]`).want(400).
		wantAt("message", `rule 0: field "status" must be a whole number from 200 to 999`)
	b.do("GET /users/me").want(503)
	b.do("DELETE /_sandbox/faults").want(204)
	b.do("GET /users/me").want(200)
}

func TestControlReset(t *testing.T) {
	b := start(t, WithRate(3))
	id := b.do("POST /_sandbox/forms/NewsLt/submissions").want(201).at("submissionId").(string)
	b.do("DELETE /forms/Contct").want(204)
	b.do("PATCH /workspaces/wsCust", `{"name":"x"}`).want(200)
	b.do("GET /forms/NewsLt/submissions/" + id).want(200)
	b.do("GET /users/me").want(429)
	b.do("POST /_sandbox/reset").want(204)
	b.do("GET /_sandbox/requests").want(200).wantBody("{}")
	b.do("GET /forms/NewsLt/submissions/" + id).want(404)
	b.do("GET /forms/Contct").want(200)
	b.do("GET /workspaces/wsCust").want(200).wantAt("name", "Customers")
}

func TestControlBehaviours(t *testing.T) {
	a := start(t).do("GET /_sandbox/behaviours").want(200)
	if got, want := a.at("#"), len(Behaviours()); got != want {
		t.Errorf("behaviours = %v, want %d", got, want)
	}
	a.wantAt("0.#", 3)
}

func TestControlUnknown(t *testing.T) {
	b := start(t)
	b.do("GET /_sandbox/nothing").want(404)
	b.do("GET /_sandbox/plan").want(405)
}
