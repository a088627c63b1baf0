package service

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const optionUUID = "e7bfbbc6-c2e6-4821-8670-72ed1cb31cd5"

func labels(texts ...string) *tallydv1.Choices {
	choices := &tallydv1.Choices{}
	for _, text := range texts {
		choices.Choices = append(choices.Choices, &tallydv1.Choice{Label: text})
	}
	return choices
}

// TestTypeAnswers types one answer of each kind in each shape that Tally is known or suspected to send. A nil want means that only
// answer_json is kept, and counted as wantUnknown.
func TestTypeAnswers(t *testing.T) {
	amount, calculatedTitle, rowTitle, question := 9.5, "Score", "Rate [Speed]", "Rate"
	matrix := []*tallydv1.QuestionField{{Uuid: "row-1", Title: &rowTitle}}
	score := []*tallydv1.QuestionField{{Uuid: "field-1", Title: &calculatedTitle}}
	tests := []struct {
		name, kind, json string
		fields           []*tallydv1.QuestionField
		want             *tallydv1.QuestionResponse
		wantJSON         bool // answer_json is kept beside the typed answer in any view
		wantUnknown      string
	}{
		{name: "text", kind: "INPUT_TEXT", json: `"Hello "`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Text{Text: "Hello "}}},
		{name: "text with escapes", kind: "TEXTAREA", json: `"a\nb\u00e9"`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Text{Text: "a\nbé"}}},
		{name: "half an emoji", kind: "INPUT_TEXT", json: `"a\ud83d"`, wantJSON: true, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Text{Text: "a\uFFFD"}}},
		{name: "number for text", kind: "INPUT_TEXT", json: `5`, wantUnknown: "INPUT_TEXT:number"},
		{name: "number", kind: "INPUT_NUMBER", json: `-1.5`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Number{Number: -1.5}}},
		{name: "number as text", kind: "RATING", json: `"4"`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Number{Number: 4}}},
		{name: "number that a double rounds", kind: "INPUT_NUMBER", json: `9007199254740993`, wantUnknown: "INPUT_NUMBER:number"},
		{name: "number beyond a double", kind: "INPUT_NUMBER", json: `1e400`, wantUnknown: "INPUT_NUMBER:number"},
		{name: "no number", kind: "INPUT_NUMBER", json: `"many"`, wantUnknown: "INPUT_NUMBER:text"},
		{name: "date", kind: "INPUT_DATE", json: `"2024-02-29"`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Date{Date: &tallydv1.Date{Year: 2024, Month: 2, Day: 29}}}},
		{name: "no such day", kind: "INPUT_DATE", json: `"2023-02-29"`, wantUnknown: "INPUT_DATE:text"},
		{name: "range of days", kind: "INPUT_DATE", json: `["2023-01-01","2023-01-02"]`, wantUnknown: "INPUT_DATE:list"},
		{name: "time", kind: "INPUT_TIME", json: `"09:05"`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Time{Time: &tallydv1.TimeOfDay{Hours: 9, Minutes: 5}}}},
		{name: "labels", kind: "CHECKBOXES", json: `["A","B"]`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Choices{Choices: labels("A", "B")}}},
		{name: "id", kind: "DROPDOWN", json: `["` + optionUUID + `"]`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Choices{Choices: &tallydv1.Choices{Choices: []*tallydv1.Choice{{OptionId: optionUUID}}}}}},
		{name: "bare choice", kind: "MULTIPLE_CHOICE", json: `"A"`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Choices{Choices: labels("A")}}},
		{name: "ticked", kind: "CHECKBOXES", json: `true`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Boolean{Boolean: true}}},
		{name: "key that appears twice", kind: "MATRIX", json: `{"a":["x"],"a":["y"]}`, wantUnknown: "MATRIX:object"},
		{name: "objects for choices", kind: "MULTI_SELECT", json: `[{}]`, wantUnknown: "MULTI_SELECT:list"},
		{name: "ranking", kind: "RANKING", json: `["B","A"]`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Ranking{Ranking: labels("B", "A")}}},
		{
			name: "matrix", kind: "MATRIX", json: `{"zzz":["Ok"],"row-1":["Fast"],"aaa":"Bare"}`, fields: matrix,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Matrix{Matrix: &tallydv1.Matrix{Rows: []*tallydv1.MatrixRow{
				{RowId: "row-1", Row: "Speed", Columns: labels("Fast").GetChoices()},
				{RowId: "aaa", Columns: labels("Bare").GetChoices()},
				{RowId: "zzz", Columns: labels("Ok").GetChoices()},
			}}}},
		},
		{
			name: "matrix with an unanswered row", kind: "MATRIX", json: `{"row-1":null,"row-2":["Ok"]}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Matrix{Matrix: &tallydv1.Matrix{Rows: []*tallydv1.MatrixRow{
				{RowId: "row-2", Columns: labels("Ok").GetChoices()},
			}}}},
		},
		{
			name: "files", kind: "FILE_UPLOAD", json: `[{"id":"f","name":"cv.pdf","url":"https://x","mimeType":"application/pdf","size":20480}]`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Files{Files: &tallydv1.Files{Files: []*tallydv1.File{
				{Id: "f", Name: "cv.pdf", Url: "https://x", MimeType: "application/pdf", SizeBytes: 20480},
			}}}},
		},
		{
			name: "signature, not in a list", kind: "SIGNATURE", json: `{"id":"f"}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Signature{Signature: &tallydv1.Files{Files: []*tallydv1.File{{Id: "f"}}}}},
		},
		{
			name: "payment", kind: "PAYMENT", json: `{"price":9.5,"currency":"EUR","name":"A","email":"a@example.com","link":"l"}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Payment{Payment: &tallydv1.PaymentAnswer{
				Amount: &amount, Currency: "EUR", Name: "A", Email: "a@example.com", Link: "l",
			}}},
		},
		{
			name: "payment with more than is known", kind: "PAYMENT", json: `{"price":9.5,"tax":1}`, wantJSON: true, wantUnknown: "PAYMENT:more",
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Payment{Payment: &tallydv1.PaymentAnswer{Amount: &amount}}},
		},
		{
			name: "payment of two amounts", kind: "PAYMENT", json: `{"price":9.5,"amount":8}`, wantJSON: true, wantUnknown: "PAYMENT:more",
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Payment{Payment: &tallydv1.PaymentAnswer{Amount: &amount}}},
		},
		{
			name: "file with more than is known", kind: "FILE_UPLOAD", json: `[{"id":"f","pages":3}]`, wantJSON: true, wantUnknown: "FILE_UPLOAD:more",
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Files{Files: &tallydv1.Files{Files: []*tallydv1.File{{Id: "f"}}}}},
		},
		{
			name: "file of half a byte", kind: "FILE_UPLOAD", json: `[{"id":"f","size":0.5}]`, wantJSON: true, wantUnknown: "FILE_UPLOAD:more",
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Files{Files: &tallydv1.Files{Files: []*tallydv1.File{{Id: "f"}}}}},
		},
		{
			name: "time with a fraction", kind: "INPUT_TIME", json: `"09:05:01.5"`, wantJSON: true, wantUnknown: "INPUT_TIME:more",
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Time{Time: &tallydv1.TimeOfDay{Hours: 9, Minutes: 5, Seconds: 1}}},
		},
		{name: "payment as a number", kind: "PAYMENT", json: `9.5`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Payment{Payment: &tallydv1.PaymentAnswer{Amount: &amount}}}},
		{
			name: "hidden fields", kind: "HIDDEN_FIELDS", json: `{"utm":"mail","none":null}`,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_HiddenFields{HiddenFields: &tallydv1.HiddenFields{Values: map[string]string{"utm": "mail"}}}},
		},
		{
			name: "calculated by field", kind: "CALCULATED_FIELDS", json: `{"field-1":20}`, fields: score,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Calculated{Calculated: &tallydv1.CalculatedValues{Values: []*tallydv1.CalculatedValue{
				{Name: "Score", Value: &tallydv1.CalculatedValue_Number{Number: 20}},
			}}}},
		},
		{
			name: "calculated by fields, in the order of names", kind: "CALCULATED_FIELDS", json: `{"a":"Hard","field-1":20}`,
			fields: []*tallydv1.QuestionField{{Uuid: "a", Title: new("Type")}, {Uuid: "field-1", Title: &calculatedTitle}},
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Calculated{Calculated: &tallydv1.CalculatedValues{Values: []*tallydv1.CalculatedValue{
				{Name: "Score", Value: &tallydv1.CalculatedValue_Number{Number: 20}},
				{Name: "Type", Value: &tallydv1.CalculatedValue_Text{Text: "Hard"}},
			}}}},
		},
		{
			name: "calculated text", kind: "CALCULATED_FIELDS", json: `"Hard"`, fields: score,
			want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Calculated{Calculated: &tallydv1.CalculatedValues{Values: []*tallydv1.CalculatedValue{
				{Name: "Score", Value: &tallydv1.CalculatedValue_Text{Text: "Hard"}},
			}}}},
		},
		{name: "country", kind: "RESPONDENT_COUNTRY", json: `"BE"`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Country{Country: "BE"}}},
		{name: "wallet", kind: "WALLET_CONNECT", json: `{"address":"0xab"}`, want: &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Wallet{Wallet: "0xab"}}},
		{name: "kind that nobody knows", kind: "HOLOGRAM", json: `{"x":1}`, wantUnknown: "HOLOGRAM"},
		{name: "unanswered", kind: "INPUT_TEXT", want: &tallydv1.QuestionResponse{}},
	}
	for _, test := range tests {
		for _, view := range []tallydv1.SubmissionView{tallydv1.SubmissionView_SUBMISSION_VIEW_BASIC, tallydv1.SubmissionView_SUBMISSION_VIEW_FULL} {
			t.Run(test.name+"/"+view.String(), func(t *testing.T) {
				response := &tallydv1.QuestionResponse{QuestionId: "q1", AnswerJson: test.json}
				unknown := ""
				questions := []*tallydv1.Question{{Id: "q1", Type: test.kind, Title: &question, Fields: test.fields}}
				submissions := []*tallydv1.Submission{{Responses: []*tallydv1.QuestionResponse{response}}}
				typeAnswers(questions, submissions, view, func(kind string) { unknown = kind })
				want := &tallydv1.QuestionResponse{QuestionId: "q1", QuestionType: test.kind, Answer: test.want.GetAnswer()}
				if test.want == nil || test.wantJSON || view == tallydv1.SubmissionView_SUBMISSION_VIEW_FULL {
					want.AnswerJson = test.json
				}
				if diff := cmp.Diff(want, response, protocmp.Transform()); diff != "" {
					t.Errorf("typeAnswers(%s) (-want +got):\n%s", test.json, diff)
				}
				if unknown != test.wantUnknown {
					t.Errorf("unknown = %q, want %q", unknown, test.wantUnknown)
				}
			})
		}
	}
}

func TestTypeAnswersWithoutTheQuestion(t *testing.T) {
	response := &tallydv1.QuestionResponse{QuestionId: "q9", AnswerJson: `"x"`}
	unknown := ""
	typeAnswers(nil, []*tallydv1.Submission{{Responses: []*tallydv1.QuestionResponse{response}}}, 0, func(kind string) { unknown = kind })
	if response.GetAnswer() != nil || response.GetAnswerJson() != `"x"` || unknown != "QUESTION_MISSING" {
		t.Errorf("typeAnswers() = %v, unknown %q, want answer_json alone and QUESTION_MISSING", response, unknown)
	}
}

// FuzzTypeAnswers demands that nothing is lost and nothing panics: an answer is typed, or its JSON stays.
func FuzzTypeAnswers(f *testing.F) {
	for kind := range answerKinds {
		for _, seed := range []string{`"x"`, `1`, `["a"]`, `{"a":["b"]}`, `{`, `[`, `"`, ` `, `null`, `"\ud800"`} {
			f.Add(kind, seed)
		}
	}
	f.Fuzz(func(t *testing.T, kind, text string) {
		response := &tallydv1.QuestionResponse{QuestionId: "q", AnswerJson: text}
		typeAnswers([]*tallydv1.Question{{Id: "q", Type: kind}}, []*tallydv1.Submission{{Responses: []*tallydv1.QuestionResponse{response}}}, 0, func(string) {})
		if response.GetAnswer() == nil && response.GetAnswerJson() != text {
			t.Errorf("typeAnswers(%s, %q) lost the answer", kind, text)
		}
	})
}
