package service

import (
	"math"
	"strconv"
	"strings"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// maxExact is the largest integer up to which a double holds every one.
const maxExact = 1 << 53

// fit is how much of an answer its typed form says.
type fit int

const (
	misfit fit = iota // nothing: the JSON is of another shape
	partly            // not all: the JSON says more
	wholly
)

// wholeIf is for kinds that say all or nothing.
func wholeIf(ok bool) fit {
	if ok {
		return wholly
	}
	return misfit
}

// answerKind fills a response's typed answer from the JSON value and says how much of it fits.
type answerKind func(r *tallydv1.QuestionResponse, q *tallydv1.Question, value any) fit

// answerKinds says how each kind of question is answered. A kind that is not here has only answer_json.
var answerKinds = map[string]answerKind{
	"INPUT_TEXT":         textAnswer,
	"TEXTAREA":           textAnswer,
	"INPUT_EMAIL":        textAnswer,
	"INPUT_LINK":         textAnswer,
	"INPUT_PHONE_NUMBER": textAnswer,
	"INPUT_NUMBER":       numberAnswer,
	"LINEAR_SCALE":       numberAnswer,
	"RATING":             numberAnswer,
	"INPUT_DATE":         dateAnswer,
	"INPUT_TIME":         timeAnswer,
	"CHECKBOX":           choicesAnswer,
	"CHECKBOXES":         choicesAnswer,
	"MULTIPLE_CHOICE":    choicesAnswer,
	"DROPDOWN":           choicesAnswer,
	"MULTI_SELECT":       choicesAnswer,
	"RANKING":            rankingAnswer,
	"MATRIX":             matrixAnswer,
	"FILE_UPLOAD":        filesAnswer,
	"SIGNATURE":          signatureAnswer,
	"PAYMENT":            paymentAnswer,
	"HIDDEN_FIELDS":      hiddenAnswer,
	"CALCULATED_FIELDS":  calculatedAnswer,
	"RESPONDENT_COUNTRY": countryAnswer,
	"WALLET_CONNECT":     walletAnswer,
}

// typeAnswers gives each response its typed answer, by the questions of the same page. answer_json stays for the full view, and for
// what its typed form does not say whole; what has no typed form unknown is told of.
func typeAnswers(questions []*tallydv1.Question, submissions []*tallydv1.Submission, view tallydv1.SubmissionView, unknown func(kind string)) {
	byID := make(map[string]*tallydv1.Question, len(questions))
	for _, q := range questions {
		byID[q.GetId()] = q
	}
	parser := newAnswerParser()
	for _, submission := range submissions {
		for _, response := range submission.GetResponses() {
			whole := typeAnswer(parser, response, byID[response.GetQuestionId()], unknown)
			if whole && view != tallydv1.SubmissionView_SUBMISSION_VIEW_FULL {
				response.AnswerJson = ""
			}
		}
	}
}

// typeAnswer reports whether the response has a typed answer that says all that answer_json does.
func typeAnswer(parser *answerParser, r *tallydv1.QuestionResponse, q *tallydv1.Question, unknown func(string)) bool {
	if q == nil {
		unknown("QUESTION_MISSING")
		return false
	}
	r.QuestionType = q.GetType()
	if r.GetAnswerJson() == "" {
		return false
	}
	kind, known := answerKinds[q.GetType()]
	if !known {
		unknown(q.GetType())
		return false
	}
	value, err := parser.parse(r.GetAnswerJson())
	if err != nil {
		unknown(q.GetType() + ":" + jsonKind(r.GetAnswerJson()))
		return false
	}
	switch kind(r, q, value) {
	case wholly:
		return !parser.repaired
	case partly:
		unknown(q.GetType() + ":more")
	default:
		r.Answer = nil
		unknown(q.GetType() + ":" + jsonKind(r.GetAnswerJson()))
	}
	return false
}

func jsonKind(text string) string {
	switch text[0] {
	case '{':
		return "object"
	case '[':
		return "list"
	case '"':
		return "text"
	case 't', 'f':
		return "flag"
	default:
		return "number"
	}
}

func textAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	text, ok := value.(string)
	r.Answer = &tallydv1.QuestionResponse_Text{Text: text}
	return wholeIf(ok)
}

func numberAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	n, ok := number(value)
	r.Answer = &tallydv1.QuestionResponse_Number{Number: n}
	return wholeIf(ok)
}

// number reads a number, also one written as text, and refuses what a double would round to another integer.
func number(value any) (float64, bool) {
	var text string
	switch v := value.(type) {
	case jsonNumber:
		text = string(v)
	case string:
		text = v
	default:
		return 0, false
	}
	if strings.ContainsAny(text, "xXpP_iInN ") {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if whole, notWhole := strconv.ParseInt(text, 10, 64); notWhole == nil && (whole > maxExact || whole < -maxExact) {
		return 0, false
	}
	return n, err == nil && (math.Abs(n) <= maxExact || strings.ContainsAny(text, ".eE"))
}

func dateAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	text, _ := value.(string)
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1 {
		return misfit
	}
	r.Answer = &tallydv1.QuestionResponse_Date{Date: &tallydv1.Date{
		Year: int32(day.Year()), Month: int32(day.Month()), Day: int32(day.Day()), //nolint:gosec // four digits
	}}
	return wholly
}

func timeAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	text, _ := value.(string)
	at, err := time.Parse("15:04", text)
	if err != nil {
		at, err = time.Parse(time.TimeOnly, text)
	}
	if err != nil {
		return misfit
	}
	r.Answer = &tallydv1.QuestionResponse_Time{Time: &tallydv1.TimeOfDay{
		Hours: int32(at.Hour()), Minutes: int32(at.Minute()), Seconds: int32(at.Second()), //nolint:gosec // two digits
	}}
	if at.Nanosecond() != 0 {
		return partly
	}
	return wholly
}

func countryAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	text, ok := value.(string)
	r.Answer = &tallydv1.QuestionResponse_Country{Country: text}
	return wholeIf(ok)
}

func walletAnswer(r *tallydv1.QuestionResponse, _ *tallydv1.Question, value any) fit {
	if object, ok := value.(map[string]any); ok && len(object) == 1 {
		value = object["address"]
	}
	text, ok := value.(string)
	r.Answer = &tallydv1.QuestionResponse_Wallet{Wallet: text}
	return wholeIf(ok)
}
