package service

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// block returns a block as GetForm gives it, its payload as JSON.
func block(t testing.TB, uuid, kind, group, payload string) *tallydv1.Block {
	t.Helper()
	object := &structpb.Struct{}
	if err := object.UnmarshalJSON([]byte(payload)); err != nil {
		t.Fatalf("payload %s: %v", payload, err)
	}
	return &tallydv1.Block{Uuid: uuid, Type: kind, GroupUuid: group, Payload: object}
}

// formOf is a form with a question of each sort of options. More drinks than a few change how they are searched.
func formOf(t testing.TB, more int) ([]*tallydv1.Block, []*tallydv1.Question) {
	t.Helper()
	blocks := []*tallydv1.Block{
		block(t, "title", "TITLE", "title-group", `{"safeHTMLSchema":[["Drink"]]}`),
		block(t, "tea", "MULTIPLE_CHOICE_OPTION", "drinks", `{"text":"Tea"}`),
		block(t, "coffee", "MULTIPLE_CHOICE_OPTION", "drinks", `{"text":"Coffee"}`),
		block(t, "other", "MULTIPLE_CHOICE_OPTION", "drinks", `{"text":"Other","isOtherOption":true}`),
		block(t, "twin-1", "MULTIPLE_CHOICE_OPTION", "drinks", `{"text":"Twin"}`),
		block(t, "twin-2", "MULTIPLE_CHOICE_OPTION", "drinks", `{"text":"Twin"}`),
		block(t, "milk-1", "CHECKBOX", "toppings", `{"text":"Milk"}`),
		block(t, "milk-2", "CHECKBOX", "toppings", `{"text":"Milk"}`),
		block(t, "blank", "CHECKBOX", "toppings", `{}`),
		block(t, "first", "RANKING_OPTION", "ranks", `{"text":"First"}`),
		block(t, "one", "DROPDOWN_OPTION", "numbers", `{"text":"1"}`),
		block(t, "blue", "MULTI_SELECT_OPTION", "colours", `{"text":"Blue"}`),
		block(t, "matrix", "MATRIX", "grid", `{}`),
		block(t, "good", "MATRIX_COLUMN", "grid", `{"safeHTMLSchema":[["Very ",[["font-weight","bold"]]],["good"]]}`),
		block(t, "bad", "MATRIX_COLUMN", "grid", `{"html":"<b>Bad</b> &amp; ugly"}`),
		block(t, "speed", "MATRIX_ROW", "grid", `{"safeHTMLSchema":[["Top&nbsp;speed&nbsp;"],[]]}`),
		block(t, "noise", "MATRIX_ROW", "grid", `{"safeHTMLSchema":[["Noise"]]}`),
		nil,
		{Type: "CHECKBOX"},
	}
	for i := range more {
		blocks = append(blocks, block(t, fmt.Sprint("more-", i), "MULTIPLE_CHOICE_OPTION", "drinks", fmt.Sprintf(`{"text":"More %d"}`, i)))
	}
	field := func(uuid, group string) *tallydv1.QuestionField {
		return &tallydv1.QuestionField{Uuid: uuid, BlockGroupUuid: group}
	}
	return blocks, []*tallydv1.Question{
		{Id: "drink", Fields: []*tallydv1.QuestionField{field("f1", "drinks")}},
		{Id: "topping", Fields: []*tallydv1.QuestionField{field("toppings", "")}},
		{Id: "rank", Fields: []*tallydv1.QuestionField{field("", "ranks")}},
		{Id: "number", Fields: []*tallydv1.QuestionField{field("f4", "numbers")}},
		{Id: "colour", Fields: []*tallydv1.QuestionField{field("f5", "colours")}},
		{Id: "grid", Fields: []*tallydv1.QuestionField{field("noise", "noise"), field("speed", "speed")}},
		{Id: "text", Fields: []*tallydv1.QuestionField{field("f9", "text-group"), field("", "")}},
	}
}

