package sandbox

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var deliverAt = time.Date(2026, 9, 1, 12, 0, 0, 889e6, time.UTC)

// delivered writes the fields of one question's answer as a webhook carries it.
func delivered(t *testing.T, q *question, value any) string {
	t.Helper()
	text, err := json.Marshal(q.deliver(value))
	if err != nil {
		t.Fatalf("Marshal() = %v, want no error", err)
	}
	return string(text)
}

func titledQuestion(kind string) *question {
	title := "Ask"
	return &question{id: "q1", kind: kind, title: &title}
}

func TestDeliveryFields(t *testing.T) {
	choice := titledQuestion("DROPDOWN")
	choice.options = []option{{ID: "o1", Text: "Easy"}, {ID: "o2", Text: "Hard"}}
	boxes := titledQuestion("CHECKBOXES")
	boxes.options = choice.options
	matrix := titledQuestion("MATRIX")
	matrix.rows, matrix.columns = []option{{ID: "r1", Text: "Speed"}}, []option{{ID: "c1", Text: "Good"}}
	hidden := &question{id: "q1", kind: "HIDDEN_FIELDS", named: []namedField{{uuid: "u1", name: "utm"}, {uuid: "u2", name: "ref"}}}
	calculated := &question{id: "q1", kind: "CALCULATED_FIELDS", named: []namedField{{uuid: "u1", name: "Score"}}}
	const options = `"options":[{"id":"o1","text":"Easy"},{"id":"o2","text":"Hard"}]`
	for _, tc := range []struct {
		name  string
		q     *question
		value any
		want  string
	}{
		{"text", titledQuestion("INPUT_TEXT"), "Hello", `[{"key":"question_q1","label":"Ask","type":"INPUT_TEXT","value":"Hello"}]`},
		{"unanswered", titledQuestion("INPUT_NUMBER"), nil, `[{"key":"question_q1","label":"Ask","type":"INPUT_NUMBER","value":null}]`},
		{"choice", choice, []string{"o2"}, `[{"key":"question_q1","label":"Ask","type":"DROPDOWN","value":["o2"],` + options + `}]`},
		{"unanswered choice", choice, nil, `[{"key":"question_q1","label":"Ask","type":"DROPDOWN","value":null,` + options + `}]`},
		{
			"checkboxes", boxes, []string{"o2"}, `[{"key":"question_q1","label":"Ask","type":"CHECKBOXES","value":["o2"],` + options + `},` +
				`{"key":"question_q1_o1","label":"Ask (Easy)","type":"CHECKBOXES","value":false},` +
				`{"key":"question_q1_o2","label":"Ask (Hard)","type":"CHECKBOXES","value":true}]`,
		},
		{
			"matrix", matrix, map[string][]string{"r1": {"c1"}}, `[{"key":"question_q1","label":"Ask","type":"MATRIX","value":{"r1":["c1"]},` +
				`"rows":[{"id":"r1","text":"Speed"}],"columns":[{"id":"c1","text":"Good"}]}]`,
		},
		{
			"hidden", hidden, map[string]any{"u1": "mail"}, `[{"key":"question_q1_u1","label":"utm","type":"HIDDEN_FIELDS","value":"mail"},` +
				`{"key":"question_q1_u2","label":"ref","type":"HIDDEN_FIELDS","value":null}]`,
		},
		{"calculated", calculated, map[string]any{"u1": 20}, `[{"key":"question_q1_u1","label":"Score","type":"CALCULATED_FIELDS","value":20}]`},
		{
			"payment", titledQuestion("PAYMENT"),
			payment{9, "USD", "N", "e", "l"},
			`[{"key":"question_q1_price","label":"Ask (price)","type":"PAYMENT","value":9},` +
				`{"key":"question_q1_currency","label":"Ask (currency)","type":"PAYMENT","value":"USD"},` +
				`{"key":"question_q1_name","label":"Ask (name)","type":"PAYMENT","value":"N"},` +
				`{"key":"question_q1_email","label":"Ask (email)","type":"PAYMENT","value":"e"},` +
				`{"key":"question_q1_link","label":"Ask (link)","type":"PAYMENT","value":"l"}]`,
		},
		{"captcha", titledQuestion("CAPTCHA"), nil, `null`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := delivered(t, tc.q, tc.value); got != tc.want {
				t.Errorf("deliver(%v) = %s, want %s", tc.value, got, tc.want)
			}
		})
	}
}

func TestDeliveredOther(t *testing.T) {
	q := titledQuestion("CHECKBOXES")
	q.options = threeOptions
	fields := q.deliver([]string{"o1", "Mauve"})
	ids := fields[0].Value.([]string)
	if len(fields[0].Options) != 4 || fields[0].Options[3] != (option{ID: ids[1], Text: "Mauve"}) || len(q.options) != 3 {
		t.Errorf("options = %v, want the typed text as a fourth and the question unchanged", fields[0].Options)
	}
	if last := fields[len(fields)-1]; *last.Label != "Ask (Mauve)" || last.Value != true {
		t.Errorf("last field = %s %v, want Ask (Mauve) true", *last.Label, last.Value)
	}
}

func TestUnansweredPayment(t *testing.T) {
	if got := delivered(t, titledQuestion("PAYMENT"), nil); strings.Count(got, `"value":null`) != 5 {
		t.Errorf("deliver(nil) = %s, want five null values", got)
	}
}

func TestDeliveryEnvelope(t *testing.T) {
	name := "Form"
	f := &form{id: "frm", name: &name}
	sub := &submission{id: "sub", at: deliverAt, completed: true, seed: 4}
	want := `{"eventId":"` + uuidA + `","eventType":"FORM_RESPONSE","createdAt":"2026-09-01T12:00:00.889Z",` +
		`"data":{"responseId":"sub","submissionId":"sub","respondentId":"` + sub.respondent() + `","formId":"frm",` +
		`"formName":"Form","createdAt":"2026-09-01T12:00:00.000Z","fields":[]}}`
	if got := string(delivery(f, sub, uuidA, deliverAt)); got != want {
		t.Errorf("delivery() = %s, want %s", got, want)
	}
}

func TestSeededEventsKeepTheirPayload(t *testing.T) {
	b := start(t)
	const call = "GET /webhooks/whkCrm/events"
	before := b.do(call).want(200)
	b.do("PATCH /forms/Contct", `{"blocks":[]}`).want(200)
	if after := b.do(call).want(200); strings.Count(after.body, `"key":`) != strings.Count(before.body, `"key":`) {
		t.Errorf("events lost fields when the form changed")
	}
}
