package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestTypeDeliveryBody reads what surrounds the answers.
func TestTypeDeliveryBody(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC))
	tests := []struct {
		name, body string
		want       *tallydv1.Submission
	}{
		{"links", `{"data":{"submissionId":"s1","submissionPreviewUrl":"https://p","submissionPdfUrl":"https://d"}}`, &tallydv1.Submission{Id: "s1", PreviewUrl: "https://p", PdfUrl: "https://d"}},
		{"response id alone", `{"data":{"responseId":"s1"}}`, &tallydv1.Submission{Id: "s1"}},
		{"null for everything else", `{"eventId":null,"eventType":null,"createdAt":null,"data":{"responseId":null,"submissionId":"s1","respondentId":null,"formId":null,"createdAt":null,"fields":null}}`, &tallydv1.Submission{Id: "s1"}},
		{"numbers for text", `{"data":{"submissionId":17,"formId":1e2,"respondentId":{"id":"r"}}}`, &tallydv1.Submission{Id: "17", FormId: "1e2"}},
		{"time of a zone", `{"data":{"submissionId":"s1","createdAt":"2026-09-01T14:00:00+02:00"}}`, &tallydv1.Submission{Id: "s1", SubmitTime: at}},
		{"time that is none", `{"data":{"submissionId":"s1","createdAt":"yesterday"}}`, &tallydv1.Submission{Id: "s1", SubmitTimeRaw: "yesterday"}},
		{"time before Christ", `{"data":{"submissionId":"s1","createdAt":"0000-09-01T14:00:00Z"}}`, &tallydv1.Submission{Id: "s1", SubmitTimeRaw: "0000-09-01T14:00:00Z"}},
		{"time as a number", `{"data":{"submissionId":"s1","createdAt":1693569600}}`, &tallydv1.Submission{Id: "s1", SubmitTimeRaw: "1693569600"}},
		{"no Unicode", "{\"data\":{\"submissionId\":\"s1\",\"formName\":\"\xff\xfe\"}}", &tallydv1.Submission{Id: "s1", Lossy: true}},
		{"half an emoji", `{"data":{"submissionId":"s1","respondentId":"a\ud83d"}}`, &tallydv1.Submission{Id: "s1", RespondentId: "a\uFFFD", Lossy: true}},
		{"the same id twice", `{"data":{"submissionId":"s1","submissionId":"s1"}}`, &tallydv1.Submission{Id: "s1"}},
		{"white space", " {\n\"data\" : {\"submissionId\"\t:\"s1\"} }\r\n", &tallydv1.Submission{Id: "s1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := typeDelivery([]byte(test.body), func(string) {})
			if err != nil {
				t.Fatalf("typeDelivery(%q) = %v, want nil", test.body, err)
			}
			test.want.IsCompleted = true
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("typeDelivery(%q) (-want +got):\n%s", test.body, diff)
			}
		})
	}
}

// TestTypeDeliveryRefuses demands an error that tells the place and nothing of what stood there.
func TestTypeDeliveryRefuses(t *testing.T) {
	const secret = "Rumpelstiltskin"
	field := `{"key":"question_q1","type":"INPUT_TEXT","value":"` + secret + `"}`
	sound := string(delivering(field))
	tests := map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "text": `"` + secret + `"`, "page": "<html>" + secret, "byte order mark": "\ufeff" + sound,
		"cut": sound[:len(sound)-3], "two values": sound + sound, "garbage behind": sound + secret,
		"no data": `{"eventType":"FORM_RESPONSE"}`, "data of null": `{"data":null}`, "data as text": `{"data":"` + secret + `"}`, "no id": `{"data":{"formId":"f1"}}`,
		"another event": strings.Replace(sound, "FORM_RESPONSE", secret, 1), "two ids": `{"data":{"submissionId":"` + secret + `","submissionId":"s2"}}`,
		"fields in an object": `{"data":{"submissionId":"s1","fields":{"a":` + field + `}}}`, "text for a field": string(delivering(`"` + secret + `"`)),
		"value twice": string(delivering(`{"key":"question_q1","value":"` + secret + `","value":"x"}`)), "NaN": string(delivering(`{"key":"question_q1","value":NaN}`)),
		"nested deeply":   string(delivering(`{"key":"question_q1","value":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`)),
		"too large":       `{"data":{"submissionId":"s1","formName":"` + strings.Repeat("x", maxDeliveryBytes) + `"}}`,
		"too many fields": string(delivering(strings.Repeat("null,", maxDeliveryItems) + field)),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := typeDelivery([]byte(body), func(string) {})
			if !errors.Is(err, errDelivery) || got != nil {
				t.Fatalf("typeDelivery(%.40q) = %v, %v, want errDelivery", body, got, err)
			}
			if strings.Contains(err.Error(), secret) || len(err.Error()) > 120 {
				t.Errorf("typeDelivery(%.40q) = %v, want nothing of the answers", body, err)
			}
		})
	}
}

