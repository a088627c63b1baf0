package service

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// Upstream is Tally for those who keep logs of events. Whatever they ask waits for requests that nobody else wants.
type Upstream struct {
	submissions *submissions
	options     optionCache
}

// NewUpstream returns what the logs of events are compared with.
func NewUpstream(t Tally, config HandlerConfig) *Upstream {
	return &Upstream{submissions: &submissions{tally: t, drift: config.drift()}}
}

// background is the context of a request that no caller made.
func background(ctx context.Context) context.Context {
	return tally.WithFreshness(quota.NewContext(ctx, quota.Caller{Name: "tallyd", Batch: true}), 0)
}

// Submissions returns a page.
func (u *Upstream) Submissions(ctx context.Context, form string, q events.Search) (events.Page, error) {
	req := &tallydv1.ListSubmissionsRequest{FormId: form, PageSize: exportPage, PageToken: q.Token}
	if q.Partial {
		req.Filter = tallydv1.SubmissionFilter_SUBMISSION_FILTER_PARTIAL
	}
	if !q.Since.IsZero() {
		req.StartTime = timestamppb.New(q.Since)
	}
	list, err := fetch[tallydv1.ListSubmissionsResponse](background(ctx), u.submissions.tally, req, u.submissions.typed(0))
	if err != nil {
		return events.Page{}, err
	}
	u.learnOptions(ctx, form, list.GetQuestions())
	page := events.Page{Next: list.GetNextPageToken(), Completed: list.GetTotals().GetCompleted()}
	for _, submission := range list.GetSubmissions() {
		item, err := u.item(form, submission)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// item is a submission as the log keeps it.
func (u *Upstream) item(form string, submission *tallydv1.Submission) (events.Item, error) {
	submission.FormId = form // Tally may leave it out where the request says it
	for _, response := range submission.GetResponses() {
		// What a delivery does not have: a submission is to be the same message however it came.
		response.Id, response.SessionUuid, response.FormattedAnswer = "", "", nil
		response.CreateTime, response.UpdateTime = nil, nil
	}
	submission.CreateTime, submission.UpdateTime = nil, nil
	data, err := proto.Marshal(submission)
	item := events.Item{ID: submission.GetId(), Data: data}
	if at := submission.GetSubmitTime(); at != nil {
		item.Time = at.AsTime()
	}
	return item, err
}

// Submission returns one submission. What is refused may be there all the same, and whoever takes it for gone erases it.
func (u *Upstream) Submission(ctx context.Context, form, id string) (events.Item, error) {
	req := &tallydv1.GetSubmissionRequest{FormId: form, SubmissionId: id}
	resp, err := fetch[tallydv1.GetSubmissionResponse](background(ctx), u.submissions.tally, req, u.submissions.typed(0))
	if answered(err, http.StatusNotFound, http.StatusGone) {
		return events.Item{}, events.ErrNoSubmission
	}
	if err != nil {
		return events.Item{}, err
	}
	u.learnOptions(ctx, form, resp.GetQuestions())
	return u.item(form, resp.GetSubmission())
}

// Forms returns the forms of a workspace.
func (u *Upstream) Forms(ctx context.Context, workspace string) (ids []string, err error) {
	_, err = pages(func(token string) (string, error) {
		req := &tallydv1.ListFormsRequest{WorkspaceIds: []string{workspace}, PageSize: 500, PageToken: token}
		page, err := fetch[tallydv1.ListFormsResponse](background(ctx), u.submissions.tally, req)
		for _, form := range page.GetForms() {
			ids = append(ids, form.GetId())
		}
		return page.GetNextPageToken(), err
	})
	return ids, err
}

// RemoveWebhook takes a webhook away.
func (u *Upstream) RemoveWebhook(ctx context.Context, id string) error {
	_, err := fetch[tallydv1.DeleteWebhookResponse](background(ctx), u.submissions.tally, &tallydv1.DeleteWebhookRequest{WebhookId: id})
	if err = unknown(err); errors.Is(err, policy.ErrUnknown) {
		return nil
	}
	return err
}

// Webhooks returns all webhooks.
func (u *Upstream) Webhooks(ctx context.Context) ([]events.Webhook, error) {
	var all []events.Webhook
	_, err := pages(func(token string) (string, error) {
		req := &tallydv1.ListWebhooksRequest{PageSize: 100, PageToken: token}
		page, err := fetch[tallydv1.ListWebhooksResponse](background(ctx), u.submissions.tally, req)
		for _, w := range page.GetWebhooks() {
			all = append(all, events.Webhook{
				ID: w.GetId(), Form: w.GetFormId(), URL: w.GetUrl(), Secret: w.GetSigningSecret(), Enabled: w.GetIsEnabled(),
			})
		}
		return page.GetNextPageToken(), err
	})
	failure, ok := errors.AsType[*tally.Error](err)
	denied := ok && failure.Kind == tally.KindFeature && failure.Status == http.StatusUnauthorized // though the key is good
	if denied || answered(err, http.StatusForbidden) {
		err = errors.Join(events.ErrListRefused, err)
	}
	return all, err
}

// hookTypes are what a webhook of ours reports.
var hookTypes = []tallydv1.WebhookEventType{tallydv1.WebhookEventType_WEBHOOK_EVENT_TYPE_FORM_RESPONSE}

// SetWebhook makes or mends a webhook.
func (u *Upstream) SetWebhook(ctx context.Context, w events.Webhook) (string, error) {
	ctx = background(ctx)
	if w.ID == "" {
		resp, err := fetch[tallydv1.CreateWebhookResponse](ctx, u.submissions.tally, &tallydv1.CreateWebhookRequest{
			FormId: w.Form, Url: w.URL, SigningSecret: &w.Secret, EventTypes: hookTypes,
		})
		return resp.GetWebhook().GetId(), err
	}
	_, err := fetch[tallydv1.UpdateWebhookResponse](ctx, u.submissions.tally, &tallydv1.UpdateWebhookRequest{
		WebhookId: w.ID, FormId: &w.Form, Url: &w.URL, SigningSecret: &w.Secret, EventTypes: hookTypes, IsEnabled: &w.Enabled,
		UpdateMask: &fieldmaskpb.FieldMask{Paths: webhookFields},
	})
	return w.ID, err
}

// Undelivered returns the submissions whose deliveries did not succeed: what waits for its next try may fail for good when nobody looks.
func (u *Upstream) Undelivered(ctx context.Context, webhook string, since time.Time) (ids []string, err error) {
	_, err = pages(func(token string) (string, error) {
		req := &tallydv1.ListWebhookEventsRequest{WebhookId: webhook, PageToken: token}
		page, err := fetch[tallydv1.ListWebhookEventsResponse](background(ctx), u.submissions.tally, req)
		next := page.GetNextPageToken()
		for _, event := range page.GetEvents() {
			if event.GetDeliveryStatus() != tallydv1.DeliveryStatus_DELIVERY_STATUS_SUCCEEDED {
				ids = append(ids, event.GetPayload().GetData().GetSubmissionId())
			}
			if at := event.GetCreateTime(); at != nil && at.AsTime().Before(since) {
				next = "" // newest first
			}
		}
		return next, err
	})
	return ids, err
}

// answered tells whether a request failed because Tally itself, not something before it, answered with one of these statuses.
func answered(err error, statuses ...int) bool {
	failure, ok := errors.AsType[*tally.Error](err)
	return ok && failure != nil && failure.Kind == tally.KindStatus && slices.Contains(statuses, failure.Status)
}
