package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

const (
	// window is how far back every comparison looks: longer than Tally repeats a delivery, so that what it gave up on is found.
	window = 48 * time.Hour
	// sweepEvery is how long a deletion may go unseen that a new submission makes up for in Tally's count.
	sweepEvery = 24 * time.Hour
	// skew is how far clocks and the order of arrival may be apart.
	skew = time.Minute
	// grain is how exact Tally's times are: one is up to this much before what happened.
	grain = time.Second
	// mostPages bounds a comparison: a list that goes on for ever ends it.
	mostPages = 10000
	// mostPartials bounds the submissions under way that are remembered of a form when its log begins.
	mostPartials = 5000
	partialsKey  = "partials."
)

var errNoEnd = errors.New("the list of submissions does not end")

// reconcile compares a form's log with Tally's own list and logs what is missing. A list of recent ones is enough where the number of all
// tells that nothing else changed; where it does not, and once a day, all since the log began are compared.
func (k *Keeper) reconcile(ctx context.Context, form string) error {
	f, err := k.config.Log.Form(ctx, form)
	if err != nil || f.GetBeginTime() == nil {
		return err
	}
	c := &comparison{keeper: k, form: form, born: f.GetBeginTime().AsTime(), begin: k.since(f), listed: map[string]bool{}}
	if f.GetReconcileTime() == nil {
		if err := c.notePartials(ctx); err != nil {
			return err
		}
	}
	if err := c.load(ctx); err != nil {
		return err
	}
	if err := c.compare(ctx, f); err != nil {
		return err
	}
	k.config.Found(form, c.missing, c.deleted)
	_, err = k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		if f.GetBeginTime() == nil {
			return false // another replica closed the log meanwhile
		}
		f.ReconcileTime, f.Uncounted = timestamppb.New(c.begun), c.completed-c.live()
		if c.swept {
			f.SweepTime = f.GetReconcileTime()
		}
		return true
	})
	return err
}

