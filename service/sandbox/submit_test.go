package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestSubmitInvented(t *testing.T) {
	b := start(t)
	for _, form := range []string{"Feedbk", "NewsLt", "Contct", "Wrkshp", "QuizMe", "Whsale", "JobApp", "Holidy", "Repair"} {
		t.Run(form, func(t *testing.T) {
			b := b.in(t)
			before := b.do("GET /forms/" + form + "/submissions?limit=1").want(200)
			id, err := b.s.Submit(form, nil)
			if err != nil {
				t.Fatalf("Submit(%q) = %v, want no error", form, err)
			}
			after := b.do("GET /forms/"+form+"/submissions?limit=2").want(200).
				wantAt("submissions.0.id", id).wantAt("submissions.0.isCompleted", true).
				wantAt("submissions.1.id", before.at("submissions.0.id"))
			const total = "totalNumberOfSubmissionsPerFilter.completed"
			after.wantAt(total, before.at(total).(float64)+1)
			if got := after.at("submissions.0.responses.#").(int); got == 0 {
				t.Errorf("Submit(%q) gave no answers", form)
			}
		})
	}
}

func TestSubmitGiven(t *testing.T) {
	b := start(t)
	id, err := b.s.Submit("Feedbk", map[string]any{
		"Where did you visit us?":             "The mill café",
		"How did your drink taste?":           4,
		"How likely are you to recommend us?": 9.0,
		"How satisfied were you with these?":  map[string]string{"Waiting time": "Fine"},
		"What did you have?":                  []any{"Filter", "A secret"},
		"Rank these by what matters to you":   []string{"Price", "Taste", "Speed", "Atmosphere"},
		"Anything we should know?":            "No.",
	})
	if err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	a := b.do("GET /forms/Feedbk/submissions/" + id).want(200)
	titles := map[any]string{}
	for _, q := range a.at("questions").([]any) {
		title, _ := walk(t, q, "title").(string)
		titles[walk(t, q, "id")] = title
	}
	got := map[string]string{}
	for _, r := range a.at("submission.responses").([]any) {
		got[titles[walk(t, r, "questionId")]] = fmt.Sprint(walk(t, r, "answer"))
	}
	for title, want := range map[string]string{
		"Where did you visit us?": "[The mill café]", "How did your drink taste?": "4",
		"How likely are you to recommend us?": "9", "What did you have?": "[Filter A secret]",
		"Rank these by what matters to you": "[Price Taste Speed Atmosphere]", "Anything we should know?": "No.",
	} {
		if got[title] != want {
			t.Errorf("answer to %q = %s, want %s", title, got[title], want)
		}
	}
	if !strings.Contains(got["How satisfied were you with these?"], "[Fine]") || got[""] == "" {
		t.Errorf("answers = %v, want the matrix and the hidden fields too", got)
	}
	if _, answered := got["Country"]; answered {
		t.Errorf("Country = %s, want it left out", got["Country"])
	}
}

func TestSubmitByID(t *testing.T) {
	b := start(t)
	questions := b.do("GET /forms/NewsLt/questions").want(200)
	email := questions.at("questions.0.id").(string)
	group := questions.at("questions.1.fields.0.blockGroupUuid").(string)
	id, err := b.s.Submit("NewsLt", map[string]any{email: "new@example.com", group: []any{"Offers"}})
	if err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	b.do("GET /forms/NewsLt/submissions/"+id).want(200).wantAt("submission.responses.0.answer", "new@example.com").
		wantAt("submission.responses.1.answer.0", "Offers")
}

