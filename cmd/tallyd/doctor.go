package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

type doctorCmd struct {
	upstreamFlags
}

// errUnhealthy ends the doctor with exit code 1; what is wrong was printed.
var errUnhealthy = errors.New("something is wrong; the lines above say what, and whose fault it is")

// Run tries the configuration against Tally in at most four requests, none of which changes anything.
func (d doctorCmd) Run(ctx context.Context, c console) error {
	base, err := d.base()
	if err != nil {
		return err
	}
	if err := d.checkVersion(); err != nil {
		return err
	}
	source := d.source(slog.New(slog.NewTextHandler(c.err, nil)))
	if source == nil {
		return usagef("no key: set %s or give --key-file", keyVariable)
	}
	key, err := source.Read()
	if err != nil {
		return usageError{err}
	}
	contract, err := newContract()
	if err != nil {
		return err
	}
	x := &examination{out: c.out, key: key, drift: map[string]int{}}
	client := tally.New(contract, tally.Config{ //nolint:contextcheck // its connections live as long as it does
		URL: base, Version: d.TallyVersion, UserAgent: userAgent(), Keys: loneKey{key},
		Limits: tally.DefaultLimits(), Drift: x.note,
	})
	defer client.Close()
	x.client = client
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	x.tally = base.Host + ", version " + d.TallyVersion
	return x.run(ctx)
}

// loneKey is a key that nobody watches over.
type loneKey struct{ key apikey.Key }

func (k loneKey) Current() apikey.Key { return k.key }
func (k loneKey) Err() error          { return nil }
func (k loneKey) Confirm(context.Context, apikey.Key) (apikey.Verdict, error) {
	return apikey.VerdictUnknown, nil
}

// examination is one run of the doctor.
type examination struct {
	out    io.Writer
	tally  string
	client *tally.Client
	key    apikey.Key
	failed bool

	mu    sync.Mutex
	drift map[string]int
}

func (x *examination) run(ctx context.Context) error {
	if !x.user(ctx) {
		return errUnhealthy
	}
	if form := x.forms(ctx); form != "" {
		x.submissions(ctx, form)
	} else {
		x.say("skip", "submissions", "no form is known to read any from")
	}
	x.webhooks(ctx)
	x.reportDrift()
	if x.failed {
		return errUnhealthy
	}
	x.say("ok", "verdict", "tallyd can work with this key")
	return nil
}

// user asks whose key it is; without that nothing else is worth a request.
func (x *examination) user(ctx context.Context) bool {
	resp := &tallydv1.GetCurrentUserResponse{}
	if !x.ask(ctx, "key", &tallydv1.GetCurrentUserRequest{}, resp) {
		return false
	}
	user := resp.GetUser()
	x.say("ok", "tally", "%s", x.tally)
	x.say("ok", "key", "alive, alias %s", x.key.Alias())
	x.say("ok", "owner", "%s (%s)", firstOf(user.GetFullName(), user.GetFirstName()+" "+user.GetLastName()), user.GetId())
	x.say("ok", "organization", "%s", user.GetOrganizationId())
	x.say("ok", "plan", "%s", firstOf(user.GetSubscriptionPlanRaw(), user.GetSubscriptionPlan().String()))
	return true
}

func (x *examination) forms(ctx context.Context) string {
	resp := &tallydv1.ListFormsResponse{}
	if !x.ask(ctx, "forms", &tallydv1.ListFormsRequest{PageSize: 10}, resp) {
		return ""
	}
	x.say("ok", "forms", "%d in all", resp.GetTotalSize())
	best := ""
	for _, form := range resp.GetForms() {
		if form.GetStatus() == tallydv1.FormStatus_FORM_STATUS_DELETED {
			continue
		}
		if best == "" || form.GetSubmissionCount() > 0 {
			best = form.GetId()
		}
		if form.GetSubmissionCount() > 0 {
			break
		}
	}
	return best
}

func (x *examination) submissions(ctx context.Context, form string) {
	resp := &tallydv1.ListSubmissionsResponse{}
	if x.ask(ctx, "submissions", &tallydv1.ListSubmissionsRequest{FormId: form, PageSize: 10}, resp) {
		x.say("ok", "submissions", "form %s has %d completed and %d partial",
			form, resp.GetTotals().GetCompleted(), resp.GetTotals().GetPartial())
	}
}

func (x *examination) webhooks(ctx context.Context) {
	resp := &tallydv1.ListWebhooksResponse{}
	err := x.client.Call(ctx, &tallydv1.ListWebhooksRequest{PageSize: 10}, resp, tally.WithKey(x.key))
	if failure, ok := errors.AsType[*tally.Error](err); ok && failure.Kind == tally.KindKeyRejected {
		// The key is alive, as was just seen: this 401 is about webhooks alone.
		x.say("note", "webhooks", "none yet: Tally refuses to list them until the account has created its first one")
		return
	}
	if err != nil {
		x.fail("webhooks", err)
		return
	}
	x.say("ok", "webhooks", "%d in all", resp.GetTotalSize())
}

// ask makes one request, without repeating it, and reports whether it succeeded.
func (x *examination) ask(ctx context.Context, what string, req, resp proto.Message) bool {
	err := x.client.Call(ctx, req, resp, tally.WithKey(x.key))
	if err != nil {
		x.fail(what, err)
	}
	return err == nil
}

func (x *examination) fail(what string, err error) {
	x.failed = true
	status := service.Status(err)
	if failure, ok := errors.AsType[*tally.Error](err); ok && failure.Status == 0 {
		// Nobody answered: that says nothing about what was asked for.
		what = "tally"
	}
	x.say("FAIL", what, "%s: %s", status.Code(), status.Message())
}

func (x *examination) note(path, kind string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drift[kind+" "+path]++
}

// reportDrift lists what Tally sent and the contract does not know: harmless, and worth a report to tallyd's authors.
func (x *examination) reportDrift() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.drift) == 0 {
		x.say("ok", "shape", "every key of the answers is known")
		return
	}
	lines := make([]string, 0, len(x.drift))
	for line := range x.drift {
		lines = append(lines, line)
	}
	sort.Strings(lines)
	for _, line := range lines {
		x.say("note", "shape", "%s (%d times)", line, x.drift[line])
	}
}

func (x *examination) say(verdict, what, format string, args ...any) {
	_, _ = fmt.Fprintf(x.out, "%-5s %-13s %s\n", verdict, what, fmt.Sprintf(format, args...))
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" && text != " " {
			return text
		}
	}
	return "unknown"
}
