package service

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const (
	optionA, optionB = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
	rowA, rowB       = "bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
)

// ids stands short names for ids in a delivery of these tests.
var ids = strings.NewReplacer("OPTIONS", `"options":[{"id":"A","text":"Tea"},{"id":"B","text":"Coffee"}]`, `"A"`, `"`+optionA+`"`, `"B"`, `"`+optionB+`"`,
	`_A"`, "_"+optionA+`"`, `_B"`, "_"+optionB+`"`, `"R"`, `"`+rowA+`"`, `"S"`, `"`+rowB+`"`)

// delivering returns the body of a delivery with the fields.
func delivering(fields string) []byte {
	return []byte(`{"eventId":"e","eventType":"FORM_RESPONSE","createdAt":"2026-09-01T12:00:00.889Z","data":{"responseId":"s1","submissionId":"s1",` +
		`"respondentId":"r1","formId":"f1","formName":"Form","createdAt":"2026-09-01T12:00:00.000Z","fields":[` + ids.Replace(ids.Replace(fields)) + `]}}`)
}

func choices(idsAndLabels ...string) *tallydv1.Choices {
	c := &tallydv1.Choices{}
	for i := 0; i < len(idsAndLabels); i += 2 {
		c.Choices = append(c.Choices, &tallydv1.Choice{OptionId: idsAndLabels[i], Label: idsAndLabels[i+1]})
	}
	return c
}

func responseOf(kind, json string, answer *tallydv1.QuestionResponse) *tallydv1.QuestionResponse {
	r := &tallydv1.QuestionResponse{QuestionId: "q1"}
	proto.Merge(r, answer)
	r.QuestionType, r.AnswerJson, r.FormId, r.SubmissionId, r.RespondentId = kind, ids.Replace(ids.Replace(json)), "f1", "s1", "r1"
	return r
}

func chosen(c *tallydv1.Choices) *tallydv1.QuestionResponse {
	return &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Choices{Choices: c}}
}

func textAs(text string) *tallydv1.QuestionResponse {
	return &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Text{Text: text}}
}

func hiddenAs(values map[string]string) *tallydv1.QuestionResponse {
	return &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_HiddenFields{HiddenFields: &tallydv1.HiddenFields{Values: values}}}
}

func matrixAs(rows ...*tallydv1.MatrixRow) *tallydv1.QuestionResponse {
	return &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Matrix{Matrix: &tallydv1.Matrix{Rows: rows}}}
}