// TestTypeDeliveryLeavesTheBody demands that the stored bytes stay what they are.
func TestTypeDeliveryLeavesTheBody(t *testing.T) {
	body := delivering(`{"key":"question_q1","label":"a\u00e9","type":"DROPDOWN","value":["A"],OPTIONS},{"k\u0065y":"question_q2","value":"` + "\xff" + `"}`)
	before := bytes.Clone(body)
	if _, err := typeDelivery(body, func(string) {}); err != nil || !bytes.Equal(before, body) {
		t.Errorf("typeDelivery() = %v, body %q, want %q", err, body, before)
	}
}

// deliverySample returns a recorded payload, and skips the test where the folder of them is not at hand.
func deliverySample(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if data, err := os.ReadFile(filepath.Join(dir, "shared", "samples", name)); err == nil {
			return data
		}
	}
	t.Skipf("no folder of samples holds %s", name)
	return nil
}

// TestTypeDeliverySamples holds the recorded deliveries to the submissions in testdata.
func TestTypeDeliverySamples(t *testing.T) {
	for _, name := range []string{"webhook-01-official-all-field-types.json", "webhook-02-2022-multiple-choice-scalar-value.json"} {
		t.Run(name, func(t *testing.T) {
			got, err := typeDelivery(deliverySample(t, name), func(kind string) { t.Errorf("unknown %s", kind) })
			if err != nil {
				t.Fatalf("typeDelivery() = %v, want nil", err)
			}
			golden, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			want := &tallydv1.Submission{}
			if err := protojson.Unmarshal(golden, want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("typeDelivery(%s) (-want +got):\n%s", name, diff)
			}
		})
	}
}

// TestRESTSampleAsDelivery holds the recorded answers of GetSubmission against a delivery that says the same.
func TestRESTSampleAsDelivery(t *testing.T) {
	var page struct {
		Responses []struct {
			QuestionID string
			Answer     json.RawMessage
		}
	}
	if err := json.Unmarshal(deliverySample(t, "rest-answers-per-type-constructed.json"), &page); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{
		"qText": "INPUT_TEXT", "qNumber": "INPUT_NUMBER", "qChoice": "MULTIPLE_CHOICE", "qCheckboxes": "CHECKBOXES", "qMatrix": "MATRIX",
		"qFile": "FILE_UPLOAD", "qRating": "RATING", "qNull": "INPUT_TEXT",
	}
	// How the delivery words the answers that it does not word alike.
	values := map[string]string{
		"qChoice":     `["c1"],"options":[{"id":"c2","text":"Zufrieden"},{"id":"c1","text":"Sehr zufrieden"}]`,
		"qCheckboxes": `["o1","o2"],"options":[{"id":"o1","text":"Option A"},{"id":"o2","text":"Option B"}]`,
		"qMatrix": `{"eeb7ce0e-0000-4000-8000-000000000001":["m1"],"eeb7ce0e-0000-4000-8000-000000000002":["m2"]},` +
			`"columns":[{"id":"m1","text":"Hafif"},{"id":"m2","text":"Orta"}]`,
	}
	listed := &tallydv1.Submission{}
	var questions []*tallydv1.Question
	var fields []string
	for _, r := range page.Responses {
		kind := kinds[r.QuestionID]
		questions = append(questions, &tallydv1.Question{Id: r.QuestionID, Type: kind})
		if string(r.Answer) != "null" {
			listed.Responses = append(listed.Responses, &tallydv1.QuestionResponse{
				QuestionId: r.QuestionID, AnswerJson: string(r.Answer), FormId: "f1", SubmissionId: "s1", RespondentId: "r1",
			})
		}
		value := values[r.QuestionID]
		if value == "" {
			value = string(r.Answer)
		}
		fields = append(fields, `{"key":"question_`+r.QuestionID+`","type":"`+kind+`","value":`+value+`}`)
	}
	none := func(kind string) { t.Errorf("unknown %s", kind) }
	typeAnswers(questions, []*tallydv1.Submission{listed}, tallydv1.SubmissionView_SUBMISSION_VIEW_BASIC, none)
	delivered, err := typeDelivery(delivering(strings.Join(fields, ",")), none)
	if err != nil {
		t.Fatalf("typeDelivery() = %v, want nil", err)
	}
	of := func(id, text, id2, text2 string) optionSet {
		return newOptionSet([]option{{id: id, text: text}, {id: id2, text: text2}})
	}
	fillChoices(listed, formOptions{
		"qChoice":     {options: of("c1", "Sehr zufrieden", "c2", "Zufrieden")},
		"qCheckboxes": {options: of("o1", "Option A", "o2", "Option B")},
		"qMatrix":     {columns: of("m1", "Hafif", "m2", "Orta")},
	})
	if diff := cmp.Diff(listed.GetResponses(), delivered.GetResponses(), protocmp.Transform()); diff != "" {
		t.Errorf("responses (-GetSubmission +delivery):\n%s", diff)
	}
}

