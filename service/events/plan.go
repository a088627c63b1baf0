package events

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

// tail is the end of a form's log as the writer knows it.
type tail struct {
	end

	known *known
}

// plan is what to write for a piece of news.
type plan struct {
	tail   *tail
	news   *News
	drafts []store.Draft
	erase  uint64 // position of the entry that goes
	before end    // of the tail
}

// end is the last entry of a form's log.
type end struct {
	sequence uint64
	checksum uint32
}

// undo takes a plan back that was not carried out.
func (n *plan) undo() { n.tail.end = n.before }

// tailOf returns the end of a form's log.
func (l *Log) tailOf(ctx context.Context, form string) (*tail, error) {
	if t := l.tails[form]; t != nil {
		return t, nil
	}
	f, err := l.Form(ctx, form)
	if err != nil {
		return nil, err
	}
	t := &tail{end: recorded(f)}
	if f.GetFloor().GetTime() != nil {
		l.floors.Store(form, f.GetFloor())
	}
	last, found, err := l.store.Last(ctx, formFilter(form))
	if err != nil {
		return nil, err
	}
	if found {
		if err := l.continueAt(ctx, t, last); err != nil {
			return nil, err
		}
	}
	t.known = l.list(ctx, form)
	l.tails[form] = t
	return t, nil
}

// continueAt makes the last entry of a form the end of its log. Where it cannot be read its number is that behind the last one that can,
// and nobody will use it again.
func (l *Log) continueAt(ctx context.Context, t *tail, last store.Message) error {
	e, err := l.decode(last)
	if errors.Is(err, errNewer) {
		return err // whoever wrote it must write what follows
	}
	if err == nil {
		if e.GetSequence() >= t.sequence {
			t.sequence, t.checksum = e.GetSequence(), e.Checksum
		}
		return nil
	}
	previous, err := l.lastUpTo(ctx, formOf(last.Subject), last.Position-1)
	if err != nil {
		return err
	}
	if previous != nil && previous.GetSequence() >= t.sequence {
		t.sequence = previous.GetSequence()
	}
	t.sequence++
	t.checksum = 0
	return nil
}

// plan says what to write for a piece of news, or finishes it where there is nothing to write.
func (l *Log) plan(ctx context.Context, p *pending) (next plan, done bool, err error) {
	if err := l.store.Room(); err != nil && !p.Deleted {
		p.finish(0, err) // what makes room goes on
		return next, true, nil
	}
	t, err := l.tailOf(ctx, p.Form)
	if err != nil {
		return next, false, err
	}
	var known *Entry
	if t.known.mayHave(p.Submission) {
		if known, err = l.entryOf(ctx, p.Form, p.Submission); err != nil {
			return next, false, err
		}
	}
	if result, settled := l.settle(ctx, p, t, known); settled {
		p.finish(result, nil)
		return next, true, nil
	}
	next = plan{tail: t, news: &p.News, before: t.end}
	return next, false, next.draft(p, known)
}

// entryOf returns the last entry of a submission; nil for none.
func (l *Log) entryOf(ctx context.Context, form, submission string) (*Entry, error) {
	m, found, err := l.store.Last(ctx, eventSubject(form, submission))
	if err != nil || !found {
		return nil, err
	}
	e, err := l.decode(m)
	if errors.Is(err, errDamaged) {
		return nil, nil //nolint:nilnil // as good as none: told again, it is logged again
	}
	return &e, err
}

// settle tells whether the log says it already, and keeps aside what contradicts it.
func (l *Log) settle(ctx context.Context, p *pending, t *tail, known *Entry) (Result, bool) {
	switch {
	case known == nil && l.isStale(p, t):
		return Stale, true
	case known == nil:
		return Stored, false
	case known.GetTombstone() != nil && p.Deleted:
		return Known, true
	case known.GetTombstone() != nil:
		return Gone, true
	case p.Deleted:
		return Stored, false
	case p.Delivery == nil || known.GetDelivery() == nil || sameData(p.Delivery, known.GetDelivery()):
		return Known, true
	default:
		l.keepAside(ctx, p)
		return Conflicting, true
	}
}

// isStale tells news of a time from which nothing is left. Retention by size knows when what it took came, not when it happened: what Tally
// still repeats may come for the first time, unless this process remembers it.
func (l *Log) isStale(p *pending, t *tail) bool {
	found, ok := l.floors.Load(p.Form)
	if !ok || p.Deleted || p.Time.IsZero() {
		return false
	}
	floor := found.(*logv1.Floor)
	if !p.Time.Before(floor.GetTime().AsTime()) {
		return false
	}
	return !floor.GetCrowdedOut() || time.Since(p.Time) > window || t.known.remembers(p.Submission)
}

// sameData tells whether two deliveries say the same of a submission. Another webhook of the form delivers it under another event id.
func sameData(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	first, errA := parseDelivery(a)
	second, errB := parseDelivery(b)
	return errA == nil && errB == nil && bytes.Equal(first.data, second.data)
}

