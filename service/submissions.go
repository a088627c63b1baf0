package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/tally"
)

// submissions implements SubmissionService.
type submissions struct {
	tallydv1.UnimplementedSubmissionServiceServer

	tally Tally
	drift func(path, kind string)
	pace  func() time.Duration // from one page of an export to the next; nil without a quota
	// events is where watches read; nil where no log is kept.
	events *Events
}

// DeleteSubmission deletes at Tally, then in the log of events. Should the log fail, comparing it with Tally's list finds the deletion.
func (s *submissions) DeleteSubmission(ctx context.Context, req *tallydv1.DeleteSubmissionRequest) (*tallydv1.DeleteSubmissionResponse, error) {
	resp, err := call[tallydv1.DeleteSubmissionResponse](ctx, s.tally, req)
	if err == nil && s.events != nil && s.events.Keeper.Knows(req.GetFormId()) {
		_, _ = s.events.Log.Add(context.WithoutCancel(ctx), events.News{
			Form: req.GetFormId(), Submission: req.GetSubmissionId(), Source: logv1.Source_SOURCE_CALLER, Deleted: true,
		})
	}
	return resp, err
}

func (s *submissions) ListSubmissions(ctx context.Context, req *tallydv1.ListSubmissionsRequest) (*tallydv1.ListSubmissionsResponse, error) {
	return call[tallydv1.ListSubmissionsResponse](ctx, s.tally, req, s.typed(req.GetView()))
}

func (s *submissions) GetSubmission(ctx context.Context, req *tallydv1.GetSubmissionRequest) (*tallydv1.GetSubmissionResponse, error) {
	return call[tallydv1.GetSubmissionResponse](ctx, s.tally, req, s.typed(req.GetView()))
}

// typed reads Tally's raw answers into the contract's.
func (s *submissions) typed(view tallydv1.SubmissionView) tally.Option {
	return tally.Finish(func(resp proto.Message) {
		switch resp := resp.(type) {
		case *tallydv1.ListSubmissionsResponse:
			typeAnswers(resp.GetQuestions(), resp.GetSubmissions(), view, s.unknown)
		case *tallydv1.GetSubmissionResponse:
			typeAnswers(resp.GetQuestions(), []*tallydv1.Submission{resp.GetSubmission()}, view, s.unknown)
		}
	})
}

// unknown counts an answer that has no typed form.
func (s *submissions) unknown(kind string) { answerDrift(s.drift)(kind) }

// answerDrift counts answers that have no typed form.
func answerDrift(drift func(path, kind string)) func(kind string) {
	return func(kind string) { drift("answer."+kind, "unknown_answer") }
}