// TestFillChoices gives each choice what it lacks, and nothing that is a guess.
func TestFillChoices(t *testing.T) {
	tests := []struct {
		name, question string
		answer, want   *tallydv1.Choices
	}{
		{"label", "drink", choices("", "Tea"), choices("tea", "Tea")},
		{"id", "drink", choices("coffee", ""), choices("coffee", "Coffee")},
		{"id that does not look like one", "drink", choices("", "coffee"), choices("coffee", "Coffee")},
		{"label that looks like an id", "drink", choices("Coffee", ""), choices("coffee", "Coffee")},
		{"both", "drink", choices("tea", "Tea"), choices("tea", "Tea")},
		{"both, and the option was renamed since", "drink", choices("tea", "Green tea"), choices("tea", "Green tea")},
		{"several, in their order", "drink", choices("coffee", "", "", "Tea", "", "Juice"), choices("coffee", "Coffee", "tea", "Tea", "", "Juice")},
		{"unknown id", "drink", choices("cocoa", ""), choices("cocoa", "")},
		{"unknown label", "drink", choices("", "Cocoa"), choices("", "Cocoa")},
		{"nothing", "drink", choices("", ""), choices("", "")},
		{"typed", "drink", choices("typed-1", "Cocoa"), choices("", "Cocoa")},
		{"typed what an option says", "drink", choices("typed-1", "Tea"), choices("tea", "Tea")},
		{"typed under the id of Other", "drink", choices("other", "Cocoa"), choices("", "Cocoa")},
		{"option that is gone, where nothing can be typed", "topping", choices("gone", "Honey"), choices("gone", "Honey")},
		{"Other without a text", "drink", choices("other", "Other"), choices("other", "Other")},
		{"option of another question", "drink", choices("", "Milk", "first", ""), choices("", "Milk", "first", "")},
		{"text of two options", "drink", choices("", "Twin"), choices("", "Twin")},
		{"text of two boxes", "topping", choices("", "Milk"), choices("", "Milk")},
		{"option of two with a text, by id", "topping", choices("milk-2", ""), choices("milk-2", "Milk")},
		{"option without a text", "topping", choices("blank", ""), choices("blank", "")},
		{"dropdown", "number", choices("", "1"), choices("one", "1")},
		{"multi-select", "colour", choices("", "Blue"), choices("blue", "Blue")},
		{"question that is not on the form", "gone", choices("typed-1", "Cocoa", "", "Tea"), choices("typed-1", "Cocoa", "", "Tea")},
		{"question without options", "text", choices("typed-1", "Cocoa"), choices("typed-1", "Cocoa")},
	}
	for _, more := range []int{0, fewOptions} {
		options := optionsOf(formOf(t, more))
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s/%d", test.name, more), func(t *testing.T) {
				for name, answer := range map[string]func(c *tallydv1.Choices) *tallydv1.QuestionResponse{
					"choices": chosen,
					"ranking": func(c *tallydv1.Choices) *tallydv1.QuestionResponse {
						return &tallydv1.QuestionResponse{Answer: &tallydv1.QuestionResponse_Ranking{Ranking: c}}
					},
				} {
					got, want := answer(proto.CloneOf(test.answer)), answer(test.want)
					got.QuestionId, want.QuestionId = test.question, test.question
					s := &tallydv1.Submission{Responses: []*tallydv1.QuestionResponse{textAs("x"), got}}
					// Twice, for what is filled must stay.
					fillChoices(s, options)
					fillChoices(s, options)
					if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
						t.Errorf("fillChoices(%v) of %s (-want +got):\n%s", test.answer, name, diff)
					}
				}
			})
		}
	}
}

// TestFillMatrix fills rows and columns from rich text.
func TestFillMatrix(t *testing.T) {
	row := func(id, row string, columns ...string) *tallydv1.MatrixRow {
		return &tallydv1.MatrixRow{RowId: id, Row: row, Columns: choices(columns...).GetChoices()}
	}
	got := matrixAs(row("speed", "", "", "Very good"), row("noise", "Loudness", "bad", ""), row("Noise", "", "", "Noise"), row("gone", "", "x", "Very good"), row("no", "ise"))
	got.QuestionId = "grid"
	want := matrixAs(row("speed", "Top speed", "good", "Very good"), row("noise", "Loudness", "bad", "Bad & ugly"), row("noise", "Noise", "", "Noise"), row("gone", "", "good", "Very good"), row("no", "ise"))
	want.QuestionId = "grid"
	fillChoices(&tallydv1.Submission{Responses: []*tallydv1.QuestionResponse{got}}, optionsOf(formOf(t, 0)))
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("fillChoices() (-want +got):\n%s", diff)
	}
}

func TestFillWithoutOptions(t *testing.T) {
	got := chosen(choices("a", "A", "", "B"))
	fillChoices(&tallydv1.Submission{Responses: []*tallydv1.QuestionResponse{got}}, nil)
	fillChoices(nil, optionsOf(nil, nil))
	if want := chosen(choices("a", "A", "", "B")); !proto.Equal(got, want) {
		t.Errorf("fillChoices() without options = %v, want %v", got, want)
	}
}

// TestOptionsOfSamples reads recorded blocks.
func TestOptionsOfSamples(t *testing.T) {
	for name, want := range map[string]struct {
		options int
		first   string
		other   int
	}{
		"rest-blocks-multiple-choice-with-other-real.json": {5, "Geschäftsführung", 1},
		"rest-blocks-checkboxes-real.json":                 {6, "Schnellere Lieferung", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var raw []struct {
				UUID, Type, GroupUUID string
				Payload               json.RawMessage
			}
			if err := json.Unmarshal(deliverySample(t, name), &raw); err != nil {
				t.Fatal(err)
			}
			var blocks []*tallydv1.Block
			for _, b := range raw {
				blocks = append(blocks, block(t, b.UUID, b.Type, b.GroupUUID, string(b.Payload)))
			}
			question := &tallydv1.Question{Id: "q1", Fields: []*tallydv1.QuestionField{{BlockGroupUuid: raw[0].GroupUUID}}}
			got := optionsOf(blocks, []*tallydv1.Question{question})["q1"].options.options
			others := 0
			for _, o := range got {
				if o.other {
					others++
				}
				if o.text == "" {
					t.Errorf("option %s has no text", o.id)
				}
			}
			if len(got) != want.options || got[0].text != want.first || others != want.other {
				t.Errorf("options = %v, want %d with %d for Other, the first %q", got, want.options, want.other, want.first)
			}
		})
	}
}
