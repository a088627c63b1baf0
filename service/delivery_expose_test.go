package service

import (
	"maps"
	"slices"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TypeDelivery lets tests from outside compare it with the chain.
func TypeDelivery(body []byte, unknown func(kind string)) (*tallydv1.Submission, error) {
	return typeDelivery(body, unknown)
}

// FillChoices fills the choices of a submission from a form.
func FillChoices(s *tallydv1.Submission, blocks []*tallydv1.Block, questions []*tallydv1.Question) {
	fillChoices(s, optionsOf(blocks, questions))
}

// AnswerKinds lists the kinds of question whose answers are typed.
func AnswerKinds() []string { return slices.Sorted(maps.Keys(answerKinds)) }

// FillFrom fills in choices as the stream of events does.
func FillFrom(u *Upstream, s *tallydv1.Submission) { u.fill(s.GetFormId(), s) }
