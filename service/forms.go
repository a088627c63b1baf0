package service

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// forms implements FormService.
type forms struct {
	tallydv1.UnimplementedFormServiceServer

	tally Tally
}

func (f *forms) ListForms(ctx context.Context, req *tallydv1.ListFormsRequest) (*tallydv1.ListFormsResponse, error) {
	return call[tallydv1.ListFormsResponse](ctx, f.tally, req)
}

func (f *forms) CreateForm(ctx context.Context, req *tallydv1.CreateFormRequest) (*tallydv1.CreateFormResponse, error) {
	return call[tallydv1.CreateFormResponse](ctx, f.tally, req)
}

func (f *forms) GetForm(ctx context.Context, req *tallydv1.GetFormRequest) (*tallydv1.GetFormResponse, error) {
	return call[tallydv1.GetFormResponse](ctx, f.tally, req)
}

func (f *forms) DeleteForm(ctx context.Context, req *tallydv1.DeleteFormRequest) (*tallydv1.DeleteFormResponse, error) {
	return call[tallydv1.DeleteFormResponse](ctx, f.tally, req)
}

func (f *forms) ListQuestions(ctx context.Context, req *tallydv1.ListQuestionsRequest) (*tallydv1.ListQuestionsResponse, error) {
	return call[tallydv1.ListQuestionsResponse](ctx, f.tally, req)
}

func (f *forms) ListBlocks(ctx context.Context, req *tallydv1.ListBlocksRequest) (*tallydv1.ListBlocksResponse, error) {
	return call[tallydv1.ListBlocksResponse](ctx, f.tally, req)
}

func (f *forms) ReplaceBlocks(ctx context.Context, req *tallydv1.ReplaceBlocksRequest) (*tallydv1.ReplaceBlocksResponse, error) {
	return call[tallydv1.ReplaceBlocksResponse](ctx, f.tally, req)
}

func (f *forms) UpdateQuestion(ctx context.Context, req *tallydv1.UpdateQuestionRequest) (*tallydv1.UpdateQuestionResponse, error) {
	return call[tallydv1.UpdateQuestionResponse](ctx, f.tally, req)
}

// UpdateForm reads the form first when settings change, since nobody knows whether Tally merges them or replaces them all: what
// leaves is the whole as it was read, with the changes.
func (f *forms) UpdateForm(ctx context.Context, req *tallydv1.UpdateFormRequest) (*tallydv1.UpdateFormResponse, error) {
	settings := touches(req.GetUpdateMask(), "settings", req.GetSettings() != nil)
	if !settings && req.GetExpectedUpdateTime() == nil {
		return call[tallydv1.UpdateFormResponse](ctx, f.tally, req)
	}
	if err := f.tally.Check(req); err != nil {
		return nil, err
	}
	var before jsontext.Value
	get := &tallydv1.GetFormRequest{FormId: req.GetFormId()}
	current, err := fetch[tallydv1.GetFormResponse](ctx, f.tally, get, tally.Capture("settings", &before))
	if err != nil {
		return nil, err
	}
	if err := checkUnchanged(req.GetExpectedUpdateTime(), current.GetForm().GetUpdateTime(), "form", req.GetFormId()); err != nil {
		return nil, err
	}
	return call[tallydv1.UpdateFormResponse](ctx, f.tally, req, tally.WithPart("settings", before))
}
