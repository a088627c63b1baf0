package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// SubmitError says why a form could not be answered.
type SubmitError struct {
	// Status is the HTTP status the control route answers.
	Status int
	// Message is one sentence for a person.
	Message string
}

// Error returns the message.
func (e *SubmitError) Error() string { return e.Message }

func refuse(status int, format string, args ...any) error {
	return &SubmitError{Status: status, Message: fmt.Sprintf(format, args...)}
}

// Submit answers a form as a respondent would and sends its webhooks. Answers
// go by question title or id; without any the sandbox invents believable
// ones. Choices are given by label or option id, a matrix as row to column;
// files, signatures and payments cannot be given and are invented.
// The error is a *SubmitError.
func (s *Sandbox) Submit(formID string, answers map[string]any) (submissionID string, err error) {
	return s.submit(formID, answers, s.notify)
}

// SubmitUndelivered answers a form as Submit does, and gives up on every
// webhook at once: Tally's list of deliveries says so, and nobody gets one.
func (s *Sandbox) SubmitUndelivered(formID string, answers map[string]any) (submissionID string, err error) {
	return s.submit(formID, answers, s.drop)
}

// SubmitPartial leaves a form half-way: every question after the last one
// given stays open, required or not, and no webhook is sent.
func (s *Sandbox) SubmitPartial(formID string, answers map[string]any) (submissionID string, err error) {
	return s.submit(formID, answers, nil)
}

