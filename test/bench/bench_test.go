package bench

import (
	"context"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

var rounds = flag.Int("rounds", 0, "rounds of the comparison; without any, one tiny round proves that it works")

// TestSideBySide compares tallyd with its peers and prints the report; `make bench` gives it rounds enough to mean something.
func TestSideBySide(t *testing.T) {
	f := newField(t)
	f.wantSameAnswers(t)
	p := paceFor(*rounds)
	r := report{wanted: p.rounds, candidates: f.candidates}
	r.rounds = f.run(t, p)
	r.kept = steadyOf(r.rounds)
	f.patience = p.patience / 2
	r.page = f.translate(t, p)
	r.cost = f.footprint(t, p)
	r.wantComplete(t)
	output := io.Discard
	if *rounds > 0 {
		output = os.Stdout
	}
	r.write(output)
}

// wantSameAnswers fails unless every candidate brings the same form and the same page: else the comparison would mean nothing.
func (f *field) wantSameAnswers(t *testing.T) {
	t.Helper()
	form, err := formByHand(singleForm())
	if err != nil {
		t.Fatal(err)
	}
	page, err := pageByHand(submissionsPage())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range f.candidates {
		wantSame(t, c.name, form, answerOf(t, c.form))
		wantSame(t, c.name, untyped(page), untyped(answerOf(t, c.page).(*tallydv1.ListSubmissionsResponse)))
	}
}

// wantSame asks for the difference only when there is one: finding it takes longer than everything else here.
func wantSame(t *testing.T, name string, want, got proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) {
		t.Errorf("%s: answer differs, -want +got:\n%s", name, cmp.Diff(want, got, protocmp.Transform()))
	}
}

// untyped takes away the answers themselves: tallyd gives them their type by the question, where the others leave the JSON.
func untyped(page *tallydv1.ListSubmissionsResponse) *tallydv1.ListSubmissionsResponse {
	for _, submission := range page.GetSubmissions() {
		for _, r := range submission.GetResponses() {
			r.Answer, r.AnswerJson, r.QuestionType = nil, "", ""
		}
	}
	return page
}

// answerOf makes a call and returns its answer as the contract has it.
func answerOf(t *testing.T, do func(context.Context) (any, error)) proto.Message {
	t.Helper()
	answer, err := do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switch a := answer.(type) {
	case *formJSON:
		m, err := a.proto()
		if err != nil {
			t.Fatal(err)
		}
		return m
	case *pageJSON:
		return a.proto()
	default:
		return a.(proto.Message)
	}
}

// wantComplete fails when a figure is missing.
func (r report) wantComplete(t *testing.T) {
	t.Helper()
	for _, c := range r.candidates {
		for _, o := range operations() {
			for _, round := range r.rounds {
				s, ok := round.lanes[lane{c.name, o.name}]
				if !ok || s.p50 <= 0 || s.p99 < s.p50 || s.perSecond <= 0 {
					t.Errorf("%s, %s: %+v, want all measured", c.name, o.name, s)
				}
			}
		}
	}
	for _, name := range []string{wayTallyd, wayByHand, wayFetch, wayWalk} {
		if len(r.page.times[name]) == 0 || median(r.page.times[name]) <= 0 {
			t.Errorf("%s: %v, want times", name, r.page.times[name])
		}
	}
	if len(r.kept) == 0 || len(r.cost.ready) == 0 || r.cost.program <= 0 {
		t.Errorf("%d rounds kept, footprint %+v, want some", len(r.kept), r.cost)
	}
}
