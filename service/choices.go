package service

import (
	"html"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// option is an option, row or column that a respondent can choose.
type option struct {
	id, text string
	other    bool // it stands for whatever the respondent types
}

// fewOptions is how many options are searched one by one, which for so few is quicker than a map.
const fewOptions = 16

// optionSet finds options of one question by either of what a choice may give.
type optionSet struct {
	options      []option
	byID, byText map[string]int // nil for few
	other        bool           // one of them stands for whatever the respondent types
}

// twice stands in byText for a text that several options have.
const twice = -1

func newOptionSet(options []option) optionSet {
	s := optionSet{options: options, other: slices.ContainsFunc(options, func(o option) bool { return o.other })}
	if len(options) <= fewOptions {
		return s
	}
	s.byID, s.byText = make(map[string]int, len(options)), make(map[string]int, len(options))
	for i, o := range options {
		s.byID[o.id] = i
		if _, found := s.byText[o.text]; found {
			i = twice
		}
		s.byText[o.text] = i
	}
	return s
}

// withID returns the option that has the id, or nil.
func (s *optionSet) withID(id string) *option {
	if s.byID != nil {
		if i, found := s.byID[id]; found {
			return &s.options[i]
		}
		return nil
	}
	for i := range s.options {
		if s.options[i].id == id {
			return &s.options[i]
		}
	}
	return nil
}

// withText returns the one option that has the text, or nil: of several there is no telling which.
func (s *optionSet) withText(text string) *option {
	if s.byText != nil {
		if i, found := s.byText[text]; found && i != twice {
			return &s.options[i]
		}
		return nil
	}
	var one *option
	for i := range s.options {
		if s.options[i].text != text {
			continue
		}
		if one != nil {
			return nil
		}
		one = &s.options[i]
	}
	return one
}

// fill gives a choice that has an id its text, or the other way round. What no option has stays as it is. Which of the two a choice
// has is a guess by its looks, so it is looked up as both.
func (s *optionSet) fill(id, text *string) {
	given := *id + *text
	if given == "" || (*id != "" && *text != "") {
		return
	}
	found := s.withID(given)
	if found == nil {
		found = s.withText(given)
	}
	if found != nil && found.id != "" {
		*id, *text = found.id, found.text
	}
}

// knows tells whether an option has the id or, of a choice that has but one of the two, the text.
func (s *optionSet) knows(id, text string) bool {
	if id != "" && text != "" {
		return s.withID(id) != nil
	}
	given := id + text
	return given == "" || s.withID(given) != nil || s.withText(given) != nil
}

func (s *optionSet) knowsAll(choices []*tallydv1.Choice) bool {
	return !slices.ContainsFunc(choices, func(c *tallydv1.Choice) bool { return !s.knows(c.GetOptionId(), c.GetLabel()) })
}

// strange tells whether a choice of a delivery has an id that Tally's other answers do not give: what was typed for "Other" has one of its
// own there. Where nothing can be typed, an id that the form does not know is that of an option that it had.
func (s *optionSet) strange(c *tallydv1.Choice) bool {
	if known := s.withID(c.GetOptionId()); known != nil {
		return known.other && known.text != c.GetLabel()
	}
	return s.other || s.withText(c.GetLabel()) != nil
}

// fillChoices fills each choice. What was typed has its text alone.
func (s *optionSet) fillChoices(choices []*tallydv1.Choice) {
	if len(s.options) == 0 {
		return
	}
	for _, c := range choices {
		if c.GetOptionId() != "" && c.GetLabel() != "" && s.strange(c) {
			c.OptionId = ""
		}
		s.fill(&c.OptionId, &c.Label)
	}
}

// questionOptions are what one question lets a respondent choose from.
type questionOptions struct {
	options, rows, columns optionSet

	group string // of blocks
}

// knows tells whether the question has all that was chosen.
func (q *questionOptions) knows(r *tallydv1.QuestionResponse) bool {
	switch answer := r.GetAnswer().(type) {
	case *tallydv1.QuestionResponse_Choices:
		return q.options.knowsAll(answer.Choices.GetChoices())
	case *tallydv1.QuestionResponse_Ranking:
		return q.options.knowsAll(answer.Ranking.GetChoices())
	case *tallydv1.QuestionResponse_Matrix:
		return !slices.ContainsFunc(answer.Matrix.GetRows(), func(row *tallydv1.MatrixRow) bool {
			return !q.rows.knows(row.GetRowId(), row.GetRow()) || !q.columns.knowsAll(row.GetColumns())
		})
	}
	return true
}

func (q *questionOptions) fill(r *tallydv1.QuestionResponse) {
	switch answer := r.GetAnswer().(type) {
	case *tallydv1.QuestionResponse_Choices:
		q.options.fillChoices(answer.Choices.GetChoices())
	case *tallydv1.QuestionResponse_Ranking:
		q.options.fillChoices(answer.Ranking.GetChoices())
	case *tallydv1.QuestionResponse_Matrix:
		for _, row := range answer.Matrix.GetRows() {
			q.rows.fill(&row.RowId, &row.Row)
			q.columns.fillChoices(row.GetColumns())
		}
	}
}

// index makes the sets searchable.
func (q *questionOptions) index() {
	q.options, q.rows, q.columns = newOptionSet(q.options.options), newOptionSet(q.rows.options), newOptionSet(q.columns.options)
}

// formOptions are the options of a form's questions, by the question's id. Nothing changes it once it is made.
type formOptions map[string]*questionOptions

// lacks tells what of a submission the options do not know: a question, or a choice at least. What was typed for "Other" they never know.
func (o formOptions) lacks(s *tallydv1.Submission) (question, choice bool) {
	for _, r := range s.GetResponses() {
		switch q := o[r.GetQuestionId()]; {
		case q != nil:
			choice = choice || !q.knows(r)
		case !(&questionOptions{}).knows(r):
			question = true
		}
	}
	return question, question || choice
}

// fillChoices fills in, for each choice in a submission, what it lacks of id and label, as the form has them now. An id that the
// question does not know stays alone; so does a label that it does not know or knows twice, and where something can be typed one with an id
// that it does not know.
func fillChoices(s *tallydv1.Submission, options formOptions) {
	for _, r := range s.GetResponses() {
		if q := options[r.GetQuestionId()]; q != nil {
			q.fill(r)
		}
	}
}

// optionsOf reads the options off the blocks of a form. The fields of a question tell which group of blocks is its own; those of a
// MATRIX tell the blocks of its rows.
func optionsOf(blocks []*tallydv1.Block, questions []*tallydv1.Question) formOptions {
	return optionsIn(groupsOf(blocks), questions)
}

func optionsIn(groups map[string]*questionOptions, questions []*tallydv1.Question) formOptions {
	options := formOptions{}
	for _, q := range questions {
		for _, f := range q.GetFields() {
			for _, id := range []string{f.GetUuid(), f.GetBlockGroupUuid()} {
				if group := groups[id]; group != nil && id != "" {
					options[q.GetId()] = group
				}
			}
		}
	}
	return options
}

// renewed returns the options that the same questions have in other blocks.
func (o formOptions) renewed(groups map[string]*questionOptions) formOptions {
	options := formOptions{}
	for id, question := range o {
		if group := groups[question.group]; group != nil {
			options[id] = group
		}
	}
	return options
}

// groupsOf returns the options of each group of blocks, by the group's id and by the ids of its rows.
func groupsOf(blocks []*tallydv1.Block) map[string]*questionOptions {
	groups := map[string]*questionOptions{}
	for _, b := range blocks {
		group := groups[b.GetGroupUuid()]
		if group == nil {
			group = &questionOptions{group: b.GetGroupUuid()}
		}
		set := &group.options
		switch b.GetType() {
		case "MULTIPLE_CHOICE_OPTION", "CHECKBOX", "DROPDOWN_OPTION", "MULTI_SELECT_OPTION", "RANKING_OPTION":
		case "MATRIX_COLUMN":
			set = &group.columns
		case "MATRIX_ROW":
			set = &group.rows
			groups[b.GetUuid()] = group
		default:
			continue
		}
		groups[b.GetGroupUuid()] = group
		other := b.GetPayload().GetFields()["isOtherOption"].GetBoolValue()
		set.options = append(set.options, option{id: b.GetUuid(), text: blockText(b.GetPayload()), other: other})
	}
	for _, group := range groups {
		group.index()
	}
	return groups
}

var tag = regexp.MustCompile(`<[^>]*>`)

// blockText is what the block of an option says to a respondent. Rows and columns say it as rich text.
func blockText(payload *structpb.Struct) string {
	if text := payload.GetFields()["text"].GetStringValue(); text != "" {
		return text
	}
	var rich strings.Builder
	for _, segment := range payload.GetFields()["safeHTMLSchema"].GetListValue().GetValues() {
		if parts := segment.GetListValue().GetValues(); len(parts) > 0 {
			rich.WriteString(parts[0].GetStringValue())
		}
	}
	if rich.Len() == 0 {
		rich.WriteString(tag.ReplaceAllString(payload.GetFields()["html"].GetStringValue(), ""))
	}
	return strings.TrimSpace(strings.ReplaceAll(html.UnescapeString(rich.String()), "\u00a0", " "))
}
