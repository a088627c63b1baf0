package service

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// optionID is what the id of an option looks like; any other text is the option's label.
var optionID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func choicesAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	if flag, ok := value.(bool); ok {
		r.Answer = &tallydv1.QuestionResponse_Boolean{Boolean: flag}
		return wholly
	}
	choices, ok := choicesOf(value)
	r.Answer = &tallydv1.QuestionResponse_Choices{Choices: &tallydv1.Choices{Choices: choices}}
	return wholeIf(ok)
}

func rankingAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	choices, ok := choicesOf(value)
	r.Answer = &tallydv1.QuestionResponse_Ranking{Ranking: &tallydv1.Choices{Choices: choices}}
	return wholeIf(ok)
}

// choicesOf reads a list of choices, or the single one that old answers are.
func choicesOf(value any) ([]*tallydv1.Choice, bool) {
	elements, isList := value.([]any)
	if !isList {
		elements = []any{value}
	}
	choices := make([]*tallydv1.Choice, 0, len(elements))
	for _, element := range elements {
		text, ok := element.(string)
		if n, isNumber := element.(jsonNumber); isNumber {
			text, ok = string(n), true
		}
		if !ok {
			return nil, false
		}
		choice := &tallydv1.Choice{Label: text}
		if len(text) == len("00000000-0000-0000-0000-000000000000") && optionID.MatchString(text) {
			choice = &tallydv1.Choice{OptionId: text}
		}
		choices = append(choices, choice)
	}
	return choices, true
}

func matrixAnswer(r *tallydv1.QuestionResponse, q *tallydv1.Question, value any) fit {
	object, ok := value.(map[string]any)
	if !ok {
		return misfit
	}
	matrix := &tallydv1.Matrix{}
	for _, row := range rowsOf(object, q) {
		if object[row.id] == nil {
			continue
		}
		columns, ok := choicesOf(object[row.id])
		if !ok {
			return misfit
		}
		matrix.Rows = append(matrix.Rows, &tallydv1.MatrixRow{RowId: row.id, Row: rowName(q, row.field), Columns: columns})
	}
	r.Answer = &tallydv1.QuestionResponse_Matrix{Matrix: matrix}
	return wholly
}

// answeredRow is a row of a matrix and what the question says of it, which may be nothing.
type answeredRow struct {
	id    string
	field *tallydv1.QuestionField
}

// rowsOf returns the keys of a matrix in the question's order, unknown ones last by id.
func rowsOf(object map[string]any, q *tallydv1.Question) []answeredRow {
	rows := make([]answeredRow, 0, len(object))
	known := make(map[string]bool, len(object))
	for _, field := range q.GetFields() {
		for _, id := range []string{field.GetUuid(), field.GetBlockGroupUuid()} {
			if _, ok := object[id]; ok && id != "" && !known[id] {
				known[id] = true
				rows = append(rows, answeredRow{id, field})
			}
		}
	}
	if len(rows) == len(object) {
		return rows
	}
	unknown := len(rows)
	for id := range object {
		if !known[id] {
			rows = append(rows, answeredRow{id: id})
		}
	}
	slices.SortFunc(rows[unknown:], func(a, b answeredRow) int { return strings.Compare(a.id, b.id) })
	return rows
}

func fieldOf(q *tallydv1.Question, id string) *tallydv1.QuestionField {
	for _, field := range q.GetFields() {
		if id != "" && (field.GetUuid() == id || field.GetBlockGroupUuid() == id) {
			return field
		}
	}
	return nil
}

// rowName takes the row out of a field's title, which is "Question [Row]".
func rowName(q *tallydv1.Question, field *tallydv1.QuestionField) string {
	title := field.GetTitle()
	if row, ok := strings.CutPrefix(title, q.GetTitle()+" ["); ok && strings.HasSuffix(row, "]") {
		return strings.TrimSuffix(row, "]")
	}
	return title
}

func filesAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	files, how := filesOf(value)
	r.Answer = &tallydv1.QuestionResponse_Files{Files: &tallydv1.Files{Files: files}}
	return how
}

func signatureAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	files, how := filesOf(value)
	r.Answer = &tallydv1.QuestionResponse_Signature{Signature: &tallydv1.Files{Files: files}}
	return how
}

