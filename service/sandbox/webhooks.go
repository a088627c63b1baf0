package sandbox

import (
	"net/http"
	"slices"
)

type webhook struct {
	ID                 string       `json:"id"`
	FormID             string       `json:"formId"`
	URL                string       `json:"url"`
	SigningSecret      *string      `json:"signingSecret"`
	HTTPHeaders        []httpHeader `json:"httpHeaders"`
	EventTypes         []string     `json:"eventTypes"`
	ExternalSubscriber *string      `json:"externalSubscriber"`
	IsEnabled          bool         `json:"isEnabled"`
	LastSyncedAt       *stamp       `json:"lastSyncedAt"`
	CreatedAt          stamp        `json:"createdAt"`
	UpdatedAt          stamp        `json:"updatedAt"`

	events []*event
}

type httpHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type createdWebhook struct {
	ID         string   `json:"id"`
	URL        string   `json:"url"`
	EventTypes []string `json:"eventTypes"`
	IsEnabled  bool     `json:"isEnabled"`
	CreatedAt  stamp    `json:"createdAt"`
}

var webhookKeys = []key{
	need("formId", word), need("url", webURL), need("eventTypes", filled(listOf(oneOf("FORM_RESPONSE")))),
}

var webhookExtras = []key{
	maybe("signingSecret", nullable(text)),
	maybe("httpHeaders", nullable(listOf(object(need("name", word), need("value", text))))),
	maybe("externalSubscriber", nullable(text)),
}

var (
	createWebhookBody = object(keys(webhookKeys, webhookExtras)...)
	updateWebhookBody = object(keys(webhookKeys, []key{need("isEnabled", boolean)}, webhookExtras)...)
)

type webhookPage struct {
	Webhooks   []webhook `json:"webhooks"`
	Page       int       `json:"page"`
	Limit      int       `json:"limit"`
	HasMore    bool      `json:"hasMore"`
	TotalCount int       `json:"totalCount"`
}

// listWebhooks answers 401 until the account first had a webhook.
// [behaviour webhooks-never-used]
func listWebhooks(_ *Sandbox, c *call) *reply {
	if !c.org.hadWebhook {
		return unauthorized()
	}
	mine := []webhook{}
	for _, w := range c.state.webhooks {
		if f := c.state.form(w.FormID); f != nil && c.state.mayRead(c.user, f) {
			mine = append(mine, *w)
		}
	}
	limit := c.number("limit", 25)
	items, number, more := pageOf(c, mine, limit)
	return ok(webhookPage{items, number, limit, more, len(mine)})
}

// createWebhook answers with five keys only. [behaviour webhook-create-answer]
func createWebhook(s *Sandbox, c *call) *reply {
	if _, refusal := s.formNamed(c, c.body["formId"].(string)); refusal != nil {
		return refusal
	}
	w := &webhook{ID: c.state.newID(), IsEnabled: true, CreatedAt: stamp(c.now)}
	w.replace(c)
	c.state.webhooks = append(c.state.webhooks, w)
	c.org.hadWebhook = true
	return created(createdWebhook{w.ID, w.URL, w.EventTypes, w.IsEnabled, w.CreatedAt})
}

// replace takes everything from the body: what it leaves out is emptied.
// [behaviour webhook-full-replace]
func (w *webhook) replace(c *call) {
	w.FormID, w.URL = c.body["formId"].(string), c.body["url"].(string)
	w.EventTypes = []string{}
	for _, t := range c.body["eventTypes"].([]any) {
		w.EventTypes = append(w.EventTypes, t.(string))
	}
	w.SigningSecret = optionalText(c.body["signingSecret"])
	w.HTTPHeaders = nil
	headers, _ := c.body["httpHeaders"].([]any)
	for _, item := range headers {
		h := item.(map[string]any)
		w.HTTPHeaders = append(w.HTTPHeaders, httpHeader{h["name"].(string), h["value"].(string)})
	}
	if subscriber, given := c.body["externalSubscriber"]; given {
		w.ExternalSubscriber = optionalText(subscriber)
	}
	w.UpdatedAt = stamp(c.now)
}

func optionalText(v any) *string {
	if s, ok := v.(string); ok {
		return &s
	}
	return nil
}

// updateWebhook answers with an empty body. [behaviour empty-answers]
func updateWebhook(s *Sandbox, c *call) *reply {
	w, refusal := s.webhookOf(c)
	if refusal != nil {
		return refusal
	}
	if _, refusal := s.formNamed(c, c.body["formId"].(string)); refusal != nil {
		return refusal
	}
	w.replace(c)
	w.IsEnabled = c.body["isEnabled"].(bool)
	return empty(http.StatusOK)
}

func deleteWebhook(s *Sandbox, c *call) *reply {
	w, refusal := s.webhookOf(c)
	if refusal != nil {
		return refusal
	}
	c.state.webhooks = slices.DeleteFunc(slices.Clone(c.state.webhooks), func(o *webhook) bool { return o == w })
	return empty(http.StatusNoContent)
}

func (s *Sandbox) webhookOf(c *call) (*webhook, *reply) {
	w := c.state.webhook(c.path("webhookId"))
	if w == nil {
		return nil, notFound("Webhook")
	}
	if f := c.state.form(w.FormID); f == nil || !c.state.mayRead(c.user, f) {
		return nil, forbidden()
	}
	return w, nil
}

type eventPage struct {
	Page    int         `json:"page"`
	Limit   int         `json:"limit"`
	HasMore bool        `json:"hasMore"`
	Total   int         `json:"totalNumberOfEvents"`
	Events  []eventView `json:"events"`
}

// listEvents answers newest first, 25 a page. [behaviour events-newest-first]
func listEvents(s *Sandbox, c *call) *reply {
	w, refusal := s.webhookOf(c)
	if refusal != nil {
		return refusal
	}
	newest := slices.Clone(w.events)
	slices.Reverse(newest)
	items, number, more := pageOf(c, newest, 25)
	views := make([]eventView, len(items))
	for i, e := range items {
		views[i] = e.view(w, c.state.form(e.formID))
	}
	return ok(eventPage{number, 25, more, len(w.events), views})
}

// retryEvent sends the same payload again, at once. [behaviour event-retry]
func retryEvent(s *Sandbox, c *call) *reply {
	w, refusal := s.webhookOf(c)
	if refusal != nil {
		return refusal
	}
	e := first(w.events, func(e *event) bool { return e.id == c.path("eventId") })
	if e == nil {
		return notFound("Event")
	}
	e.retry++
	e.status, e.updatedAt = "QUEUED", c.now
	s.courier.once(w, e, e.body(c.state.form(e.formID)))
	return empty(http.StatusNoContent)
}
