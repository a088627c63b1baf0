package sandbox

import (
	"fmt"
	"strings"
	"testing"
)

func TestListWebhooks(t *testing.T) {
	b := start(t)
	a := b.do("GET /webhooks").want(200)
	for path, want := range map[string]any{
		"page": 1.0, "limit": 25.0, "hasMore": false, "totalCount": 3.0, "webhooks.#": 3, "#": 5,
		"webhooks.0.id": "whkCrm", "webhooks.0.formId": "Contct", "webhooks.0.signingSecret": "saltmarsh-crm-secret",
		"webhooks.0.httpHeaders.0.name": "X-Source", "webhooks.0.eventTypes.0": "FORM_RESPONSE", "webhooks.0.isEnabled": true,
		"webhooks.0.externalSubscriber": nil, "webhooks.1.externalSubscriber": "N8N", "webhooks.1.signingSecret": nil,
		"webhooks.1.httpHeaders": nil, "webhooks.2.isEnabled": false, "webhooks.2.lastSyncedAt": nil,
	} {
		a.wantAt(path, want)
	}
	b.do("GET /webhooks?limit=2").want(200).wantAt("webhooks.#", 2).wantAt("hasMore", true).wantAt("totalCount", 3.0)
	b.do("GET /webhooks?limit=2&page=2").want(200).wantAt("webhooks.#", 1).wantAt("hasMore", false)
	b.as("tly-sandbox-member").do("GET /webhooks").want(200).wantAt("totalCount", 0.0)
}

func TestWebhooksNeverUsed(t *testing.T) {
	b := start(t).as("tly-sandbox-other")
	b.do("GET /webhooks").want(401).wantBody("Unauthorized")
	id := b.do("POST /webhooks", `{"formId":"Choirs","url":"http://127.0.0.1:1/x","eventTypes":["FORM_RESPONSE"]}`).want(201).at("id")
	b.do("GET /webhooks").want(200).wantAt("totalCount", 1.0)
	b.do(fmt.Sprintf("DELETE /webhooks/%s", id)).want(204)
	b.do("GET /webhooks").want(200).wantAt("totalCount", 0.0)
}

func TestCreateWebhook(t *testing.T) {
	b := start(t)
	a := b.do("POST /webhooks", `{"formId":"Contct","url":"https://example.com/hook","eventTypes":["FORM_RESPONSE"],
		"signingSecret":"x","httpHeaders":[{"name":"A","value":"b"}],"externalSubscriber":"my-app"}`).want(201)
	a.wantAt("#", 5).wantAt("url", "https://example.com/hook").wantAt("isEnabled", true).wantAt("eventTypes.#", 1)
	list := b.do("GET /webhooks").want(200).wantAt("totalCount", 4.0)
	list.wantAt("webhooks.3.id", a.at("id")).wantAt("webhooks.3.signingSecret", "x").wantAt("webhooks.3.httpHeaders.0.value", "b").
		wantAt("webhooks.3.externalSubscriber", "my-app").wantAt("webhooks.3.lastSyncedAt", nil)
	b.do(fmt.Sprintf("GET /webhooks/%s/events", a.at("id"))).want(200).
		wantBody(`{"page":1,"limit":25,"hasMore":false,"totalNumberOfEvents":0,"events":[]}`)
}