// TestTypeDelivery types what a delivery may hold for one question, sound and odd. Without want the question has no response; with
// wantJSON that is kept as well, or alone.
func TestTypeDelivery(t *testing.T) {
	amount, both := 9.5, choices(optionA, "Tea", optionB, "Coffee").GetChoices()
	tests := []struct {
		name, kind, fields string
		want               *tallydv1.QuestionResponse
		wantJSON           string
		wantUnknown        []string
	}{
		{name: "text", kind: "INPUT_TEXT", fields: `{"key":"question_q1","label":"L","type":"INPUT_TEXT","value":"George "}`, want: textAs("George ")},
		{name: "label of null", kind: "INPUT_TEXT", fields: `{"key":"question_q1","label":null,"type":"INPUT_TEXT","value":"x"}`, want: textAs("x")},
		{name: "keys in another order", kind: "INPUT_TEXT", fields: `{"value":"x","type":"INPUT_TEXT","new":{"a":[1]},"key":"question_q1"}`, want: textAs("x")},
		{name: "key with escapes", kind: "INPUT_TEXT", fields: `{"k\u0065y":"question\u005fq1","type":"INPUT_TEXT","value":"x"}`, want: textAs("x")},
		{name: "null", fields: `{"key":"question_q1","type":"INPUT_TEXT","value":null}`},
		{name: "no value", fields: `{"key":"question_q1","type":"INPUT_TEXT"}`},
		{name: "null for a field", fields: `null`},
		{name: "empty text", kind: "INPUT_TEXT", fields: `{"key":"question_q1","type":"INPUT_TEXT","value":""}`, want: textAs("")},
		{name: "flag for text", kind: "INPUT_TEXT", fields: `{"key":"question_q1","type":"INPUT_TEXT","value":true}`, wantJSON: `true`, wantUnknown: []string{"INPUT_TEXT:flag"}},
		{name: "half an emoji", kind: "INPUT_TEXT", fields: `{"key":"question_q1","type":"INPUT_TEXT","value":"a\ud83d"}`, want: textAs("a\uFFFD"), wantJSON: `"a\ud83d"`},
		{
			name: "number as text", kind: "RATING", fields: `{"key":"question_q1","type":"RATING","value":"4"}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Number{Number: 4}},
		},
		{name: "NaN", kind: "INPUT_NUMBER", fields: `{"key":"question_q1","type":"INPUT_NUMBER","value":"NaN"}`, wantJSON: `"NaN"`, wantUnknown: []string{"INPUT_NUMBER:text"}},
		{name: "number that a double rounds", kind: "INPUT_NUMBER", fields: `{"key":"question_q1","type":"INPUT_NUMBER","value":9007199254740993}`, wantJSON: `9007199254740993`, wantUnknown: []string{"INPUT_NUMBER:number"}},
		{name: "unknown type", kind: "HOLOGRAM", fields: `{"key":"question_q1","type":"HOLOGRAM","value":{"x":1}}`, wantJSON: `{"x":1}`, wantUnknown: []string{"HOLOGRAM"}},
		{
			name: "unknown type in parts", kind: "HOLOGRAM", fields: `{"key":"question_q1_x","type":"HOLOGRAM","value":1},{"key":"question_q1_y_z","type":"HOLOGRAM","value":[2]}`,
			wantJSON: `{"x":1,"y_z":[2]}`, wantUnknown: []string{"HOLOGRAM"},
		},
		{name: "no type", fields: `{"key":"question_q1","value":"x"}`, want: &tallydv1.QuestionResponse{}, wantJSON: `"x"`, wantUnknown: []string{"TYPE_MISSING"}},
		{name: "no key", kind: "INPUT_TEXT", fields: `{"type":"INPUT_TEXT","value":"x"}`, want: &tallydv1.QuestionResponse{QuestionId: "none", Answer: textAs("x").GetAnswer()}},
		{name: "key of another kind", kind: "INPUT_TEXT", fields: `{"key":"q1_a","type":"INPUT_TEXT","value":"x"}`, want: &tallydv1.QuestionResponse{QuestionId: "none", Answer: textAs("x").GetAnswer()}},
		{
			name: "the same field twice", kind: "INPUT_TEXT", want: textAs("x"),
			fields: `{"key":"question_q1","type":"INPUT_TEXT","value":"x"},{"key":"question_q1","type":"INPUT_TEXT","value":"x"}`,
		},
		{
			name: "null and a value", kind: "INPUT_TEXT", want: textAs("x"),
			fields: `{"key":"question_q1","type":"INPUT_TEXT","value":null},{"key":"question_q1","type":"INPUT_TEXT","value":"x"}`,
		},
		{
			name: "two values of a field", kind: "INPUT_NUMBER", wantUnknown: []string{"INPUT_NUMBER:twice"},
			fields:   `{"key":"question_q1","type":"INPUT_NUMBER","value":1},{"key":"question_q1","type":"INPUT_NUMBER","value":2}`,
			wantJSON: `[{"key":"question_q1","value":1},{"key":"question_q1","value":2}]`,
		},
		{
			name: "parts beside a value", kind: "INPUT_PHONE_NUMBER", want: textAs("+32"), wantUnknown: []string{"INPUT_PHONE_NUMBER:more"},
			fields:   `{"key":"question_q1","type":"INPUT_PHONE_NUMBER","value":"+32"},{"key":"question_q1_country","type":"INPUT_PHONE_NUMBER","value":"BE"}`,
			wantJSON: `[{"key":"question_q1","value":"+32"},{"key":"question_q1_country","value":"BE"}]`,
		},
		{name: "choice", kind: "DROPDOWN", fields: `{"key":"question_q1","type":"DROPDOWN","value":["B"],OPTIONS}`, want: chosen(choices(optionB, "Coffee"))},
		{name: "choice of 2022", kind: "MULTIPLE_CHOICE", fields: `{"key":"question_q1","type":"MULTIPLE_CHOICE","value":"A",OPTIONS}`, want: chosen(choices(optionA, "Tea"))},
		{name: "choice by label", kind: "DROPDOWN", fields: `{"key":"question_q1","type":"DROPDOWN","value":["Tea"],OPTIONS}`, want: chosen(choices(optionA, "Tea"))},
		{
			name: "choice by an id that is no UUID", kind: "DROPDOWN", want: chosen(choices("7", "Tea")),
			fields: `{"key":"question_q1","type":"DROPDOWN","value":[7],"options":[{"id":7,"text":"Tea"}]}`,
		},
		{name: "choice that no option has", kind: "DROPDOWN", fields: `{"key":"question_q1","type":"DROPDOWN","value":["R","Milk"],OPTIONS}`, want: chosen(choices(rowA, "", "", "Milk"))},
		{name: "no choice of a list", kind: "DROPDOWN", fields: `{"key":"question_q1","type":"DROPDOWN","value":[],OPTIONS}`, want: chosen(choices())},
		{name: "options that are no list", kind: "DROPDOWN", fields: `{"key":"question_q1","type":"DROPDOWN","value":["A"],"options":{"A":"Tea"}}`, want: chosen(choices(optionA, ""))},
		{name: "odd options", kind: "DROPDOWN", fields: `{"key":"question_q1","type":"DROPDOWN","value":["A"],"options":[null,5,{"id":null,"text":"Tea"},{"id":"A","text":null}]}`, want: chosen(choices(optionA, ""))},
		{
			name: "options of the same text", kind: "DROPDOWN", want: chosen(choices(optionB, "Tea", "", "Tea")),
			fields: `{"key":"question_q1","type":"DROPDOWN","value":["B","Tea"],"options":[{"id":"A","text":"Tea"},{"id":"B","text":"Tea"}]}`,
		},
		{name: "flag for a choice", kind: "CHECKBOX", fields: `{"key":"question_q1","type":"CHECKBOX","value":true}`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Boolean{Boolean: true}}},
		{
			name: "ticked, and once more by option", kind: "CHECKBOXES", want: chosen(choices(optionB, "Coffee")),
			fields: `{"key":"question_q1","type":"CHECKBOXES","value":["B"],OPTIONS},{"key":"question_q1_A","type":"CHECKBOXES","value":false},{"key":"question_q1_B","type":"CHECKBOXES","value":true}`,
		},
		{
			name: "ticked by option alone", kind: "CHECKBOXES", want: chosen(choices(optionA, "", optionB, "")),
			fields: `{"key":"question_q1_A","type":"CHECKBOXES","value":true},{"key":"question_q1_B","type":"CHECKBOXES","value":true}`,
		},
		{name: "nothing ticked", fields: `{"key":"question_q1","type":"CHECKBOXES","value":null,OPTIONS},{"key":"question_q1_A","type":"CHECKBOXES","value":false}`},
		{
			name: "ranking", kind: "RANKING", fields: `{"key":"question_q1","type":"RANKING","value":["B","A"],OPTIONS}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Ranking{Ranking: choices(optionB, "Coffee", optionA, "Tea")}},
		},
		{
			name: "matrix", kind: "MATRIX", fields: `{"key":"question_q1","label":"Rate","type":"MATRIX","value":{"S":["B"],"R":["A","B"]},` +
				`"rows":[{"id":"R","text":"Rate [ms]"},{"id":"S","text":""}],"columns":[{"id":"A","text":"Tea"},{"id":"B","text":"Coffee"}]}`,
			want: matrixAs(&tallydv1.MatrixRow{RowId: rowA, Row: "Rate [ms]", Columns: both}, &tallydv1.MatrixRow{RowId: rowB, Columns: both[1:]}),
		},
		{
			name: "matrix without rows or columns", kind: "MATRIX", fields: `{"key":"question_q1","label":null,"type":"MATRIX","value":{"S":"B","R":null},"rows":null}`,
			want: matrixAs(&tallydv1.MatrixRow{RowId: rowB, Columns: choices(optionB, "").GetChoices()}),
		},
		{
			name: "matrix that has a row twice", kind: "MATRIX", fields: `{"key":"question_q1","type":"MATRIX","value":{"x":["B"],"x":["A"]}}`,
			wantJSON: `{"x":["B"],"x":["A"]}`, wantUnknown: []string{"MATRIX:object"},
		},
		{
			name: "payment", kind: "PAYMENT", fields: `{"key":"question_q1_price","type":"PAYMENT","value":9.5},{"key":"question_q1_currency","type":"PAYMENT","value":"EUR"},{"key":"question_q1_name","type":"PAYMENT","value":null}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Payment{Payment: &tallydv1.PaymentAnswer{Amount: &amount, Currency: "EUR"}}},
		},
		{
			name: "payment with more than is known", kind: "PAYMENT", fields: `{"key":"question_q1_price","type":"PAYMENT","value":9.5},{"key":"question_q1_tax","type":"PAYMENT","value":1}`,
			want:     &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Payment{Payment: &tallydv1.PaymentAnswer{Amount: &amount}}},
			wantJSON: `{"price":9.5,"tax":1}`, wantUnknown: []string{"PAYMENT:more"},
		},
		{name: "no payment", fields: `{"key":"question_q1_price","type":"PAYMENT","value":null},{"key":"question_q1_currency","type":"PAYMENT","value":null}`},
		{
			name: "hidden", kind: "HIDDEN_FIELDS", want: hiddenAs(map[string]string{"utm": "mail", "table": "5", optionB: "x"}),
			fields: `{"key":"question_q1_R","label":"utm","type":"HIDDEN_FIELDS","value":"mail"},{"key":"question_q1_S","label":"ref","type":"HIDDEN_FIELDS","value":null},` +
				`{"key":"question_q1_A","label":"table","type":"HIDDEN_FIELDS","value":5},{"key":"question_q1_B","label":null,"type":"HIDDEN_FIELDS","value":"x"}`,
		},
		{
			name: "hidden under one name", kind: "HIDDEN_FIELDS", want: hiddenAs(map[string]string{"utm": "y"}), wantJSON: `{"A":"x","B":"y"}`, wantUnknown: []string{"HIDDEN_FIELDS:more"},
			fields: `{"key":"question_q1_A","label":"utm","type":"HIDDEN_FIELDS","value":"x"},{"key":"question_q1_B","label":"utm","type":"HIDDEN_FIELDS","value":"y"}`,
		},
		{
			name: "hidden, the type once", kind: "HIDDEN_FIELDS", want: hiddenAs(map[string]string{"utm": "x", "ref": "y"}),
			fields: `{"key":"question_q1_A","label":"utm","type":"HIDDEN_FIELDS","value":"x"},{"key":"question_q1_B","label":"ref","value":"y"}`,
		},
		{name: "hidden, not by field", kind: "HIDDEN_FIELDS", want: hiddenAs(map[string]string{"utm": "x"}), fields: `{"key":"question_q1","label":"utm","type":"HIDDEN_FIELDS","value":"x"}`},
		{
			name: "calculated", kind: "CALCULATED_FIELDS",
			fields: `{"key":"question_q1_B","label":"Type","type":"CALCULATED_FIELDS","value":"Hard"},{"key":"question_q1_A","label":"Score","type":"CALCULATED_FIELDS","value":20}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Calculated{Calculated: &tallydv1.CalculatedValues{Values: []*tallydv1.CalculatedValue{
				{Name: "Score", Value: &tallydv1.CalculatedValue_Number{Number: 20}}, {Name: "Type", Value: &tallydv1.CalculatedValue_Text{Text: "Hard"}},
			}}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var unknown []string
			got, err := typeDelivery(delivering(test.fields), func(kind string) { unknown = append(unknown, kind) })
			if err != nil {
				t.Fatalf("typeDelivery() = %v, want nil", err)
			}
			want := &tallydv1.Submission{Id: "s1", FormId: "f1", RespondentId: "r1", IsCompleted: true, SubmitTime: timestamppb.New(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC))}
			if test.want != nil || test.wantJSON != "" {
				response := responseOf(test.kind, test.wantJSON, test.want)
				if response.GetQuestionId() == "none" {
					response.QuestionId = ""
				}
				want.Responses = append(want.Responses, response)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("typeDelivery(%s) (-want +got):\n%s", test.fields, diff)
			}
			if !slices.Equal(unknown, test.wantUnknown) {
				t.Errorf("unknown = %q, want %q", unknown, test.wantUnknown)
			}
		})
	}
}

// TestTypeDeliveryOrder keeps the order of the questions, each with all of its fields, wherever they stand.
func TestTypeDeliveryOrder(t *testing.T) {
	got, err := typeDelivery(delivering(`{"key":"question_z","type":"INPUT_TEXT","value":"1"},{"key":"question_h_1","label":"a","type":"HIDDEN_FIELDS","value":"2"},
		{"value":"3","type":"TEXTAREA"},{"key":"question_a","type":"INPUT_TEXT","value":"4"},{"key":"question_h_2","label":"b","type":"HIDDEN_FIELDS","value":"5"},{"value":"6","type":"TEXTAREA"}`), func(string) {})
	if err != nil {
		t.Fatalf("typeDelivery() = %v, want nil", err)
	}
	var order []string
	for _, r := range got.GetResponses() {
		order = append(order, r.GetQuestionId())
	}
	if want := []string{"z", "h", "", "a", ""}; !slices.Equal(order, want) || len(got.GetResponses()[1].GetHiddenFields().GetValues()) != 2 {
		t.Errorf("questions = %q, %v, want %q with both values of h", order, got.GetResponses()[1], want)
	}
}
