package service

import (
	"context"
	"errors"
	"net/http"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/tally"
)

// finder looks up at Tally where things lie. The call for which it looks pays.
type finder struct{ tally Tally }

// NewFinder returns how a policy looks up where forms lie.
func NewFinder(t Tally) policy.Finder { return finder{tally: t} }

// maxFinderPages bounds each list: 50,000 forms or 10,000 webhooks.
const maxFinderPages = 100

// errNoEnd is a list that goes on for ever.
var errNoEnd = &tally.Error{
	Kind: tally.KindProtocol, Effect: tally.Read, Outcome: tally.OutcomeUnknown, Err: errors.New("the list does not end"),
}

// pages reads a list to its end. read takes a page and returns the token of the next one.
func pages(read func(token string) (next string, err error)) (int, error) {
	token := ""
	for n := 1; n <= maxFinderPages; n++ {
		next, err := read(token)
		if err != nil || next == "" {
			return n, err
		}
		token = next
	}
	return maxFinderPages, errNoEnd
}

// Forms returns where every form lies.
func (f finder) Forms(ctx context.Context) (map[string]policy.Place, int, error) {
	ctx = tally.WithFreshness(tally.WithKeep(ctx, nil), 0)
	places := map[string]policy.Place{}
	n, err := pages(func(token string) (string, error) {
		page, err := fetch[tallydv1.ListFormsResponse](ctx, f.tally, &tallydv1.ListFormsRequest{PageSize: 500, PageToken: token})
		for _, form := range page.GetForms() {
			if form.GetWorkspaceId() != "" { // else no denial of a workspace could be about it
				places[form.GetId()] = policy.Place{Workspace: form.GetWorkspaceId(), Folder: form.GetFolderId()}
			}
		}
		return page.GetNextPageToken(), err
	})
	return places, n, err
}

// Form returns where one form lies.
func (f finder) Form(ctx context.Context, id string) (policy.Place, error) {
	ctx = tally.WithFreshness(ctx, 0)
	resp, err := fetch[tallydv1.GetFormResponse](ctx, f.tally, &tallydv1.GetFormRequest{FormId: id})
	if err != nil {
		return policy.Place{}, unknown(err)
	}
	if resp.GetForm().GetWorkspaceId() == "" {
		return policy.Place{}, policy.ErrUnknown
	}
	return policy.Place{Workspace: resp.GetForm().GetWorkspaceId(), Folder: resp.GetForm().GetFolderId()}, nil
}

// Webhooks returns the form of every webhook.
func (f finder) Webhooks(ctx context.Context) (map[string]string, int, error) {
	ctx = tally.WithFreshness(tally.WithKeep(ctx, nil), 0)
	forms := map[string]string{}
	n, err := pages(func(token string) (string, error) {
		page, err := fetch[tallydv1.ListWebhooksResponse](ctx, f.tally, &tallydv1.ListWebhooksRequest{PageSize: 100, PageToken: token})
		for _, webhook := range page.GetWebhooks() {
			forms[webhook.GetId()] = webhook.GetFormId()
		}
		return page.GetNextPageToken(), err
	})
	// Tally refuses this list until the account has its first webhook.
	if errors.Is(unknown(err), policy.ErrUnknown) {
		return forms, n, nil
	}
	return forms, n, err
}

// Within reports whether a form, a workspace or a webhook has a question, a submission, a folder or a delivery.
func (f finder) Within(ctx context.Context, child policy.Child) (bool, error) {
	ctx = tally.WithFreshness(ctx, 0)
	switch child.Kind {
	case optionsv1.Kind_KIND_QUESTION:
		return f.hasQuestion(ctx, child)
	case optionsv1.Kind_KIND_FOLDER:
		return f.hasFolder(ctx, child)
	case optionsv1.Kind_KIND_EVENT:
		return f.hasEvent(ctx, child)
	case optionsv1.Kind_KIND_SUBMISSION:
		req := &tallydv1.GetSubmissionRequest{FormId: child.Parent, SubmissionId: child.ID}
		resp, err := fetch[tallydv1.GetSubmissionResponse](ctx, f.tally, req)
		form := resp.GetSubmission().GetFormId()
		return form == "" || form == child.Parent, unknown(err)
	default:
		return false, nil
	}
}

func (f finder) hasQuestion(ctx context.Context, child policy.Child) (found bool, err error) {
	_, err = pages(func(token string) (string, error) {
		page, err := fetch[tallydv1.ListQuestionsResponse](ctx, f.tally, &tallydv1.ListQuestionsRequest{FormId: child.Parent, PageToken: token})
		for _, question := range page.GetQuestions() {
			found = found || question.GetId() == child.ID
		}
		return page.GetNextPageToken(), err
	})
	return found, unknown(err)
}

func (f finder) hasFolder(ctx context.Context, child policy.Child) (found bool, err error) {
	_, err = pages(func(token string) (string, error) {
		page, err := fetch[tallydv1.ListFoldersResponse](ctx, f.tally, &tallydv1.ListFoldersRequest{WorkspaceId: child.Parent, PageToken: token})
		for _, folder := range page.GetFolders() {
			found = found || folder.GetId() == child.ID
		}
		return page.GetNextPageToken(), err
	})
	return found, unknown(err)
}

// maxEventPages bounds the search for a delivery, newest first: who may see a part of the account alone repeats recent ones.
const maxEventPages = 10

func (f finder) hasEvent(ctx context.Context, child policy.Child) (bool, error) {
	list := &tallydv1.ListWebhookEventsRequest{WebhookId: child.Parent}
	for range maxEventPages {
		page, err := fetch[tallydv1.ListWebhookEventsResponse](ctx, f.tally, list)
		if err != nil {
			return false, unknown(err)
		}
		for _, event := range page.GetEvents() {
			if event.GetId() == child.ID {
				return true, nil
			}
		}
		if list.PageToken = page.GetNextPageToken(); list.GetPageToken() == "" {
			break
		}
	}
	return false, nil
}

// unknown tells what Tally does not show from a look-up that failed. A removed form may answer 401, 403 or 404.
func unknown(err error) error {
	failure, ok := errors.AsType[*tally.Error](err)
	if !ok || failure == nil {
		return err
	}
	hidden := failure.Kind == tally.KindFeature
	switch failure.Status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		hidden = hidden || failure.Kind == tally.KindStatus
	}
	if hidden {
		return errors.Join(policy.ErrUnknown, err)
	}
	return err
}

// unsent is the failure of a look-up as the failure of the call that it was for, of which nothing has left.
func unsent(err error, effect tally.Effect) error {
	failure, ok := errors.AsType[*tally.Error](err)
	if !ok || failure == nil {
		return err
	}
	own := *failure
	own.Effect, own.Outcome, own.LookUp = effect, tally.OutcomeNotSent, true
	return &own
}
