package service

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// typeDelivery reads the body of a webhook delivery into the submission that GetSubmission gives, as far as the body says. A question
// that was not answered has no response, one of a kind without a typed form has its JSON, and unknown is told of it. It returns
// errDelivery for a body that is no delivery.
//
// What the respondent typed for "Other" stands among the options of the delivery with an id of its own, and nothing tells it from
// the others: it keeps the id until fillChoices holds it against the form.
func typeDelivery(body []byte, unknown func(kind string)) (*tallydv1.Submission, error) {
	parser := newAnswerParser()
	d, err := readDelivery(parser.json, body)
	if err != nil {
		return nil, err
	}
	if d.eventType != "" && d.eventType != "FORM_RESPONSE" {
		return nil, fmt.Errorf("the event is of another type: %w", errDelivery)
	}
	s := &tallydv1.Submission{
		Id: cmp.Or(d.submissionID, d.responseID), FormId: d.formID, RespondentId: d.respondentID,
		IsCompleted: true, // Tally delivers no other
		PreviewUrl:  d.previewURL, PdfUrl: d.pdfURL, Lossy: d.repaired,
	}
	if s.GetId() == "" {
		return nil, fmt.Errorf("the submission has no id: %w", errDelivery)
	}
	at, err := time.Parse(time.RFC3339Nano, d.createdAt)
	if year := at.UTC().Year(); err == nil && year >= 1 && year <= 9999 {
		s.SubmitTime = timestamppb.New(at)
	} else {
		s.SubmitTimeRaw = d.createdAt
	}
	for _, q := range d.questions() {
		r := q.response(parser, unknown)
		if r == nil {
			continue
		}
		r.FormId, r.SubmissionId, r.RespondentId = s.GetFormId(), s.GetId(), s.GetRespondentId()
		s.Responses = append(s.Responses, r)
	}
	return s, nil
}

// deliveredQuestion is the fields of one question.
type deliveredQuestion struct {
	id     string
	fields []deliveredField
}

// questions puts the fields of each question together, in the order in which the questions come. A field that does not say to which
// question it belongs stays alone and without an id, and so a policy hides it that hides anything.
func (d *delivery) questions() []deliveredQuestion {
	questions := make([]deliveredQuestion, 0, len(d.fields))
	index := make(map[string]int, len(d.fields))
	for i, f := range d.fields {
		at, found := index[f.question]
		if !found || f.question == "" {
			index[f.question] = len(questions)
			questions = append(questions, deliveredQuestion{id: f.question, fields: d.fields[i : i+1 : i+1]})
			continue
		}
		questions[at].fields = append(questions[at].fields, f)
	}
	return questions
}
