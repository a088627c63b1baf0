package events

import (
	"context"
	"errors"
	"time"
)

// ErrNoSubmission is a submission that Tally does not have.
var ErrNoSubmission = errors.New("there is no such submission at Tally")

// ErrListRefused is the list of webhooks when Tally refuses it, as it does until the account has its first webhook.
var ErrListRefused = errors.New("the list of webhooks is refused")

// Upstream is Tally, as far as the logs are compared with it.
type Upstream interface {
	// Submissions returns a page of a form's submissions, newest first.
	Submissions(ctx context.Context, form string, q Search) (Page, error)
	// Submission returns one submission. The error is ErrNoSubmission where there is none.
	Submission(ctx context.Context, form, id string) (Item, error)
	// Forms returns the forms of a workspace.
	Forms(ctx context.Context, workspace string) ([]string, error)
	// Webhooks returns all webhooks of the account. The error is ErrListRefused where Tally does not show them.
	Webhooks(ctx context.Context) ([]Webhook, error)
	// SetWebhook makes a webhook, or where it has an id makes it what it is said to be. It returns the id.
	SetWebhook(ctx context.Context, w Webhook) (string, error)
	// RemoveWebhook takes a webhook away. One that is not there is no error.
	RemoveWebhook(ctx context.Context, id string) error
	// Undelivered returns the submissions that a webhook did not deliver, of those that were completed since a time.
	Undelivered(ctx context.Context, webhook string, since time.Time) ([]string, error)
}

// Search says which submissions are wanted.
type Search struct {
	// Partial asks for those that were not sent off instead of those that were.
	Partial bool
	// Since leaves out those that were sent off before; zero for none.
	Since time.Time
	// Token is that of the page before; empty for the first.
	Token string
}

// Page is a part of a form's submissions.
type Page struct {
	Items []Item
	// Next is the token of the next page; empty for none.
	Next string
	// Completed is how many the form has in all.
	Completed int64
}

// Item is a submission at Tally.
type Item struct {
	ID string
	// Time is when it was sent off; zero where Tally does not say.
	Time time.Time
	// Data is the submission as the log keeps it: a tallyd.v1.Submission.
	Data []byte
}

// Webhook is a webhook at Tally.
type Webhook struct {
	ID, Form, URL, Secret string
	Enabled               bool
}