func filesOf(value any) ([]*tallydv1.File, fit) {
	elements, isList := value.([]any)
	if !isList {
		elements = []any{value}
	}
	how := wholly
	files := make([]*tallydv1.File, 0, len(elements))
	for _, element := range elements {
		object, ok := element.(map[string]any)
		if !ok {
			return nil, misfit
		}
		fields := &objectFields{object: object}
		file := &tallydv1.File{
			Id: fields.text("id"), Name: fields.text("name"), Url: fields.text("url"), MimeType: fields.text("mimeType"),
		}
		if size, ok := fields.number("size"); ok && size == math.Trunc(size) {
			file.SizeBytes = int64(size)
		} else if ok {
			how = partly
		}
		files = append(files, file)
		how = min(how, fields.fit())
	}
	return files, how
}

// objectFields reads the fields of an object and counts what it took.
type objectFields struct {
	object map[string]any
	taken  int
}

// text takes a text; null and absence are no text.
func (f *objectFields) text(key string) string {
	value, there := f.object[key]
	text, ok := value.(string)
	if there && (ok || value == nil) {
		f.taken++
	}
	return text
}

func (f *objectFields) number(key string) (float64, bool) {
	value, there := f.object[key]
	n, ok := number(value)
	if there && (ok || value == nil) {
		f.taken++
	}
	return n, ok
}

// fit says whether the object holds more than was taken.
func (f *objectFields) fit() fit {
	if f.taken < len(f.object) {
		return partly
	}
	return wholly
}

func paymentAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	payment := &tallydv1.PaymentAnswer{}
	r.Answer = &tallydv1.QuestionResponse_Payment{Payment: payment}
	object, isObject := value.(map[string]any)
	if !isObject {
		amount, ok := number(value)
		payment.Amount = &amount
		return wholeIf(ok)
	}
	fields := &objectFields{object: object}
	payment.Currency, payment.Name = fields.text("currency"), fields.text("name")
	payment.Email, payment.Link = fields.text("email"), fields.text("link")
	for _, key := range []string{"price", "amount"} {
		if amount, ok := fields.number(key); ok && payment.Amount == nil {
			payment.Amount = &amount
		} else if ok && amount != payment.GetAmount() {
			return partly
		}
	}
	if payment.Amount == nil && payment.GetCurrency() == "" {
		return misfit
	}
	return fields.fit()
}

// named calls do for each value of an answer that is keyed by field, or for the single value of a question with one field. The order is
// that of the names, whatever the keys are.
func named(q *tallydv1.Question, value any, do func(name string, value any) bool) bool {
	object, isObject := value.(map[string]any)
	if !isObject {
		name := ""
		if len(q.GetFields()) == 1 {
			name = q.GetFields()[0].GetTitle()
		}
		return do(name, value)
	}
	values := make([]namedValue, 0, len(object))
	for key, value := range object {
		name := key
		if field := fieldOf(q, key); field.GetTitle() != "" {
			name = field.GetTitle()
		}
		values = append(values, namedValue{name, key, value})
	}
	slices.SortFunc(values, func(a, b namedValue) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.key, b.key))
	})
	for _, v := range values {
		if v.value != nil && !do(v.name, v.value) {
			return false
		}
	}
	return true
}

type namedValue struct {
	name, key string
	value     any
}

func hiddenAnswer(r *tallydv1.QuestionResponse, q *tallydv1.Question, value any) fit {
	values := map[string]string{}
	r.Answer = &tallydv1.QuestionResponse_HiddenFields{HiddenFields: &tallydv1.HiddenFields{Values: values}}
	how := wholly
	ok := named(q, value, func(name string, value any) bool {
		text, ok := value.(string)
		if n, isNumber := value.(jsonNumber); isNumber {
			text, ok = string(n), true
		}
		if _, twice := values[name]; twice {
			how = partly
		}
		values[name] = text
		return ok && name != ""
	})
	return min(how, wholeIf(ok))
}

func calculatedAnswer(r *tallydv1.QuestionResponse, q *tallydv1.Question, value any) fit {
	result := &tallydv1.CalculatedValues{}
	r.Answer = &tallydv1.QuestionResponse_Calculated{Calculated: result}
	return wholeIf(named(q, value, func(name string, value any) bool {
		calculated := &tallydv1.CalculatedValue{Name: name}
		if text, ok := value.(string); ok {
			calculated.Value = &tallydv1.CalculatedValue_Text{Text: text}
		} else if n, ok := number(value); ok {
			calculated.Value = &tallydv1.CalculatedValue_Number{Number: n}
		}
		result.Values = append(result.Values, calculated)
		return calculated.Value != nil
	}))
}
