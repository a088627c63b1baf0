package service_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/sandbox"
)

// fieldsOfRESTAlone clears what GetSubmission tells and a delivery does not: of the submission create_time, update_time, and
// preview_url and pdf_url, which only some deliveries have; of a response id, session_uuid, create_time, update_time,
// formatted_answer, and answer_json beside a typed answer, for a delivery words the same answer in another JSON.
func fieldsOfRESTAlone(s *tallydv1.Submission) {
	s.CreateTime, s.UpdateTime = nil, nil
	s.PreviewUrl, s.PdfUrl = "", ""
	for _, r := range s.GetResponses() {
		r.Id, r.SessionUuid, r.FormattedAnswer = "", "", nil
		r.CreateTime, r.UpdateTime = nil, nil
		if r.GetAnswer() != nil {
			r.AnswerJson = ""
		}
	}
}

// seedOfDeliveries writes the seed of the sandbox anew: all forms in one organization and open to be read, each with a webhook that
// delivered its latest submissions.
func seedOfDeliveries(t *testing.T, deliveries int) (file string, forms []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("sandbox", "seed.json"))
	if err != nil {
		t.Fatal(err)
	}
	var seed struct {
		Organizations []map[string]any `json:"organizations"`
	}
	if err := json.Unmarshal(text, &seed); err != nil {
		t.Fatal(err)
	}
	all, hooks := []any{}, []any{}
	for _, organization := range seed.Organizations {
		for _, seeded := range organization["forms"].([]any) {
			form := seeded.(map[string]any)
			form["workspaceId"], form["folderId"], form["status"] = "wsTeam", nil, "PUBLISHED"
			if form["submissions"] == nil {
				form["submissions"] = map[string]any{"count": 2, "from": "2026-06-02T09:00:00Z", "to": "2026-07-31T20:00:00Z"}
			}
			id := form["id"].(string)
			all, forms = append(all, form), append(forms, id)
			hooks = append(hooks, map[string]any{
				"id": "whk" + id, "formId": id, "url": "https://example.com/" + id, "enabled": true, "createdAt": "2025-01-01T00:00:00Z",
				"history": []any{map[string]any{"status": "SUCCEEDED", "count": deliveries, "statusCode": 200}},
			})
		}
	}
	first := seed.Organizations[0]
	first["forms"], first["webhooks"] = all, hooks
	if text, err = json.Marshal(map[string]any{"organizations": []any{first}}); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, forms
}

// askSandbox makes a request of the sandbox as Tally's own clients do, and returns the bytes as they came.
func askSandbox(t *testing.T, box *sandbox.Sandbox, method, path, body string) []byte {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer tly-0123456789abcdefghijABCDEFGHIJ01")
	req.Header.Set("User-Agent", "tallyd/test")
	req.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	box.Handler().ServeHTTP(answer, req)
	if answer.Code >= 300 {
		t.Fatalf("%s %s = %d %.200s, want 2xx", method, path, answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

// deliveriesOf returns what the sandbox delivered of a form, newest first.
func deliveriesOf(t *testing.T, box *sandbox.Sandbox, form string) (bodies []json.RawMessage) {
	t.Helper()
	var page struct {
		Events []struct{ Payload json.RawMessage }
	}
	answer := askSandbox(t, box, http.MethodGet, "/webhooks/whk"+form+"/events", "")
	if err := json.Unmarshal(answer, &page); err != nil || len(page.Events) == 0 {
		t.Fatalf("events of %s = %.200s, want some", form, answer)
	}
	for _, event := range page.Events {
		bodies = append(bodies, event.Payload)
	}
	return bodies
}

// bothWays returns a submission as it was delivered and as GetSubmission gives it in a view, without fieldsOfRESTAlone.
func bothWays(t *testing.T, w *world, body []byte, form *tallydv1.Form, view tallydv1.SubmissionView) (delivered, got *tallydv1.Submission) {
	t.Helper()
	delivered, err := service.TypeDelivery(body, func(kind string) { t.Errorf("delivery %s has an unknown %s", body, kind) })
	if err != nil {
		t.Fatalf("typeDelivery(%s) = %v, want nil", body, err)
	}
	resp, err := tallydv1.NewSubmissionServiceClient(w.conn).GetSubmission(t.Context(), &tallydv1.GetSubmissionRequest{
		FormId: delivered.GetFormId(), SubmissionId: delivered.GetId(), View: view,
	})
	if err != nil {
		t.Fatalf("GetSubmission(%s) = %v, want nil", delivered.GetId(), err)
	}
	for _, s := range []*tallydv1.Submission{delivered, resp.GetSubmission()} {
		service.FillChoices(s, form.GetBlocks(), resp.GetQuestions())
		fieldsOfRESTAlone(s)
	}
	return delivered, resp.GetSubmission()
}

func getWholeForm(t *testing.T, w *world, id string) *tallydv1.Form {
	t.Helper()
	resp, err := w.forms().GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: id})
	if err != nil {
		t.Fatalf("GetForm(%s) = %v, want nil", id, err)
	}
	return resp.GetForm()
}

// choicesIn returns every choice of a submission.
func choicesIn(s *tallydv1.Submission) (choices []*tallydv1.Choice) {
	for _, r := range s.GetResponses() {
		choices = slices.Concat(choices, r.GetChoices().GetChoices(), r.GetRanking().GetChoices())
		for _, row := range r.GetMatrix().GetRows() {
			choices = append(choices, row.GetColumns()...)
		}
	}
	return choices
}

// TestDeliveryIsTheSubmission reads the same submissions of every seeded form by delivery and by GetSubmission: they are the same
// message, for a Tally that answers labels and for one that answers ids, and every kind of question is among them.
func TestDeliveryIsTheSubmission(t *testing.T) {
	for name, options := range map[string][]sandbox.Option{"labels": nil, "ids": {sandbox.WithChoiceIDs()}} {
		t.Run(name, func(t *testing.T) {
			file, forms := seedOfDeliveries(t, 20)
			w, box := sandboxWorld(t, append(options, sandbox.WithSeedFile(file))...)
			kinds, known, typed := map[string]bool{}, 0, 0
			for _, id := range forms {
				form := getWholeForm(t, w, id)
				for i, body := range deliveriesOf(t, box, id) {
					delivered, got := bothWays(t, w, body, form, tallydv1.SubmissionView(1+i%2))
					if diff := cmp.Diff(got, delivered, protocmp.Transform()); diff != "" {
						t.Fatalf("submission %s of %s (-GetSubmission +delivery):\n%s", got.GetId(), id, diff)
					}
					for _, r := range delivered.GetResponses() {
						kinds[r.GetQuestionType()] = true
					}
					for _, c := range choicesIn(delivered) {
						if c.GetOptionId() != "" {
							known++
						} else {
							typed++
						}
					}
				}
			}
			// A CHECKBOX is a block; its question is CHECKBOXES.
			want := slices.DeleteFunc(service.AnswerKinds(), func(kind string) bool { return kind == "CHECKBOX" })
			if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) || known == 0 || typed == 0 {
				t.Errorf("compared %v with %d chosen and %d typed options, want %v and some of both", got, known, typed, want)
			}
		})
	}
}

