package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// event is one delivery of one submission to one webhook. A seeded event
// keeps its submission instead of a payload and writes it out when asked.
type event struct {
	id, eventID, formID, url string
	status                   string
	statusCode               *int
	response                 *string
	retry                    int
	payload                  json.RawMessage
	submission               *submission
	createdAt, updatedAt     time.Time
}

type eventView struct {
	ID             string          `json:"id"`
	WebhookID      string          `json:"webhookId"`
	WebhookURL     string          `json:"webhookUrl"`
	EventType      string          `json:"eventType"`
	DeliveryStatus string          `json:"deliveryStatus"`
	StatusCode     *int            `json:"statusCode"`
	Response       *string         `json:"response"`
	Retry          int             `json:"retry"`
	Payload        json.RawMessage `json:"payload"`
	CreatedAt      stamp           `json:"createdAt"`
	UpdatedAt      stamp           `json:"updatedAt"`
}

func (e *event) view(w *webhook, f *form) eventView {
	return eventView{
		ID: e.id, WebhookID: w.ID, WebhookURL: e.url, EventType: "FORM_RESPONSE", DeliveryStatus: e.status,
		StatusCode: e.statusCode, Response: e.response, Retry: e.retry, Payload: e.body(f),
		CreatedAt: stamp(e.createdAt), UpdatedAt: stamp(e.updatedAt),
	}
}

// body is what was or will be sent; it is the same for every attempt.
func (e *event) body(f *form) json.RawMessage {
	if e.payload != nil {
		return e.payload
	}
	return delivery(f, e.submission, e.eventID, e.createdAt)
}

type deliveryBody struct {
	EventID   string       `json:"eventId"`
	EventType string       `json:"eventType"`
	CreatedAt stamp        `json:"createdAt"`
	Data      deliveryData `json:"data"`
}

type deliveryData struct {
	ResponseID   string          `json:"responseId"`
	SubmissionID string          `json:"submissionId"`
	RespondentID string          `json:"respondentId"`
	FormID       string          `json:"formId"`
	FormName     *string         `json:"formName"`
	CreatedAt    stamp           `json:"createdAt"`
	Fields       []deliveryField `json:"fields"`
}

type deliveryField struct {
	Key     string   `json:"key"`
	Label   *string  `json:"label"`
	Type    string   `json:"type"`
	Value   any      `json:"value"`
	Options []option `json:"options,omitempty"`
	Rows    []option `json:"rows,omitempty"`
	Columns []option `json:"columns,omitempty"`
}

// delivery writes the payload; unanswered questions stay, with a null value.
// [behaviour delivery-payload]
func delivery(f *form, sub *submission, eventID string, now time.Time) json.RawMessage {
	values := map[string]any{}
	for _, a := range sub.list(f) {
		values[a.question.id] = a.value
	}
	fields := []deliveryField{}
	for _, q := range sub.questions(f) {
		fields = append(fields, q.deliver(values[q.id])...)
	}
	payload, err := json.Marshal(deliveryBody{
		EventID: eventID, EventType: "FORM_RESPONSE", CreatedAt: stamp(now),
		Data: deliveryData{
			ResponseID: sub.id, SubmissionID: sub.id, RespondentID: sub.respondent(), FormID: f.id, FormName: f.name,
			CreatedAt: stamp(sub.at.Truncate(time.Second)), Fields: fields,
		},
	})
	if err != nil {
		// Values come from JSON or from the generator; neither holds what cannot be written.
		return json.RawMessage(`{}`)
	}
	return payload
}

// questions are those the respondent saw.
func (sub *submission) questions(f *form) []*question {
	if sub.plan != nil {
		return sub.plan.questions
	}
	return f.questions
}

func (q *question) deliver(value any) []deliveryField {
	field := deliveryField{Key: "question_" + q.id, Label: q.title, Type: q.kind, Value: value}
	switch q.kind {
	case "CAPTCHA":
		return nil
	case "HIDDEN_FIELDS", "CALCULATED_FIELDS":
		return q.deliverNamed(field, value)
	case "PAYMENT":
		return q.deliverPayment(field, value)
	case "MATRIX":
		field.Rows, field.Columns = q.rows, q.columns
	case "CHECKBOXES":
		field = q.deliverChoices(field, value)
		return append([]deliveryField{field}, q.explode(field)...)
	case "MULTIPLE_CHOICE", "DROPDOWN", "MULTI_SELECT", "RANKING":
		field = q.deliverChoices(field, value)
	}
	return []deliveryField{field}
}

func (q *question) deliverNamed(field deliveryField, value any) []deliveryField {
	values, _ := value.(map[string]any)
	fields := make([]deliveryField, len(q.named))
	for i, n := range q.named {
		fields[i] = deliveryField{Key: field.Key + "_" + n.uuid, Label: &n.name, Type: q.kind, Value: values[n.uuid]}
	}
	return fields
}

func (q *question) deliverPayment(field deliveryField, value any) []deliveryField {
	paid, answered := value.(payment)
	parts := []struct {
		name  string
		value any
	}{{"price", paid.Price}, {"currency", paid.Currency}, {"name", paid.Name}, {"email", paid.Email}, {"link", paid.Link}}
	fields := make([]deliveryField, len(parts))
	for i, part := range parts {
		label := fmt.Sprintf("%s (%s)", q.words(), part.name)
		fields[i] = deliveryField{Key: field.Key + "_" + part.name, Label: &label, Type: q.kind}
		if answered {
			fields[i].Value = part.value
		}
	}
	return fields
}

// deliverChoices lists the options; what was typed under "Other" becomes one
// more of them. [behaviour delivery-other]
func (q *question) deliverChoices(field deliveryField, value any) deliveryField {
	field.Options = q.options
	chosen, answered := value.([]string)
	if !answered {
		return field
	}
	ids := make([]string, len(chosen))
	for i, id := range chosen {
		ids[i] = id
		if first(pointers(q.options), func(o *option) bool { return o.ID == id }) == nil {
			ids[i] = uuidOf(hashText(q.id, id))
			field.Options = append(slices.Clip(field.Options), option{ID: ids[i], Text: id})
		}
	}
	field.Value = ids
	return field
}

// explode adds a boolean per option of a checkbox question.
func (q *question) explode(field deliveryField) []deliveryField {
	chosen := map[string]bool{}
	ids, _ := field.Value.([]string)
	for _, id := range ids {
		chosen[id] = true
	}
	fields := make([]deliveryField, len(field.Options))
	for i, o := range field.Options {
		label := fmt.Sprintf("%s (%s)", q.words(), o.Text)
		fields[i] = deliveryField{Key: field.Key + "_" + o.ID, Label: &label, Type: q.kind, Value: chosen[o.ID]}
	}
	return fields
}

func pointers[T any](list []T) []*T {
	all := make([]*T, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}