// submit dates the submission as Tally stores it. [behaviour stored-seconds]
// submit answers a form; tell tells of what was completed, and is nil for a
// form that is left half-way.
func (s *Sandbox) submit(formID string, given map[string]any, tell func(*form, *submission, time.Time)) (string, error) {
	answers, err := asJSON(given)
	if err != nil {
		return "", refuse(http.StatusBadRequest, "answers cannot be written as JSON: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.state.form(formID)
	if err := acceptsAnswers(f, formID); err != nil {
		return "", err
	}
	s.state.issued++
	now := s.opts.clock().UTC().Truncate(time.Millisecond)
	sub := &submission{
		id: s.state.newID(), at: now.Truncate(time.Second), completed: tell != nil,
		seed: mixed(s.state.salt, s.state.issued, hashText(formID)),
	}
	if err := sub.fill(f, answers); err != nil {
		return "", err
	}
	f.add(sub)
	if tell != nil {
		tell(f, sub, now)
	}
	return sub.id, nil
}

// asJSON gives Go callers the types that a request would have: []any for
// []string, json.Number for int.
func asJSON(answers map[string]any) (map[string]any, error) {
	if len(answers) == 0 {
		return nil, nil
	}
	source, err := json.Marshal(answers)
	if err != nil {
		return nil, err
	}
	value, err := decode(bytes.NewReader(source))
	if err != nil {
		return nil, err
	}
	return value.(map[string]any), nil
}

// acceptsAnswers: only a published, open form does. [behaviour submit-open-forms]
func acceptsAnswers(f *form, id string) error {
	if f == nil {
		return refuse(http.StatusNotFound, "form %q is unknown", id)
	}
	limit, limited := toNumber(f.settings["submissionsLimit"])
	switch {
	case f.status != "PUBLISHED":
		return refuse(http.StatusConflict, "form %q is not published but %s", id, f.status)
	case f.closed():
		return refuse(http.StatusConflict, "form %q is closed", id)
	case limited && float64(len(f.submissions)) >= limit:
		return refuse(http.StatusConflict, "form %q has reached its limit of %v submissions", id, limit)
	}
	return nil
}

// notify queues a delivery for every enabled webhook; partial submissions
// have none. [behaviour delivery-completed-only]
func (s *Sandbox) notify(f *form, sub *submission, now time.Time) {
	s.deliveries(f, sub, now, func(w *webhook, e *event) { s.courier.send(w, e, e.payload) })
}

// drop gives up on the deliveries of a submission without a try.
func (s *Sandbox) drop(f *form, sub *submission, now time.Time) {
	s.deliveries(f, sub, now, func(_ *webhook, e *event) { e.status, e.retry = "DROPPED", len(retryWaits) })
}

// deliveries notes a delivery for every enabled webhook of a form and calls do
// with each.
func (s *Sandbox) deliveries(f *form, sub *submission, now time.Time, do func(*webhook, *event)) {
	for _, w := range s.state.webhooks {
		if w.FormID != f.id || !w.IsEnabled {
			continue
		}
		e := &event{
			id: s.state.newID(), eventID: s.state.newUUID(), formID: f.id, url: w.URL, status: "QUEUED",
			submission: sub, createdAt: now, updatedAt: now,
		}
		e.payload = delivery(f, sub, e.eventID, now)
		w.events = append(w.events, e)
		do(w, e)
	}
}

// fill invents all answers when none are given, else reads those given and
// invents what a respondent does not type.
func (sub *submission) fill(f *form, given map[string]any) error {
	if len(given) == 0 {
		sub.answers = (&answerPlan{questions: f.questions}).generate(f.id, sub)
		return nil
	}
	maker, used := newMaker(sub.seed, f.id, sub.at), map[string]bool{}
	for i, q := range f.questions {
		v, name, found := q.find(given)
		switch {
		case found:
			value, err := q.read(v)
			if err != nil {
				return refuse(http.StatusBadRequest, "answer to %q: %s", name, err)
			}
			used[name] = true
			if value != nil {
				sub.answers = append(sub.answers, answer{q, value})
			}
		case q.followsByItself(sub.completed):
			sub.answers = append(sub.answers, answer{q, maker.make(i, q)})
		case q.required && sub.completed && q.kind != "CAPTCHA":
			return refuse(http.StatusBadRequest, "question %q is required", q.words())
		}
	}
	for _, name := range sortedKeys(given) {
		if !used[name] {
			return refuse(http.StatusBadRequest, "form has no question %q", name)
		}
	}
	return nil
}

// followsByItself: hidden and calculated fields always do, files, signatures
// and payments where the form insists on them.
func (q *question) followsByItself(completed bool) bool {
	switch q.kind {
	case "HIDDEN_FIELDS", "CALCULATED_FIELDS":
		return true
	case "FILE_UPLOAD", "SIGNATURE", "PAYMENT":
		return q.required && completed
	}
	return false
}

func (q *question) find(given map[string]any) (v any, name string, found bool) {
	for _, name := range []string{q.id, q.words(), q.group} {
		if v, found := given[name]; found && name != "" {
			return v, name, true
		}
	}
	return nil, "", false
}

// read turns a respondent's answer into the form it is kept in, nil for none.
func (q *question) read(v any) (any, error) {
	switch q.kind {
	case "MULTIPLE_CHOICE", "DROPDOWN", "CHECKBOXES", "MULTI_SELECT", "RANKING":
		return readChoices(q.options, v)
	case "MATRIX":
		return q.readMatrix(v)
	case "INPUT_NUMBER", "LINEAR_SCALE", "RATING":
		return q.readNumber(v)
	case "HIDDEN_FIELDS", "CALCULATED_FIELDS":
		return q.readNamed(v)
	case "FILE_UPLOAD", "SIGNATURE", "PAYMENT", "CAPTCHA":
		return nil, errors.New("can only be invented: leave it out")
	}
	if s, ok := v.(string); ok && s != "" {
		return s, nil
	}
	return nil, errors.New("must be text")
}

func readChoices(options []option, v any) ([]string, error) {
	list, several := v.([]any)
	if !several {
		list = []any{v}
	}
	ids := []string{}
	for _, item := range list {
		s, _ := item.(string)
		chosen := first(pointers(options), func(o *option) bool { return o.ID == s || o.Text == s && !o.other })
		other := slices.ContainsFunc(options, func(o option) bool { return o.other })
		switch {
		case chosen != nil:
			ids = append(ids, chosen.ID)
		case other && s != "":
			ids = append(ids, s)
		default:
			return nil, fmt.Errorf("%q is not one of the options %s", fmt.Sprint(item), optionTexts(options))
		}
	}
	return ids, nil
}

func optionTexts(options []option) string {
	texts := make([]string, len(options))
	for i, o := range options {
		texts[i] = o.Text
	}
	return strings.Join(texts, ", ")
}

func (q *question) readMatrix(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("must be an object of row to column")
	}
	rows := map[string][]string{}
	for name, column := range m {
		row, err := readChoices(q.rows, name)
		if err != nil {
			return nil, err
		}
		if rows[row[0]], err = readChoices(q.columns, column); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (q *question) readNumber(v any) (any, error) {
	n, ok := toNumber(v)
	if !ok {
		return nil, errors.New("must be a number")
	}
	low, high, limited := 0, 0, true
	switch {
	case q.kind == "RATING":
		low, high = 1, q.limit("stars", 5)
	case q.kind == "LINEAR_SCALE":
		low, high = q.limit("start", 0), q.limit("end", 10)
	case q.payload["minNumber"] != nil && q.payload["maxNumber"] != nil:
		low, high = q.limit("minNumber", 0), q.limit("maxNumber", 0)
	default:
		limited = false
	}
	if limited && (n < float64(low) || n > float64(high)) {
		return nil, fmt.Errorf("must be between %d and %d", low, high)
	}
	return n, nil
}

func (q *question) readNamed(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("must be an object by field name")
	}
	values := map[string]any{}
	given := false
	for _, f := range q.named {
		values[f.uuid] = m[f.name]
		given = given || m[f.name] != nil
	}
	if !given {
		return nil, nil //nolint:nilnil // it is no answer
	}
	return values, nil
}