func TestWebhookBodies(t *testing.T) {
	b := start(t)
	const good = `"formId":"Contct","url":"https://example.com/hook","eventTypes":["FORM_RESPONSE"]`
	for _, tc := range []struct {
		name, body string
		wantCreate int
		wantUpdate int
		wantType   string
	}{
		{"complete", `{` + good + `,"isEnabled":true}`, 400, 200, "object.unknown"},
		{"without isEnabled", `{` + good + `}`, 201, 400, "any.required"},
		{"nulls", `{` + good + `,"signingSecret":null,"httpHeaders":null,"externalSubscriber":null}`, 201, 400, "any.required"},
		{"nothing", `{}`, 400, 400, "any.required"},
		{"no url", `{"formId":"Contct","eventTypes":["FORM_RESPONSE"],"isEnabled":true}`, 400, 400, "any.required"},
		{"no form", `{"url":"https://example.com","eventTypes":["FORM_RESPONSE"]}`, 400, 400, "any.required"},
		{"no events", `{"formId":"Contct","url":"https://example.com"}`, 400, 400, "any.required"},
		{"empty events", `{"formId":"Contct","url":"https://example.com","eventTypes":[]}`, 400, 400, "array.min"},
		{"another event", `{"formId":"Contct","url":"https://example.com","eventTypes":["FORM_VIEW"]}`, 400, 400, "any.only"},
		{"url without scheme", `{"formId":"Contct","url":"example.com","eventTypes":["FORM_RESPONSE"]}`, 400, 400, "string.uriCustomScheme"},
		{"file url", `{"formId":"Contct","url":"file:///etc/passwd","eventTypes":["FORM_RESPONSE"]}`, 400, 400, "string.uriCustomScheme"},
		{"headers as object", `{` + good + `,"isEnabled":true,"httpHeaders":{"A":"b"}}`, 400, 400, "array.base"},
		{"header without value", `{` + good + `,"isEnabled":true,"httpHeaders":[{"name":"A"}]}`, 400, 400, "any.required"},
		{"unknown key", `{` + good + `,"name":"x"}`, 400, 400, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			for call, want := range map[string]int{"POST /webhooks": tc.wantCreate, "PATCH /webhooks/whkOff": tc.wantUpdate} {
				a := b.do(call, tc.body).want(want)
				if want == 400 && tc.wantType != "" {
					a.wantAt("errors.0.type", tc.wantType)
				}
			}
		})
	}
}

func TestWebhookFormMustBeMine(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		form string
		want int
	}{{"Choirs", 403}, {"nobody", 404}, {"OldOne", 404}} {
		t.Run(tc.form, func(t *testing.T) {
			b := b.in(t)
			body := `{"formId":"` + tc.form + `","url":"https://example.com","eventTypes":["FORM_RESPONSE"]`
			b.do("POST /webhooks", body+`}`).want(tc.want)
			b.do("PATCH /webhooks/whkCrm", body+`,"isEnabled":true}`).want(tc.want)
		})
	}
	b.do("GET /webhooks").want(200).wantAt("webhooks.0.formId", "Contct")
}

// PATCH of a webhook is a full replace, despite the verb.
func TestUpdateWebhookReplaces(t *testing.T) {
	b := start(t)
	a := b.do("PATCH /webhooks/whkCrm", `{"formId":"Feedbk","url":"https://example.com/new","eventTypes":["FORM_RESPONSE"],"isEnabled":false}`)
	a.want(200).wantBody("")
	if got := a.header.Get("Content-Type"); got != "" {
		t.Errorf("Content-Type = %q, want none on an empty body", got)
	}
	b.do("GET /webhooks").want(200).wantAt("webhooks.0.signingSecret", nil).wantAt("webhooks.0.httpHeaders", nil).
		wantAt("webhooks.0.formId", "Feedbk").wantAt("webhooks.0.isEnabled", false).wantAt("webhooks.0.url", "https://example.com/new")
}

