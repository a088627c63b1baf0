package sandbox

import (
	"slices"
	"time"
)

// submission is one set of answers. A seeded one keeps only the number its
// answers are generated from, so that thousands cost next to nothing.
type submission struct {
	id        string
	at        time.Time
	completed bool
	seed      uint64
	plan      *answerPlan
	answers   []answer
}

// answer is what one question was given, in the form webhooks carry: option
// ids for choices, row ids to column ids for a matrix.
type answer struct {
	question *question
	value    any
}

func (sub *submission) list(f *form) []answer {
	if sub.plan != nil {
		return sub.plan.generate(f.id, sub)
	}
	return sub.answers
}

type submissionView struct {
	ID           string         `json:"id"`
	FormID       string         `json:"formId"`
	RespondentID string         `json:"respondentId"`
	IsCompleted  bool           `json:"isCompleted"`
	SubmittedAt  stamp          `json:"submittedAt"`
	CreatedAt    stamp          `json:"createdAt"`
	UpdatedAt    stamp          `json:"updatedAt"`
	PreviewURL   string         `json:"previewUrl"`
	PDFURL       string         `json:"pdfUrl"`
	Responses    []responseView `json:"responses"`
}

type responseView struct {
	ID              string  `json:"id"`
	FormID          string  `json:"formId"`
	QuestionID      string  `json:"questionId"`
	RespondentID    string  `json:"respondentId"`
	SubmissionID    string  `json:"submissionId"`
	SessionUUID     string  `json:"sessionUuid"`
	Answer          any     `json:"answer"`
	FormattedAnswer *string `json:"formattedAnswer,omitempty"`
	CreatedAt       stamp   `json:"createdAt"`
	UpdatedAt       stamp   `json:"updatedAt"`
}

func (sub *submission) respondent() string { return shortID(mixed(sub.seed, 'r'), 6) }

func (s *Sandbox) viewSubmission(f *form, sub *submission) submissionView {
	at, respondent := stamp(sub.at), sub.respondent()
	view := submissionView{
		ID: sub.id, FormID: f.id, RespondentID: respondent, IsCompleted: sub.completed,
		SubmittedAt: at, CreatedAt: at, UpdatedAt: at,
		PreviewURL: signedURL("https://tally.so/submissions/"+sub.id+"/preview", sub.id, f.id),
		PDFURL:     signedURL("https://tally.so/submissions/"+sub.id+"/pdf", sub.id, f.id),
		Responses:  []responseView{},
	}
	session := uuidOf(mixed(sub.seed, 's'))
	for _, a := range sub.list(f) {
		view.Responses = append(view.Responses, responseView{
			ID: shortID(mixed(sub.seed, hashText(a.question.id)), 7), FormID: f.id, QuestionID: a.question.id,
			RespondentID: respondent, SubmissionID: sub.id, SessionUUID: session,
			Answer: a.rest(s.opts.choiceIDs), FormattedAnswer: a.formatted(), CreatedAt: at, UpdatedAt: at,
		})
	}
	return view
}

func submissionQuery() []key {
	return []key{
		page, limitUpTo(500),
		maybe("filter", oneOf("all", "completed", "partial")),
		maybe("startDate", dateText), maybe("endDate", dateText), maybe("afterId", text),
	}
}

type filterTotals struct {
	All       int `json:"all"`
	Completed int `json:"completed"`
	Partial   int `json:"partial"`
}

type submissionPage struct {
	Page        int              `json:"page"`
	Limit       int              `json:"limit"`
	HasMore     bool             `json:"hasMore"`
	Totals      filterTotals     `json:"totalNumberOfSubmissionsPerFilter"`
	Questions   []questionView   `json:"questions"`
	Submissions []submissionView `json:"submissions"`
}

// listSubmissions answers newest first, questions on every page, totals of
// the whole form whatever the filter. [behaviour newest-first]
// [behaviour questions-each-page] [behaviour totals-whole-form]
func listSubmissions(s *Sandbox, c *call) *reply {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return refusal
	}
	limit := c.number("limit", 50)
	list, number, more := pageOf(c, f.selected(c), limit)
	views := make([]submissionView, len(list))
	for i, sub := range list {
		views[i] = s.viewSubmission(f, sub)
	}
	all := len(f.submissions)
	return ok(submissionPage{
		Page: number, Limit: limit, HasMore: more,
		Totals:    filterTotals{All: all, Completed: all - f.partial, Partial: f.partial},
		Questions: f.viewQuestions(), Submissions: views,
	})
}

// selected applies the filters and turns the list round.
func (f *form) selected(c *call) []*submission {
	list := f.after(c.query.Get("afterId"))
	filter := c.query.Get("filter")
	from, to := c.date("startDate"), c.date("endDate")
	chosen := make([]*submission, 0, len(list))
	for _, sub := range slices.Backward(list) {
		wrongKind := filter == "completed" && !sub.completed || filter == "partial" && sub.completed
		tooEarly := !from.IsZero() && sub.at.Before(from)
		tooLate := !to.IsZero() && sub.at.After(to)
		if !wrongKind && !tooEarly && !tooLate {
			chosen = append(chosen, sub)
		}
	}
	return chosen
}

// after keeps what is newer than the id. An unknown id gives nothing: of the
// things Tally may do this is the hardest on a client. [behaviour after-id]
// [behaviour after-id-unknown]
func (f *form) after(id string) []*submission {
	if id == "" {
		return f.submissions
	}
	i := slices.IndexFunc(f.submissions, func(sub *submission) bool { return sub.id == id })
	if i < 0 {
		return nil
	}
	return f.submissions[i+1:]
}

func (c *call) date(name string) time.Time {
	t, err := parseDate(c.query.Get(name))
	if err != nil {
		return time.Time{}
	}
	return t
}

func getSubmission(s *Sandbox, c *call) *reply {
	f, sub, refusal := s.submissionOf(c)
	if refusal != nil {
		return refusal
	}
	return ok(struct {
		Questions  []questionView `json:"questions"`
		Submission submissionView `json:"submission"`
	}{f.viewQuestions(), s.viewSubmission(f, sub)})
}

func deleteSubmission(s *Sandbox, c *call) *reply {
	f, sub, refusal := s.submissionOf(c)
	if refusal != nil {
		return refusal
	}
	f.drop(sub)
	return empty(204)
}

func (s *Sandbox) submissionOf(c *call) (*form, *submission, *reply) {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return nil, nil, refusal
	}
	id := c.path("submissionId")
	sub := first(f.submissions, func(sub *submission) bool { return sub.id == id })
	if sub == nil {
		return nil, nil, notFound("Submission")
	}
	return f, sub, nil
}

func (f *form) add(sub *submission) {
	f.submissions = append(f.submissions, sub)
	f.tally(sub, 1)
}

func (f *form) drop(gone *submission) {
	f.submissions = slices.DeleteFunc(slices.Clone(f.submissions), func(sub *submission) bool { return sub == gone })
	f.tally(gone, -1)
}

// tally keeps the counts by question, so that a page need not walk all answers.
func (f *form) tally(sub *submission, by int) {
	if !sub.completed {
		f.partial += by
	}
	if sub.plan != nil {
		for i, q := range sub.plan.questions {
			if sub.plan.answered(i, sub) {
				f.counts[q.id] += by
			}
		}
		return
	}
	for _, a := range sub.answers {
		f.counts[a.question.id] += by
	}
}