// FuzzTypeDelivery demands that nothing panics, that what comes out can be sent, and that an answer is typed or its JSON kept.
func FuzzTypeDelivery(f *testing.F) {
	for kind := range answerKinds {
		for _, value := range []string{`"x"`, `1`, `["a"]`, `{"a":["b"]}`, `true`, `null`, `"\ud800"`, `[{"id":"f","size":1}]`} {
			f.Add(delivering(`{"key":"question_q1","label":"L","type":"` + kind + `","value":` + value + `,OPTIONS},{"key":"question_q1_a","type":"` + kind + `","value":` + value + `}`))
		}
	}
	f.Add([]byte("{\"data\":{\"submissionId\":\"\xff\",\"fields\":[{\"value\":{\"a\":1,\"a\":2}}]}}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := typeDelivery(body, func(string) {})
		if err != nil {
			if !errors.Is(err, errDelivery) {
				t.Fatalf("typeDelivery(%q) = %v, want errDelivery", body, err)
			}
			return
		}
		if _, err := proto.Marshal(got); err != nil {
			t.Errorf("Marshal(typeDelivery(%q)) = %v, want nil", body, err)
		}
		for _, r := range got.GetResponses() {
			if r.GetAnswer() == nil && r.GetAnswerJson() == "" {
				t.Errorf("typeDelivery(%q) lost an answer: %v", body, r)
			}
			if r.GetAnswerJson() != "" && !json.Valid([]byte(r.GetAnswerJson())) {
				t.Errorf("typeDelivery(%q) has answer_json %q, want JSON", body, r.GetAnswerJson())
			}
		}
	})
}

// BenchmarkTypeDelivery types a delivery of 12 answers, a third of them choices.
func BenchmarkTypeDelivery(b *testing.B) {
	const options = `"options":[{"id":"A","text":"Tea"},{"id":"B","text":"Coffee"},{"id":"R","text":"Cocoa"},{"id":"S","text":"Water"}]`
	var fields []string
	for _, kind := range []string{"INPUT_TEXT", "INPUT_EMAIL", "INPUT_PHONE_NUMBER", "TEXTAREA"} {
		fields = append(fields, `{"key":"question_`+kind[len(kind)-4:]+`","label":"Tell us","type":"`+kind+`","value":"somebody@example.com"}`)
	}
	for _, kind := range []string{"MULTIPLE_CHOICE", "DROPDOWN", "MULTI_SELECT", "RANKING"} {
		fields = append(fields, `{"key":"question_`+kind[len(kind)-4:]+`","label":"Choose","type":"`+kind+`","value":["B","A"],`+options+`}`)
	}
	fields = append(fields,
		`{"key":"question_n1","label":"How many?","type":"INPUT_NUMBER","value":10}`, `{"key":"question_n2","label":"How good?","type":"RATING","value":4}`,
		`{"key":"question_n3","label":"When?","type":"INPUT_DATE","value":"2026-09-01"}`,
		`{"key":"question_n4_A","label":"utm_campaign","type":"HIDDEN_FIELDS","value":"newsletter"},{"key":"question_n4_B","label":"utm_source","type":"HIDDEN_FIELDS","value":null}`)
	body := delivering(strings.Join(fields, ","))
	got, err := typeDelivery(body, func(kind string) { b.Errorf("unknown %s", kind) })
	if err != nil || len(got.GetResponses()) != 12 {
		b.Fatalf("typeDelivery() = %d responses, %v, want 12", len(got.GetResponses()), err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = typeDelivery(body, func(string) {})
	}
}