func TestWebhookAccess(t *testing.T) {
	b := start(t)
	update := `{"formId":"Holidy","url":"https://example.com","eventTypes":["FORM_RESPONSE"],"isEnabled":true}`
	for _, tc := range []struct {
		name, call, body string
		want             int
	}{
		{"update unknown", "PATCH /webhooks/nobody", update, 404},
		{"delete unknown", "DELETE /webhooks/nobody", "", 404},
		{"events of unknown", "GET /webhooks/nobody/events", "", 404},
		{"retry of unknown", "POST /webhooks/nobody/events/x", "", 404},
		{"retry of unknown event", "POST /webhooks/whkCrm/events/nobody", "", 404},
	} {
		t.Run(tc.name, func(t *testing.T) { b.in(t).do(tc.call, tc.body).want(tc.want) })
	}
	for _, key := range []string{"tly-sandbox-member", "tly-sandbox-other"} {
		other := b.as(key)
		other.do("DELETE /webhooks/whkCrm").want(403)
		other.do("GET /webhooks/whkCrm/events").want(403)
		other.do("POST /webhooks/whkCrm/events/x").want(403)
		other.do("PATCH /webhooks/whkCrm", update).want(403)
	}
	b.do("DELETE /webhooks/whkCrm").want(204).wantBody("")
	b.do("GET /webhooks").want(200).wantAt("totalCount", 2.0)
	b.do("GET /webhooks/whkCrm/events").want(404)
}

func TestEventHistory(t *testing.T) {
	b := start(t)
	a := b.do("GET /webhooks/whkCrm/events").want(200)
	for path, want := range map[string]any{
		"page": 1.0, "limit": 25.0, "hasMore": true, "totalNumberOfEvents": 40.0, "events.#": 25, "#": 5,
		"events.0.deliveryStatus": "DROPPED", "events.0.statusCode": nil, "events.0.response": nil, "events.0.retry": 5.0,
		"events.0.webhookId": "whkCrm", "events.0.webhookUrl": "https://crm.example.com/hooks/tally",
		"events.0.eventType": "FORM_RESPONSE", "events.2.deliveryStatus": "SUCCEEDED", "events.2.statusCode": 204.0,
		"events.5.deliveryStatus": "FAILED", "events.5.statusCode": 503.0, "events.5.retry": 2.0,
		"events.6.response": "ok", "events.0.payload.eventType": "FORM_RESPONSE", "events.0.payload.data.formId": "Contct",
	} {
		a.wantAt(path, want)
	}
	b.do("GET /webhooks/whkCrm/events?page=2").want(200).wantAt("events.#", 15).wantAt("hasMore", false)
	for i := 1; i < 25; i++ {
		newer, older := a.at(fmt.Sprintf("events.%d.createdAt", i-1)).(string), a.at(fmt.Sprintf("events.%d.createdAt", i)).(string)
		if newer < older {
			t.Errorf("event %d is of %s after %s, want newest first", i, older, newer)
		}
	}
	newest := b.do("GET /forms/Contct/submissions?limit=1&filter=completed").want(200).at("submissions.0.id")
	a.wantAt("events.0.payload.data.submissionId", newest)
}

func TestRetryEvent(t *testing.T) {
	r := &receiver{answer: status(200, "thanks")}
	b := start(t, func(o *options) { o.transport = r })
	b.s.mu.Lock()
	w := b.s.state.webhook("whkCrm")
	w.URL = local
	b.s.mu.Unlock()
	before := b.do("GET /webhooks/whkCrm/events").want(200)
	id := before.at("events.0.id").(string)
	b.do("POST /webhooks/whkCrm/events/" + id).want(204).wantBody("")
	b.s.settle()
	b.do("GET /webhooks/whkCrm/events").want(200).wantAt("totalNumberOfEvents", 40.0).wantAt("events.0.id", id).
		wantAt("events.0.deliveryStatus", "SUCCEEDED").wantAt("events.0.retry", 6.0).wantAt("events.0.response", "thanks")
	if len(r.bodies) != 1 || !strings.Contains(r.bodies[0], before.at("events.0.payload.eventId").(string)) {
		t.Errorf("sent = %v, want the same payload once", r.bodies)
	}
}

func TestFailedRetryByHand(t *testing.T) {
	b := start(t)
	id := b.do("GET /webhooks/whkNps/events").want(200).at("events.0.id").(string)
	b.do("POST /webhooks/whkNps/events/" + id).want(204)
	b.s.settle()
	b.do("GET /webhooks/whkNps/events").want(200).wantAt("events.0.deliveryStatus", "FAILED").wantAt("events.0.response", loopbackOnly)
}
