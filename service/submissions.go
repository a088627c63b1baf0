package service

import (
	"context"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// submissions implements SubmissionService.
type submissions struct {
	tallydv1.UnimplementedSubmissionServiceServer

	tally Tally
	drift func(path, kind string)
}

func (s *submissions) DeleteSubmission(ctx context.Context, req *tallydv1.DeleteSubmissionRequest) (*tallydv1.DeleteSubmissionResponse, error) {
	return call[tallydv1.DeleteSubmissionResponse](ctx, s.tally, req)
}

func (s *submissions) ListSubmissions(ctx context.Context, req *tallydv1.ListSubmissionsRequest) (*tallydv1.ListSubmissionsResponse, error) {
	resp := &tallydv1.ListSubmissionsResponse{}
	typed := tally.Finish(func() { typeAnswers(resp.GetQuestions(), resp.GetSubmissions(), req.GetView(), s.unknown) })
	if err := s.tally.Call(ctx, req, resp, typed); err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *submissions) GetSubmission(ctx context.Context, req *tallydv1.GetSubmissionRequest) (*tallydv1.GetSubmissionResponse, error) {
	resp := &tallydv1.GetSubmissionResponse{}
	typed := tally.Finish(func() {
		typeAnswers(resp.GetQuestions(), []*tallydv1.Submission{resp.GetSubmission()}, req.GetView(), s.unknown)
	})
	if err := s.tally.Call(ctx, req, resp, typed); err != nil {
		return nil, err
	}
	return resp, nil
}

// unknown counts an answer that has no typed form.
func (s *submissions) unknown(kind string) { s.drift("answer."+kind, "unknown_answer") }
