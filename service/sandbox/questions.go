package sandbox

import (
	"slices"
	"time"
)

// question is one question of a form with all that answering it needs. It is
// never changed once built, except for its title.
type question struct {
	id, kind, group string
	title           *string
	titleModified   bool
	required        bool
	options         []option
	rows, columns   []option
	named           []namedField
	payload         map[string]any
	samples         []string
	createdAt       time.Time
	updatedAt       time.Time
}

type option struct {
	ID    string `json:"id"`
	Text  string `json:"text"`
	other bool
}

// namedField is a hidden or a calculated field.
type namedField struct {
	uuid, name, kind string
	value            any
}

type questionView struct {
	ID                    string      `json:"id"`
	Type                  string      `json:"type"`
	Title                 *string     `json:"title"`
	IsTitleModifiedByUser bool        `json:"isTitleModifiedByUser"`
	FormID                string      `json:"formId"`
	IsDeleted             bool        `json:"isDeleted"`
	NumberOfResponses     int         `json:"numberOfResponses"`
	CreatedAt             stamp       `json:"createdAt"`
	UpdatedAt             stamp       `json:"updatedAt"`
	Fields                []fieldView `json:"fields"`
}

type fieldView struct {
	UUID           string `json:"uuid"`
	Type           string `json:"type"`
	QuestionType   string `json:"questionType"`
	BlockGroupUUID string `json:"blockGroupUuid"`
	Title          string `json:"title"`
}

// optionKinds maps the block of one option to the question it belongs to.
var optionKinds = map[string]string{
	"MULTIPLE_CHOICE_OPTION": "MULTIPLE_CHOICE",
	"CHECKBOX":               "CHECKBOXES",
	"DROPDOWN_OPTION":        "DROPDOWN",
	"MULTI_SELECT_OPTION":    "MULTI_SELECT",
	"RANKING_OPTION":         "RANKING",
	"MATRIX_ROW":             "MATRIX",
	"MATRIX_COLUMN":          "MATRIX",
}

// inputKinds are the other blocks a respondent answers.
var inputKinds = []string{
	"INPUT_TEXT", "INPUT_NUMBER", "INPUT_EMAIL", "INPUT_LINK", "INPUT_PHONE_NUMBER", "INPUT_DATE", "INPUT_TIME",
	"TEXTAREA", "FILE_UPLOAD", "LINEAR_SCALE", "RATING", "HIDDEN_FIELDS", "PAYMENT", "SIGNATURE", "MATRIX",
	"WALLET_CONNECT", "CALCULATED_FIELDS", "CAPTCHA", "RESPONDENT_COUNTRY",
}

func questionKind(blockType string) string {
	if kind := optionKinds[blockType]; kind != "" {
		return kind
	}
	if slices.Contains(inputKinds, blockType) {
		return blockType
	}
	return ""
}

// deriveQuestions reads the questions off the blocks: an input counts only
// after a TITLE or LABEL, hidden and calculated fields always.
// [behaviour questions-need-title]
func deriveQuestions(blocks []block) []*question {
	var found []*question
	var title *string
	for _, b := range blocks {
		switch kind := questionKind(b.Type); {
		case b.Type == "TITLE" || b.Type == "LABEL":
			words := plainText(b.Payload["safeHTMLSchema"])
			title = &words
		case b.Type == "PAGE_BREAK":
			title = nil
		case kind != "":
			q := first(found, func(q *question) bool { return q.group == b.GroupUUID && q.kind == kind })
			if q == nil {
				if q = newQuestion(b, kind, title); q == nil {
					continue
				}
				found, title = append(found, q), nil
			}
			q.absorb(b)
		}
	}
	return found
}

func newQuestion(b block, kind string, title *string) *question {
	bare := kind == "HIDDEN_FIELDS" || kind == "CALCULATED_FIELDS"
	if title == nil && !bare {
		return nil
	}
	if bare {
		title = nil
	}
	required, _ := b.Payload["isRequired"].(bool)
	return &question{kind: kind, group: b.GroupUUID, title: title, required: required, payload: b.Payload}
}

