package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// brief writes a block list from short words: "TITLE:Name" or "INPUT_TEXT".
// Blocks that follow each other with "+" share a group.
func brief(words ...string) []block {
	var blocks []block
	group := 0
	for i, word := range words {
		kind, text, _ := strings.Cut(strings.TrimPrefix(word, "+"), ":")
		if !strings.HasPrefix(word, "+") {
			group++
		}
		blocks = append(blocks, block{
			UUID: uuidOf(uint64(i)), Type: kind, GroupUUID: uuidOf(uint64(1000 + group)), GroupType: kind,
			Payload: map[string]any{"safeHTMLSchema": toSchema(text), "text": text},
		})
	}
	return blocks
}

func TestDeriveQuestions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		blocks []block
		want   []string
	}{
		{"nothing", nil, nil},
		{"an input alone", brief("INPUT_TEXT"), nil},
		{"after a title", brief("TITLE:Name", "INPUT_TEXT"), []string{"INPUT_TEXT Name"}},
		{"after a label", brief("LABEL:Name", "INPUT_TEXT"), []string{"INPUT_TEXT Name"}},
		{"a title serves one input", brief("TITLE:Name", "INPUT_TEXT", "INPUT_EMAIL"), []string{"INPUT_TEXT Name"}},
		{"the nearer title wins", brief("TITLE:A", "TITLE:B", "INPUT_TEXT"), []string{"INPUT_TEXT B"}},
		{"help between", brief("TITLE:A", "TEXT:help", "INPUT_TEXT"), []string{"INPUT_TEXT A"}},
		{"a page between", brief("TITLE:A", "PAGE_BREAK", "INPUT_TEXT"), nil},
		{"options", brief("TITLE:A", "DROPDOWN_OPTION:x", "+DROPDOWN_OPTION:y"), []string{"DROPDOWN A x/y"}},
		{"checkboxes", brief("TITLE:A", "CHECKBOX:x", "+CHECKBOX:y"), []string{"CHECKBOXES A x/y"}},
		{"two groups of options", brief("TITLE:A", "CHECKBOX:x", "TITLE:B", "CHECKBOX:y"), []string{"CHECKBOXES A x", "CHECKBOXES B y"}},
		{"untitled options", brief("CHECKBOX:x", "+CHECKBOX:y"), nil},
		{"matrix", brief("TITLE:A", "MATRIX", "+MATRIX_COLUMN:c", "+MATRIX_ROW:r", "+MATRIX_ROW:s"), []string{"MATRIX A r/s c"}},
		{"hidden fields need no title", brief("HIDDEN_FIELDS"), []string{"HIDDEN_FIELDS "}},
		{"calculated fields need no title", brief("CALCULATED_FIELDS"), []string{"CALCULATED_FIELDS "}},
		{"hidden fields take no title", brief("TITLE:A", "HIDDEN_FIELDS"), []string{"HIDDEN_FIELDS "}},
		{"layout is no question", brief("TITLE:A", "DIVIDER", "IMAGE", "HEADING_1:x"), nil},
		{"an empty title is one", brief("TITLE:", "INPUT_TEXT"), []string{"INPUT_TEXT "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, q := range deriveQuestions(tc.blocks) {
				line := q.kind + " " + q.words()
				for _, list := range [][]option{q.options, q.rows, q.columns} {
					var texts []string
					for _, o := range list {
						texts = append(texts, o.Text)
					}
					if texts != nil {
						line += " " + strings.Join(texts, "/")
					}
				}
				got = append(got, line)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("deriveQuestions() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestQuestionsOfUnlabelledForm(t *testing.T) {
	start(t).do("GET /forms/Untitl/questions").want(200).wantBody(`{"questions":[],"hasResponses":false}`)
}

func TestQuestionFields(t *testing.T) {
	b := start(t)
	a := b.do("GET /forms/Feedbk/questions").want(200).wantAt("hasResponses", true)
	for path, want := range map[string]any{
		"questions.0.type": "HIDDEN_FIELDS", "questions.0.title": nil, "questions.0.fields.#": 2,
		"questions.0.fields.0.type": "HIDDEN_FIELD", "questions.0.fields.0.title": "utm_campaign",
		"questions.0.fields.0.questionType": "HIDDEN_FIELDS",
		"questions.1.type":                  "MULTIPLE_CHOICE", "questions.1.fields.#": 1,
		"questions.1.fields.0.type": "INPUT_FIELD", "questions.1.fields.0.title": "Where did you visit us?",
		"questions.1.formId": "Feedbk", "questions.1.isDeleted": false, "questions.1.isTitleModifiedByUser": false,
		"questions.4.type": "MATRIX", "questions.4.fields.#": 3,
		"questions.4.fields.0.title": "How satisfied were you with these? [Waiting time]",
	} {
		a.wantAt(path, want)
	}
	for _, same := range []string{"questions.1.fields.0", "questions.4.fields.2"} {
		if a.at(same+".uuid") != a.at(same+".blockGroupUuid") {
			t.Errorf("%s: uuid = %v, want the blockGroupUuid %v", same, a.at(same+".uuid"), a.at(same+".blockGroupUuid"))
		}
	}
	if a.at("questions.0.fields.0.uuid") == a.at("questions.0.fields.0.blockGroupUuid") {
		t.Errorf("hidden field: uuid = blockGroupUuid, want the field's own")
	}
	calculated := b.do("GET /forms/QuizMe/questions").want(200)
	calculated.wantAt("questions.3.fields.0.type", "CALCULATED_FIELD").wantAt("questions.3.fields.1.title", "bean")
}

func TestNumberOfResponses(t *testing.T) {
	b := start(t)
	a := b.do("GET /forms/Wrkshp/questions").want(200)
	counted := map[string]float64{}
	for page := 1; ; page++ {
		list := b.do(fmt.Sprintf("GET /forms/Wrkshp/submissions?limit=200&page=%d", page)).want(200)
		for _, sub := range list.at("submissions").([]any) {
			for _, r := range walk(t, sub, "responses").([]any) {
				counted[walk(t, r, "questionId").(string)]++
			}
		}
		if list.at("hasMore") == false {
			break
		}
	}
	for _, q := range a.at("questions").([]any) {
		id := walk(t, q, "id").(string)
		if got := walk(t, q, "numberOfResponses"); got != counted[id] {
			t.Errorf("numberOfResponses of %s = %v, want %v", id, got, counted[id])
		}
	}
}

func TestRenameQuestion(t *testing.T) {
	clock := newWatch()
	b := start(t, WithClock(clock.read))
	id := b.do("GET /forms/Holidy/questions").want(200).at("questions.0.id").(string)
	call := "PATCH /forms/Holidy/questions/" + id
	a := b.do(call, `{"title":"Who are you?"}`).want(200)
	a.wantAt("id", id).wantAt("title", "Who are you?").wantAt("isTitleModifiedByUser", true).
		wantAt("updatedAt", "2026-09-01T12:00:00.000Z").wantAt("fields.0.title", "Who are you?")
	b.do("GET /forms/Holidy/questions").want(200).wantAt("questions.0.title", "Who are you?")
	b.do(call, `{}`).want(200).wantAt("title", "Who are you?")
	b.do(call, `{"title":""}`).want(400).wantAt("errors.0.type", "string.empty")
	b.do(call, `{"isDeleted":true}`).want(400).wantAt("errors.0.type", "object.unknown")
	b.do("PATCH /forms/Holidy/questions/nobody", `{"title":"x"}`).want(404).wantAt("message", "Question was not found")
	b.do("PATCH /forms/nobody/questions/"+id, `{"title":"x"}`).want(404).wantAt("message", "Form was not found")
}

func TestQuestionIdentity(t *testing.T) {
	issued := 0
	newID := func() string { issued++; return fmt.Sprint("q", issued) }
	f := &form{counts: map[string]int{}}
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	blocks := brief("TITLE:A", "INPUT_TEXT", "TITLE:B", "INPUT_EMAIL", "TITLE:C", "INPUT_LINK")
	f.setBlocks(blocks, newID, now)
	f.counts["q2"] = 3

	f.setBlocks(blocks[:2], newID, now.Add(time.Hour))
	if got := fmt.Sprint(titlesOf(f)); got != "[q1:A q2:B(deleted)]" {
		t.Errorf("questions = %v, want the answered one kept as deleted", got)
	}
	if got := f.questions[0]; !got.createdAt.Equal(now) || !got.updatedAt.Equal(now.Add(time.Hour)) {
		t.Errorf("kept question = %v, %v, want created before, updated now", got.createdAt, got.updatedAt)
	}
	f.setBlocks(blocks, newID, now)
	if got := fmt.Sprint(titlesOf(f)); got != "[q1:A q2:B q4:C]" {
		t.Errorf("questions = %v, want the old ids and a new one for the forgotten question", got)
	}
}

func titlesOf(f *form) []string {
	var titles []string
	for _, v := range f.viewQuestions() {
		line := v.ID + ":" + *v.Title
		if v.IsDeleted {
			line += "(deleted)"
		}
		titles = append(titles, line)
	}
	return titles
}

func TestOldAnswersOutliveAnEdit(t *testing.T) {
	b := start(t)
	const call = "GET /forms/QuizMe/submissions?limit=1&filter=completed"
	before := b.do(call).want(200)
	b.do("PATCH /forms/QuizMe", `{"blocks":[]}`).want(200)
	after := b.do(call).want(200)
	if got, want := fmt.Sprint(after.at("submissions.0.responses")), fmt.Sprint(before.at("submissions.0.responses")); got != want {
		t.Errorf("responses = %s, want %s", got, want)
	}
	after.wantAt("questions.0.isDeleted", true).wantAt("questions.#", 5)
	b.do("GET /forms/QuizMe/questions").want(200).wantAt("hasResponses", false)
}