// since is the time from which on the log has what happened to a form.
func (k *Keeper) since(f *logv1.Form) time.Time {
	since := laterOf(f.GetBeginTime().AsTime().Add(-grain), time.Now().Add(-k.config.Retention))
	if floor := f.GetFloor().GetTime(); floor != nil {
		since = laterOf(since, floor.AsTime())
	}
	return since
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// comparison is one look at a form.
type comparison struct {
	keeper *Keeper
	form   string
	born   time.Time // when the log began
	begin  time.Time // of what the log has now
	begun  time.Time // of the comparison

	logged   map[string]bool // submissions that the log has; false for those that it has as deleted
	partials map[string]bool // submissions that were under way when the log began
	oldest   time.Time       // of those
	listed   map[string]bool // submissions that Tally listed

	swept            bool  // all was compared
	completed        int64 // how many Tally has
	missing, deleted int
}

// live is how many submissions the log has that were not deleted.
func (c *comparison) live() (n int64) {
	for _, there := range c.logged {
		if there {
			n++
		}
	}
	return n
}

// load reads what the log has.
func (c *comparison) load(ctx context.Context) (err error) {
	c.begun = time.Now()
	if c.logged, err = c.keeper.config.Log.submissions(ctx, c.form); err != nil {
		return err
	}
	if !c.begin.After(c.born) { // else whoever was under way when the log began may be taken away by now
		c.partials, c.oldest, err = c.keeper.config.Log.partials(ctx, c.form)
	}
	return err
}

// compare reads what may have changed since the last comparison.
func (c *comparison) compare(ctx context.Context, f *logv1.Form) error {
	since := f.GetReconcileTime().AsTime().Add(-window)
	whole := f.GetReconcileTime() == nil || since.Before(c.begin) || c.begun.Sub(f.GetSweepTime().AsTime()) > sweepEvery
	var err error
	if whole {
		err = c.sweepAll(ctx)
	} else {
		err = c.sweep(ctx, since)
	}
	// Behind the list, which tells of hundreds in one request, what is left is looked up one by one.
	if err == nil {
		err = c.failures(ctx, f)
	}
	if err == nil && !whole && c.completed-c.live() != f.GetUncounted() {
		err = c.sweepAll(ctx)
	}
	return err
}

// sweep reads Tally's list down to a time and logs what is missing.
func (c *comparison) sweep(ctx context.Context, since time.Time) error {
	search := Search{Since: since}
	for range mostPages {
		page, err := c.keeper.config.Upstream.Submissions(ctx, c.form, search)
		if err != nil {
			return fmt.Errorf("list the submissions of form %s: %w", c.form, err)
		}
		c.completed = page.Completed
		if err := c.logMissing(ctx, page.Items); err != nil {
			return err
		}
		if search.Token = page.Next; search.Token == "" {
			return nil
		}
	}
	return errNoEnd
}

// logMissing logs what the log should have and has not: of a page the oldest first, as they came.
func (c *comparison) logMissing(ctx context.Context, items []Item) error {
	for _, item := range slices.Backward(items) {
		c.listed[item.ID] = true
		if _, known := c.logged[item.ID]; known || !isID(item.ID) || !c.ours(item) {
			continue
		}
		if err := c.add(ctx, item); err != nil {
			return err
		}
	}
	return nil
}

// ours tells whether a submission was completed since the log began: one that was sent off before was not, unless it was under way then.
func (c *comparison) ours(item Item) bool {
	return item.Time.IsZero() || !item.Time.Before(c.begin) || c.partials[item.ID]
}

func (c *comparison) add(ctx context.Context, item Item) error {
	result, err := c.keeper.config.Log.Add(ctx, News{
		Form: c.form, Submission: item.ID, Source: logv1.Source_SOURCE_RECONCILED, Time: item.Time, Reconciled: item.Data,
	})
	if err != nil {
		return err
	}
	c.logged[item.ID] = result != Gone
	if result == Stored {
		c.missing++
	}
	return nil
}

// sweepAll compares all that may be ours, and notes deletions that nobody told of.
func (c *comparison) sweepAll(ctx context.Context) error {
	since := c.begin
	if len(c.partials) > 0 && c.oldest.Before(since) {
		since = c.oldest
	}
	if err := c.sweep(ctx, since.Add(-skew)); err != nil {
		return err
	}
	for id, there := range c.logged {
		if !there || c.listed[id] {
			continue
		}
		// Not on the list is no proof: it may just have come.
		item, err := c.keeper.config.Upstream.Submission(ctx, c.form, id)
		if err == nil {
			c.listed[item.ID] = true
			continue
		}
		if !errors.Is(err, ErrNoSubmission) {
			return err
		}
		_, err = c.keeper.config.Log.Add(ctx, News{Form: c.form, Submission: id, Source: logv1.Source_SOURCE_RECONCILED, Deleted: true})
		if err != nil {
			return err
		}
		c.logged[id] = false
		c.deleted++
	}
	c.swept = true
	return nil
}

// failures logs what Tally itself says that it did not deliver, of what came since the last comparison: Tally lists 25 at a time, and
// whatever was not delivered then was found then, however it ends.
func (c *comparison) failures(ctx context.Context, f *logv1.Form) error {
	if f.GetWebhook().GetId() == "" || f.GetReconcileTime() == nil {
		return nil
	}
	ids, err := c.keeper.config.Upstream.Undelivered(ctx, f.GetWebhook().GetId(), f.GetReconcileTime().AsTime().Add(-skew))
	if err != nil {
		return fmt.Errorf("list the deliveries of form %s: %w", c.form, err)
	}
	for _, id := range ids {
		if _, known := c.logged[id]; known || !isID(id) {
			continue
		}
		item, err := c.keeper.config.Upstream.Submission(ctx, c.form, id)
		switch {
		case errors.Is(err, ErrNoSubmission):
			continue // it was deleted before anybody saw it
		case err != nil:
			return err
		}
		if err := c.add(ctx, item); err != nil {
			return err
		}
	}
	return nil
}

// notePartials remembers which submissions are under way when the log begins: they may be completed later, and are sent off, as Tally
// counts it, before the log began.
func (c *comparison) notePartials(ctx context.Context) error {
	var lines []string
	oldest := c.begin
	search := Search{Partial: true}
	for len(lines) < mostPartials {
		page, err := c.keeper.config.Upstream.Submissions(ctx, c.form, search)
		if err != nil {
			return fmt.Errorf("list the submissions under way of form %s: %w", c.form, err)
		}
		for _, item := range page.Items {
			lines = append(lines, item.ID)
			if !item.Time.IsZero() && item.Time.Before(oldest) {
				oldest = item.Time
			}
		}
		if search.Token = page.Next; search.Token == "" {
			break
		}
	}
	r, err := c.keeper.config.Log.store.Get(ctx, partialsKey+c.form)
	if err != nil {
		return err
	}
	r.Value = []byte(oldest.UTC().Format(time.RFC3339Nano) + "\n" + strings.Join(lines, "\n"))
	if _, err = c.keeper.config.Log.store.Put(ctx, r); errors.Is(err, store.ErrConflict) {
		return nil // another replica noted them
	}
	return err
}

// partials returns the submissions that were under way when a form's log began, and when the oldest of them was saved.
func (l *Log) partials(ctx context.Context, form string) (map[string]bool, time.Time, error) {
	r, err := l.store.Get(ctx, partialsKey+form)
	if err != nil || len(r.Value) == 0 {
		return nil, time.Time{}, err
	}
	lines := strings.Split(string(r.Value), "\n")
	oldest, err := time.Parse(time.RFC3339Nano, lines[0])
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("record %s%s: %w", partialsKey, form, err)
	}
	partials := map[string]bool{}
	for _, id := range lines[1:] {
		if id != "" {
			partials[id] = true
		}
	}
	return partials, oldest, nil
}

// submissions returns the submissions that a form's log has; false for those that it has as deleted. Where entries are lost the engine's
// index still names them, and only what can be read counts.
func (l *Log) submissions(ctx context.Context, form string) (map[string]bool, error) {
	if l.Last(form).Gaps > 0 {
		return l.readable(ctx, form)
	}
	subjects, err := l.store.Subjects(ctx, formFilter(form))
	if err != nil {
		return nil, err
	}
	logged := make(map[string]bool, len(subjects))
	for _, subject := range subjects {
		logged[submissionOf(subject)] = true
	}
	marks, err := l.store.Subjects(ctx, erasedOf(form))
	for _, mark := range marks {
		logged[submissionOf(mark)] = false
	}
	return logged, err
}

// readable returns the submissions that a form's log has by reading all of it.
func (l *Log) readable(ctx context.Context, form string) (map[string]bool, error) {
	logged := map[string]bool{}
	for from := uint64(1); ; {
		messages, more, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), From: from})
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			from = m.Position + 1
			if e, err := decode(m); err == nil {
				logged[e.GetSubmissionId()] = e.GetTombstone() == nil
			}
		}
		if !more {
			return logged, nil
		}
	}
}