func TestSubmitRefusals(t *testing.T) {
	b := start(t)
	b.do("PATCH /forms/Repair", `{"settings":{"submissionsLimit":150}}`).want(200)
	ok := func(more string, v any) map[string]any {
		return map[string]any{"Your name": "N", "First day off": "2026-10-01", "Last day off": "2026-10-02", "Kind": "Holiday", more: v}
	}
	for _, tc := range []struct {
		name, form  string
		answers     map[string]any
		wantStatus  int
		wantMessage string
	}{
		{"unknown form", "nobody", nil, 404, `form "nobody" is unknown`},
		{"a draft", "Untitl", nil, 409, `form "Untitl" is not published but DRAFT`},
		{"in the trash", "OldOne", nil, 409, `form "OldOne" is not published but DELETED`},
		{"closed", "Raffle", nil, 409, `form "Raffle" is closed`},
		{"full", "Repair", nil, 409, `form "Repair" has reached its limit of 150 submissions`},
		{"required", "Holidy", map[string]any{"Your name": "N"}, 400, `question "First day off" is required`},
		{"unknown question", "Holidy", ok("Shoe size", 44), 400, `form has no question "Shoe size"`},
		{"unknown option", "Holidy", ok("Kind", "Sabbatical"), 400, `answer to "Kind": "Sabbatical" is not one of the options Holiday, Unpaid, Moving house`},
		{"a number for text", "Holidy", ok("Your name", 7), 400, `answer to "Your name": must be text`},
		{"empty text", "Holidy", ok("Your name", ""), 400, `answer to "Your name": must be text`},
		{"text for a number", "Whsale", map[string]any{"Business name": "B", "Blend": "Decaf Dune", "Kilograms": "ten"}, 400, `answer to "Kilograms": must be a number`},
		{"below the least", "Whsale", map[string]any{"Business name": "B", "Blend": "Decaf Dune", "Kilograms": 4}, 400, `answer to "Kilograms": must be between 5 and 120`},
		{"too many stars", "Feedbk", map[string]any{"Where did you visit us?": "Market stall", "How did your drink taste?": 6}, 400, `answer to "How did your drink taste?": must be between 1 and 5`},
		{"off the scale", "QuizMe", map[string]any{"How do you start the day?": "Slowly", "Which of these smell like home?": "Rain", "How bitter may it be?": 0}, 400, `answer to "How bitter may it be?": must be between 1 and 7`},
		{"a file", "JobApp", map[string]any{"Your name": "N", "E-mail": "e", "Phone": "1", "Your CV": "cv.pdf"}, 400, `answer to "Your CV": can only be invented: leave it out`},
		{"a matrix as text", "Feedbk", map[string]any{"Where did you visit us?": "x", "How did your drink taste?": 1, "How likely are you to recommend us?": 1, "How satisfied were you with these?": "Fine"}, 400, `answer to "How satisfied were you with these?": must be an object of row to column`},
		{"a matrix row", "Feedbk", map[string]any{"Where did you visit us?": "x", "How did your drink taste?": 1, "How likely are you to recommend us?": 1, "How satisfied were you with these?": map[string]any{"Noise": "Fine"}}, 400, `answer to "How satisfied were you with these?": "Noise" is not one of the options Waiting time, Warm welcome, Cleanliness`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			_, err := b.s.Submit(tc.form, tc.answers)
			refused := new(SubmitError)
			if !errors.As(err, &refused) || refused.Status != tc.wantStatus || err.Error() != tc.wantMessage {
				t.Errorf("Submit(%q) = %v, want %d %s", tc.form, err, tc.wantStatus, tc.wantMessage)
			}
		})
	}
}

func TestSubmitInventsWhatNobodyTypes(t *testing.T) {
	b := start(t)
	id, err := b.s.Submit("Whsale", map[string]any{"Business name": "B", "Blend": "Decaf Dune", "Kilograms": 10})
	if err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	a := b.do("GET /forms/Whsale/submissions/"+id).want(200).wantAt("submission.responses.#", 6)
	a.wantAt("submission.responses.4.answer.currency", "EUR").wantAt("submission.responses.5.answer.0.mimeType", "image/png")
	a.wantAt("submission.responses.3.formattedAnswer", "10 kg")
}

// Calculated fields may stand anywhere in a form that is left early.
func TestSubmitPartialWithLateFields(t *testing.T) {
	b := start(t)
	for range 20 {
		id, err := b.s.SubmitPartial("QuizMe", map[string]any{"How do you start the day?": "Slowly"})
		if err != nil {
			t.Fatalf("SubmitPartial() = %v, want no error", err)
		}
		b.do("GET /forms/QuizMe/submissions/"+id).want(200).wantAt("submission.responses.#", 2)
	}
}

func TestSubmitUnwritable(t *testing.T) {
	_, err := start(t).s.Submit("Contct", map[string]any{"First name": func() {}})
	if refused := new(SubmitError); !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("Submit(a function) = %v, want a refusal by 400", err)
	}
}