// keepAside stores a delivery that contradicts the first, for people. What the log says stays, and so does the answer to Tally.
func (l *Log) keepAside(ctx context.Context, p *pending) {
	data, sum, err := encode(&logv1.Entry{
		FormId: p.Form, SubmissionId: p.Submission, Source: p.Source, ReceiveTime: timestamppb.Now(),
		Event: &logv1.Entry_Delivery{Delivery: p.Delivery},
	})
	if err == nil {
		subject := conflictSubject(p.Form, p.Submission, sum)
		_, err = l.store.Append(ctx, []store.Draft{{Subject: subject, Data: data, Behind: &store.Condition{Filter: subject}}})
		l.known = false // the log has a new end
	}
	attrs := []any{slog.String("form", p.Form), slog.String("submission", p.Submission)}
	if err != nil {
		attrs = append(attrs, slog.String("not_kept", err.Error()))
	}
	l.log.Error("a delivery says something else of a submission than the first one", attrs...)
}

// draft words the entry, and for a deletion the mark in the place of what is erased.
func (n *plan) draft(p *pending, known *Entry) error {
	e := &logv1.Entry{
		FormId: p.Form, Sequence: n.tail.sequence + 1, PreviousChecksum: n.tail.checksum,
		SubmissionId: p.Submission, Source: p.Source, ReceiveTime: timestamppb.Now(),
	}
	if !p.Time.IsZero() {
		e.EventTime = timestamppb.New(p.Time)
	}
	switch {
	case p.Deleted:
		tombstone := &logv1.Tombstone{}
		if known != nil {
			tombstone = &logv1.Tombstone{
				Sequence: known.GetSequence(), Checksum: known.Checksum, PreviousChecksum: known.GetPreviousChecksum(), Position: known.Position,
			}
			n.erase = known.Position
		}
		e.Event = &logv1.Entry_Tombstone{Tombstone: tombstone}
	case p.Reconciled != nil:
		e.Event = &logv1.Entry_Submission{Submission: p.Reconciled}
	default:
		e.Event = &logv1.Entry_Delivery{Delivery: p.Delivery}
	}
	data, sum, err := encode(e)
	if err != nil {
		return err
	}
	n.drafts = []store.Draft{{Subject: eventSubject(p.Form, p.Submission), Data: data}}
	if p.Deleted {
		mark, err := proto.Marshal(e.GetTombstone())
		if err != nil {
			return err
		}
		n.drafts = append(n.drafts, store.Draft{Subject: erasedSubject(p.Form, e.GetTombstone().GetSequence(), p.Submission), Data: mark})
	}
	n.tail.sequence, n.tail.checksum = e.GetSequence(), sum
	return nil
}

// carryOut writes what is planned, in order, and returns how many of the plans it carried out.
func (l *Log) carryOut(ctx context.Context, plans []plan) (int, error) {
	for done := 0; done < len(plans); {
		n := 1
		for done+n < len(plans) && len(plans[done].drafts) == 1 && len(plans[done+n].drafts) == 1 {
			n++
		}
		stored, err := l.append(ctx, plans[done:done+n])
		done += stored
		if err != nil {
			return done, err
		}
	}
	return len(plans), nil
}

// append writes plans of one draft each, or one plan whole.
func (l *Log) append(ctx context.Context, plans []plan) (int, error) {
	var drafts []store.Draft
	for _, n := range plans {
		for _, d := range n.drafts {
			d.Behind = &store.Condition{Position: l.last, Draft: len(drafts)}
			drafts = append(drafts, d)
		}
	}
	var positions []uint64
	var err error
	if len(plans) == 1 && len(drafts) > 1 {
		positions, err = l.store.AppendAll(ctx, drafts)
	} else {
		positions, err = l.store.Append(ctx, drafts)
	}
	if len(positions) > 0 {
		if positions[0] <= l.last { // an engine that lost the end of its file goes on where that ends now
			err = errors.Join(err, l.cutAt(ctx, positions[0]-1))
		}
		l.last = positions[len(positions)-1]
		l.written.Store(l.last)
	}
	stored := min(len(positions), len(plans))
	for _, n := range plans[:stored] {
		n.tail.known.add(n.news.Submission)
		if n.erase != 0 {
			l.erase(ctx, n.news.Form, n.news.Submission, n.erase)
		}
	}
	return stored, err
}

// erase takes away what a tombstone stands for. What fails here the next walk does again.
func (l *Log) erase(ctx context.Context, form, submission string, position uint64) {
	err := l.store.Erase(ctx, position)
	l.takings.Add(1)
	if err == nil {
		err = l.eraseAside(ctx, form, submission)
	}
	if err != nil {
		l.owed.Store(true)
		l.log.Warn("a deleted submission is not erased yet", slog.String("form", form), slog.String("error", err.Error()))
	}
}

// eraseAside takes away what is kept aside of a submission, one by one: the engine overwrites nothing of what it takes away together.
func (l *Log) eraseAside(ctx context.Context, form, submission string) error {
	subjects, err := l.store.Subjects(ctx, conflictSubjects(form, submission))
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		m, found, err := l.store.Last(ctx, subject)
		if err == nil && found {
			err = l.store.Erase(ctx, m.Position)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
