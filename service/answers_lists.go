package service

import (
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
	for _, id := range rowOrder(object, q) {
		columns, ok := choicesOf(object[id])
		if !ok {
			return misfit
		}
		matrix.Rows = append(matrix.Rows, &tallydv1.MatrixRow{RowId: id, Row: rowName(q, fieldOf(q, id)), Columns: columns})
	}
	r.Answer = &tallydv1.QuestionResponse_Matrix{Matrix: matrix}
	return wholly
}

// rowOrder returns the keys of a matrix in the question's order, unknown ones last by id.
func rowOrder(object map[string]any, q *tallydv1.Question) []string {
	var known, unknown []string
	for id := range object {
		if fieldOf(q, id) == nil {
			unknown = append(unknown, id)
		}
	}
	for _, field := range q.GetFields() {
		for _, id := range []string{field.GetUuid(), field.GetBlockGroupUuid()} {
			if _, ok := object[id]; ok && !slices.Contains(known, id) {
				known = append(known, id)
			}
		}
	}
	slices.Sort(unknown)
	return append(known, unknown...)
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

// named calls do for each value of an answer that is keyed by field, or for the single value of a question with one field.
func named(q *tallydv1.Question, value any, do func(name string, value any) bool) bool {
	object, isObject := value.(map[string]any)
	if !isObject {
		name := ""
		if len(q.GetFields()) == 1 {
			name = q.GetFields()[0].GetTitle()
		}
		return do(name, value)
	}
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := key
		if field := fieldOf(q, key); field.GetTitle() != "" {
			name = field.GetTitle()
		}
		if object[key] != nil && !do(name, object[key]) {
			return false
		}
	}
	return true
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
