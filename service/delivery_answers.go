package service

import (
	"cmp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// response returns the answer to the question, nil when there is none. What types Tally's other answers types it, from the JSON that
// those would hold; what does not fit into that is kept as it was delivered.
func (q *deliveredQuestion) response(parser *answerParser, unknown func(string)) *tallydv1.QuestionResponse {
	a := q.answer()
	r := &tallydv1.QuestionResponse{QuestionId: q.id, QuestionType: a.question.GetType(), AnswerJson: a.json}
	kind := cmp.Or(a.question.GetType(), "TYPE_MISSING")
	switch {
	case a.json == "":
		return nil
	case a.question.GetType() == "":
		unknown(kind)
	case a.twice:
		unknown(kind + ":twice")
	case typeAnswer(parser, r, a.question, unknown):
		r.AnswerJson = ""
	}
	a.options.fill(r)
	if a.more {
		unknown(kind + ":more")
		r.AnswerJson = asDelivered(q.fields)
	}
	return r
}

// deliveredAnswer is what the fields of one question come to.
type deliveredAnswer struct {
	json     string // as GetSubmission would have it; empty when there is no answer
	question *tallydv1.Question
	options  questionOptions
	twice    bool // one field came with two values
	more     bool // fields say more than the one that holds the answer
}

func (q *deliveredQuestion) answer() deliveredAnswer {
	a := deliveredAnswer{question: &tallydv1.Question{}}
	var whole *deliveredField
	var parts []*deliveredField
	for i := range q.fields {
		f := &q.fields[i]
		a.describe(f)
		if f.value == "" {
			continue
		}
		switch before := valueOf(q.fields[:i], f.suffix); {
		case before != "":
			a.twice = a.twice || before != f.value
		case f.suffix == "":
			whole = f
		default:
			parts = append(parts, f)
		}
	}
	// Options that were ticked are told once as a list and once more as a flag for each.
	flags := !slices.ContainsFunc(parts, func(f *deliveredField) bool { return f.value[0] != 't' && f.value[0] != 'f' })
	switch {
	case a.twice:
		a.json = asDelivered(q.fields)
	case whole != nil:
		a.json, a.more = whole.value, !flags
	case a.question.GetType() == "CHECKBOXES" && flags:
		a.json = ticked(parts)
	default:
		a.json = joined(parts)
	}
	return a
}

// valueOf returns the value of the field with the suffix.
func valueOf(fields []deliveredField, suffix string) string {
	for i := range fields {
		if fields[i].suffix == suffix && fields[i].value != "" {
			return fields[i].value
		}
	}
	return ""
}

// describe takes from a field what it says of the question. Only what has several answers is told apart by names.
func (a *deliveredAnswer) describe(f *deliveredField) {
	q := a.question
	if q.GetType() == "" {
		q.Type = f.kind
	}
	switch q.GetType() {
	case "HIDDEN_FIELDS", "CALCULATED_FIELDS":
		title := titleOf(f.label)
		q.Fields = append(q.Fields, &tallydv1.QuestionField{Uuid: f.suffix, Title: &title})
	case "MATRIX":
		title := titleOf(f.label)
		q.Title = &title
		for _, row := range f.rows {
			title := title + " [" + row.text + "]"
			q.Fields = append(q.Fields, &tallydv1.QuestionField{Uuid: row.id, Title: &title})
		}
	}
	if len(f.options)+len(f.rows)+len(f.columns) > 0 {
		a.options = questionOptions{options: newOptionSet(f.options), rows: newOptionSet(f.rows), columns: newOptionSet(f.columns)}
	}
}

// ticked writes the options whose flag is set as the list of their ids.
func ticked(parts []*deliveredField) string {
	var list []byte
	for _, f := range parts {
		if f.value[0] == 't' {
			list = quoted(append(list, ','), f.suffix)
		}
	}
	return enclosed('[', list, ']')
}

// joined writes the parts of an answer as the object that GetSubmission would have.
func joined(parts []*deliveredField) string {
	var members []byte
	for _, f := range parts {
		members = append(append(quoted(append(members, ','), f.suffix), ':'), f.value...)
	}
	return enclosed('{', members, '}')
}

// asDelivered writes the fields that have a value with their keys.
func asDelivered(fields []deliveredField) string {
	var list []byte
	for i := range fields {
		if f := &fields[i]; f.value != "" {
			list = quoted(append(list, `,{"key":`...), f.key)
			list = append(append(append(list, `,"value":`...), f.value...), '}')
		}
	}
	return enclosed('[', list, ']')
}

// enclosed returns the elements, of which a comma leads each, between brackets, and nothing when there are none.
func enclosed(before byte, elements []byte, after byte) string {
	if len(elements) == 0 {
		return ""
	}
	elements[0] = before
	return string(append(elements, after))
}

func quoted(to []byte, text string) []byte {
	to, _ = jsontext.AppendQuote(to, text) // what is no Unicode was repaired
	return to
}

// titleOf returns the text of a JSON string, nothing for any other value.
func titleOf(raw string) string {
	if raw == "" || raw[0] != '"' {
		return ""
	}
	text, _ := jsontext.AppendUnquote(nil, raw) // half an emoji becomes U+FFFD
	return string(text)
}