// absorb adds what one more block of the question's group says.
func (q *question) absorb(b block) {
	label, _ := b.Payload["text"].(string)
	if label == "" {
		label = plainText(b.Payload["safeHTMLSchema"])
	}
	other, _ := b.Payload["isOtherOption"].(bool)
	switch {
	case b.Type == "MATRIX_ROW":
		q.rows = append(q.rows, option{ID: b.UUID, Text: label})
	case b.Type == "MATRIX_COLUMN":
		q.columns = append(q.columns, option{ID: b.UUID, Text: label})
	case optionKinds[b.Type] != "":
		q.options = append(q.options, option{ID: b.UUID, Text: label, other: other})
	case b.Type == "HIDDEN_FIELDS":
		q.named = namedFields(b.Payload["hiddenFields"])
	case b.Type == "CALCULATED_FIELDS":
		q.named = namedFields(b.Payload["calculatedFields"])
	}
}

func namedFields(v any) []namedField {
	list, _ := v.([]any)
	var fields []namedField
	for _, item := range list {
		m, _ := item.(map[string]any)
		f := namedField{value: m["value"]}
		f.uuid, _ = m["uuid"].(string)
		f.name, _ = m["name"].(string)
		f.kind, _ = m["type"].(string)
		fields = append(fields, f)
	}
	return fields
}

// setBlocks replaces all blocks. Questions whose group stays keep their id;
// those that go are shown as deleted while they have responses.
// [behaviour question-identity]
func (f *form) setBlocks(blocks []block, newID func() string, now time.Time) {
	derived := deriveQuestions(blocks)
	for _, q := range derived {
		q.id, q.createdAt, q.updatedAt = "", now, now
		old := first(slices.Concat(f.questions, f.retired), func(o *question) bool { return o.group == q.group && o.kind == q.kind })
		if old == nil {
			q.id = newID()
			continue
		}
		q.id, q.createdAt, q.samples = old.id, old.createdAt, old.samples
		if old.titleModified {
			q.title, q.titleModified = old.title, true
		}
	}
	var retired []*question
	for _, old := range slices.Concat(f.questions, f.retired) {
		kept := slices.ContainsFunc(derived, func(q *question) bool { return q.id == old.id })
		if !kept && f.counts[old.id] > 0 {
			retired = append(retired, old)
		}
	}
	f.blocks, f.questions, f.retired = blocks, derived, retired
}

func (f *form) viewQuestions() []questionView {
	views := make([]questionView, 0, len(f.questions)+len(f.retired))
	for _, q := range f.questions {
		views = append(views, f.viewQuestion(q, false))
	}
	for _, q := range f.retired {
		views = append(views, f.viewQuestion(q, true))
	}
	return views
}

func (f *form) viewQuestion(q *question, deleted bool) questionView {
	return questionView{
		ID: q.id, Type: q.kind, Title: q.title, IsTitleModifiedByUser: q.titleModified, FormID: f.id,
		IsDeleted: deleted, NumberOfResponses: f.counts[q.id],
		CreatedAt: stamp(q.createdAt), UpdatedAt: stamp(q.updatedAt), Fields: q.fields(),
	}
}

// fields: one, but a field per matrix row and per hidden or calculated field.
// [behaviour question-fields]
func (q *question) fields() []fieldView {
	views := []fieldView{}
	for _, row := range q.rows {
		views = append(views, fieldView{row.ID, "INPUT_FIELD", q.kind, row.ID, q.words() + " [" + row.Text + "]"})
	}
	for _, n := range q.named {
		fieldType := "HIDDEN_FIELD"
		if q.kind == "CALCULATED_FIELDS" {
			fieldType = "CALCULATED_FIELD"
		}
		views = append(views, fieldView{n.uuid, fieldType, q.kind, q.group, n.name})
	}
	if len(views) == 0 && q.kind != "HIDDEN_FIELDS" && q.kind != "CALCULATED_FIELDS" {
		views = append(views, fieldView{q.group, "INPUT_FIELD", q.kind, q.group, q.words()})
	}
	return views
}

func (q *question) words() string {
	if q.title == nil {
		return ""
	}
	return *q.title
}

func listQuestions(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	return ok(struct {
		Questions    []questionView `json:"questions"`
		HasResponses bool           `json:"hasResponses"`
	}{f.viewQuestions(), len(f.questions) > 0 && len(f.submissions) > 0})
}

func renameQuestion(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	i := slices.IndexFunc(f.questions, func(q *question) bool { return q.id == c.path("questionId") })
	if i < 0 {
		return notFound("Question")
	}
	renamed := *f.questions[i]
	if title, given := c.body["title"].(string); given {
		renamed.title, renamed.titleModified, renamed.updatedAt = &title, true, c.now
	}
	f.questions = slices.Clone(f.questions)
	f.questions[i] = &renamed
	return ok(f.viewQuestion(&renamed, false))
}