// TestDeliveryOfAwkwardAnswers sends a form off with what is hard to tell apart, receives the delivery as a webhook does, and finds the
// submission that GetSubmission gives.
func TestDeliveryOfAwkwardAnswers(t *testing.T) {
	visit := map[string]any{
		"Where did you visit us?": "Market stall", "How did your drink taste?": 4, "How likely are you to recommend us?": 9,
	}
	with := func(more map[string]any) map[string]any {
		all := maps.Clone(visit)
		maps.Copy(all, more)
		return all
	}
	tests := []struct {
		name, form string
		answers    map[string]any
		wantChoice *tallydv1.Choice // among the choices; nil for any
	}{
		{"typed", "Feedbk", with(map[string]any{"Where did you visit us?": `A "stall" in Łódź 🍵 & more`}), &tallydv1.Choice{Label: `A "stall" in Łódź 🍵 & more`}},
		{"typed the text of an option of another question", "Feedbk", with(map[string]any{"What did you have?": []string{"Market stall", "Filter"}}), nil},
		{"typed Other", "Feedbk", with(map[string]any{"Where did you visit us?": "Other"}), nil},
		{"typed a space", "Feedbk", with(map[string]any{"Where did you visit us?": " "}), &tallydv1.Choice{Label: " "}},
		{"one row", "Feedbk", with(map[string]any{"How satisfied were you with these?": map[string]any{"Cleanliness": "Fine"}}), nil},
		{"rows in another order", "Feedbk", with(map[string]any{"How satisfied were you with these?": map[string]any{"Warm welcome": "Fine", "Waiting time": "Unhappy"}}), nil},
		{"half a number", "Whsale", map[string]any{"Business name": "B & Sons\n", "Blend": "Decaf Dune", "Kilograms": 10.5, "Budget": 1234.56}, nil},
		{"calculated", "QuizMe", map[string]any{"How do you start the day?": "Slowly", "Which of these smell like home?": []string{"Rain"}, "How bitter may it be?": 3}, nil},
	}
	bodies := make(chan []byte, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
	}))
	t.Cleanup(receiver.Close)
	now := time.Date(2026, 9, 1, 12, 0, 0, 889e6, time.UTC)
	w, box := sandboxWorld(t, sandbox.WithClock(func() time.Time { return now }))
	for _, form := range []string{"Feedbk", "Whsale", "QuizMe"} {
		askSandbox(t, box, http.MethodPost, "/webhooks", `{"formId":"`+form+`","url":"`+receiver.URL+`","eventTypes":["FORM_RESPONSE"]}`)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := box.Submit(test.form, test.answers); err != nil {
				t.Fatalf("Submit() = %v, want nil", err)
			}
			delivered, got := bothWays(t, w, <-bodies, getWholeForm(t, w, test.form), tallydv1.SubmissionView_SUBMISSION_VIEW_FULL)
			if diff := cmp.Diff(got, delivered, protocmp.Transform()); diff != "" {
				t.Errorf("submission (-GetSubmission +delivery):\n%s", diff)
			}
			same := func(c *tallydv1.Choice) bool { return test.wantChoice == nil || proto.Equal(c, test.wantChoice) }
			if choices := choicesIn(delivered); !slices.ContainsFunc(choices, same) {
				t.Errorf("choices = %v, want %v among them", choices, test.wantChoice)
			}
		})
	}
}