func TestSubmitHidden(t *testing.T) {
	b := start(t)
	given := map[string]any{"Your name": "N", "E-mail": "e@example.com", "Preferred day": "2026-10-01", "Earliest start": "10:00", "How many people?": 2}
	id, err := b.s.Submit("Wrkshp", given)
	if err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	a := b.do("GET /forms/Wrkshp/submissions/"+id).want(200).wantAt("submission.responses.#", 6)
	if _, isNumber := a.at("submission.responses.5.answer").(float64); !isNumber {
		t.Errorf("calculated answer = %v, want a number", a.at("submission.responses.5.answer"))
	}
	questions := b.do("GET /forms/Feedbk/questions").want(200)
	id, err = b.s.SubmitPartial("Feedbk", map[string]any{questions.at("questions.0.id").(string): map[string]any{"utm_campaign": "mail"}})
	if err != nil {
		t.Fatalf("SubmitPartial() = %v, want no error", err)
	}
	b.do("GET /forms/Feedbk/submissions/"+id).want(200).wantAt("submission.responses.0.answer.utm_campaign", "mail").
		wantAt("submission.responses.0.answer.table", nil)
	hidden := questions.at("questions.0.id").(string)
	id, err = b.s.SubmitPartial("Feedbk", map[string]any{hidden: map[string]any{}})
	if err != nil {
		t.Fatalf("SubmitPartial() = %v, want no error", err)
	}
	if a := b.do("GET /forms/Feedbk/submissions/" + id).want(200); strings.Contains(a.body, `"answer":`) {
		t.Errorf("submission without hidden values = %s, want no answer", a.body)
	}
}

// Tally's own payload dates the event 15:00:21.889 and the submission 15:00:21.000.
func TestSubmissionTimes(t *testing.T) {
	clock := newWatch()
	clock.wind(889e6)
	r := &receiver{answer: status(200, "")}
	s, w := hooked(t, r, local, WithClock(clock.read))
	defer s.Close()
	if _, err := s.Submit("Contct", nil); err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	s.settle()
	f := s.state.form("Contct")
	sub := s.viewSubmission(f, f.submissions[len(f.submissions)-1])
	var sent deliveryTimes
	if err := json.Unmarshal([]byte(r.bodies[0]), &sent); err != nil {
		t.Fatalf("Unmarshal() = %v, want no error", err)
	}
	got := deliveryTimes{CreatedAt: stamp(w.events[0].createdAt).String()}
	got.Data.CreatedAt = sub.SubmittedAt.String()
	want := deliveryTimes{CreatedAt: "2026-09-01T12:00:00.889Z"}
	want.Data.CreatedAt = "2026-09-01T12:00:00.000Z"
	if got != want || sent != want {
		t.Errorf("times = %v, delivered as %v, want %v", got, sent, want)
	}
}

type deliveryTimes struct {
	CreatedAt string
	Data      struct{ CreatedAt string }
}

func TestSubmitPartial(t *testing.T) {
	r := &receiver{answer: status(200, "")}
	s, w := hooked(t, r, local)
	defer s.Close()
	id, err := s.SubmitPartial("Contct", map[string]any{"First name": "Aila"})
	if err != nil {
		t.Fatalf("SubmitPartial() = %v, want no error", err)
	}
	s.settle()
	if len(w.events) != 0 || len(r.times()) != 0 {
		t.Errorf("a partial submission made %d events and %d deliveries, want none", len(w.events), len(r.times()))
	}
	f := s.state.form("Contct")
	if sub := f.submissions[len(f.submissions)-1]; sub.id != id || sub.completed || len(sub.answers) != 1 || f.partial != 1 {
		t.Errorf("submission = %+v, want %s, partial, with one answer", sub, id)
	}
}

func TestDisabledWebhookHasNoEvents(t *testing.T) {
	s, w := hooked(t, &receiver{answer: status(200, "")}, local)
	defer s.Close()
	w.IsEnabled = false
	if _, err := s.Submit("Contct", nil); err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	if len(w.events) != 0 {
		t.Errorf("events = %d, want none", len(w.events))
	}
}

// Ids of two runs must differ: who keeps events by id would drop the second.
func TestIDsOfTwoRunsDiffer(t *testing.T) {
	clock := newWatch()
	one := start(t, WithClock(clock.read))
	clock.wind(1)
	two := start(t, WithClock(clock.read))
	a, errA := one.s.Submit("Contct", nil)
	b, errB := two.s.Submit("Contct", nil)
	if a == b || errA != nil || errB != nil {
		t.Errorf("Submit() = %s (%v) and %s (%v), want two ids", a, errA, b, errB)
	}
}
