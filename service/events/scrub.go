package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

const (
	// scrubEvery is from the end of one walk through the log to the beginning of the next.
	scrubEvery = 30 * time.Second
	// scrubPause is what a walk waits after each part of at most a mebibyte: it must not take the disk from others. A log of 400 MiB is
	// walked through in 25 s.
	scrubPause = 60 * time.Millisecond
	// settled is how old an entry is that every server of a cluster has.
	settled = 5 * time.Second
	// mostFailed bounds the forms that one line tells of.
	mostFailed = 5
)

// ScrubConfig is what a Scrub needs.
type ScrubConfig struct {
	// Log is the log.
	Log *Log
	// Retention is how long entries are kept, and Bytes how much of each form.
	Retention time.Duration
	Bytes     int64
	// Walked is told after each walk how many entries there are and what they take. May be nil.
	Walked func(entries, bytes int64)
	// Logger gets what operators should see.
	Logger *slog.Logger
}

// Scrub walks through the log again and again: it sees damage before a reader does, and takes away what is kept no longer.
type Scrub struct {
	config ScrubConfig
}

// NewScrub returns a scrub that walks when it runs.
func NewScrub(config ScrubConfig) *Scrub {
	if config.Walked == nil {
		config.Walked = func(int64, int64) {}
	}
	return &Scrub{config: config}
}

// Run walks until ctx ends.
func (s *Scrub) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.Walk(ctx); err != nil && ctx.Err() == nil {
			s.config.Logger.Warn("walking through the log of events stopped", slog.String("error", err.Error()))
		}
		pause(ctx, scrubEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Walk walks through the log once.
func (s *Scrub) Walk(ctx context.Context) error {
	if s.config.Log.owed.Swap(false) {
		if err := s.sweep(ctx); err != nil {
			s.config.Log.owed.Store(true)
			return err
		}
	}
	if _, err := s.config.Log.settlePositions(ctx, 0); err != nil {
		return err
	}
	w := &walk{log: s.config.Log, ends: s.config.Log.lasts.before(time.Now().Add(-settled)), forms: map[string]*walked{}}
	if err := w.all(ctx); err != nil {
		return err
	}
	for form, seen := range w.forms {
		if err := s.config.Log.checkpoint(ctx, form, seen.chain); err != nil {
			return err
		}
	}
	unmarked := w.mark(ctx) // before marks go with their tombstones; what it lacks the room for, retention may give
	unretained := s.retain(ctx, w)
	s.config.Walked(w.entries, w.bytes)
	return errors.Join(unmarked, unretained, w.missing(ctx))
}

// sweep erases what tombstones stand for and nobody got to, be it the process before.
func (s *Scrub) sweep(ctx context.Context) error {
	for from := uint64(1); ; {
		marks, more, err := s.config.Log.store.Read(ctx, store.Query{Filter: "er.>", From: from})
		if err != nil {
			return err
		}
		for _, m := range marks {
			from = m.Position + 1
			mark := &logv1.Tombstone{}
			if proto.Unmarshal(m.Data, mark) == nil && mark.GetPosition() != 0 {
				s.config.Log.erase(ctx, formOf(m.Subject), submissionOf(m.Subject), mark.GetPosition())
			}
		}
		if !more {
			return nil
		}
	}
}

// retain takes away what is kept no longer, by age and by size. What fails for one form does not keep it from others.
func (s *Scrub) retain(ctx context.Context, w *walk) error {
	forms, err := s.config.Log.Forms(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, form := range forms {
		if err := s.retainForm(ctx, form, w.forms[form]); err != nil && len(failed) < mostFailed {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Scrub) retainForm(ctx context.Context, form string, seen *walked) error {
	err := s.config.Log.Retain(ctx, form, time.Now().Add(-s.config.Retention))
	if seen != nil && seen.bytes > s.config.Bytes {
		err = errors.Join(err, s.config.Log.shrink(ctx, form, seen.bytes-s.config.Bytes))
	}
	if err != nil {
		return fmt.Errorf("take away what is kept no longer of form %s: %w", form, err)
	}
	return nil
}

// shrink takes away the oldest entries of a form, as many as hold the bytes that are too many; the last one stays, however large.
func (l *Log) shrink(ctx context.Context, form string, over int64) error {
	var gone time.Time
	for from := uint64(1); ; {
		messages, more, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), From: from})
		if err != nil {
			return err
		}
		for i, m := range messages {
			last := !more && i == len(messages)-1
			if !gone.IsZero() && (over <= 0 || last) {
				return l.cut(ctx, form, m, &logv1.Floor{Time: timestamppb.New(gone), CrowdedOut: true})
			}
			over -= int64(len(m.Data))
			from, gone = m.Position+1, m.Time.Add(time.Nanosecond)
		}
		if !more {
			return nil
		}
	}
}

// walked is what a walk has seen of a form.
type walked struct {
	chain *chain
	bytes int64
	marks map[string]*logv1.Tombstone // by subject, what must be beside its tombstones
}

// walk is one way through the log.
type walk struct {
	log            *Log
	ends           map[string]uint64 // by form, an entry that readers of this process have seen
	forms          map[string]*walked
	entries, bytes int64
}

func (w *walk) all(ctx context.Context) error {
	for from := uint64(1); ; {
		messages, more, err := w.log.store.Read(ctx, store.Query{Filter: store.Everything, From: from})
		if err != nil {
			return err
		}
		for _, m := range messages {
			from = m.Position + 1
			if !isEvent(m.Subject) {
				continue
			}
			if err := w.see(ctx, m); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		pause(ctx, scrubPause)
	}
}

// see checks an entry against the one before it.
func (w *walk) see(ctx context.Context, m store.Message) error {
	w.entries++
	w.bytes += int64(len(m.Data))
	e, err := w.log.decode(m)
	if unreadable(err) {
		return nil // the entry behind it shows the gap
	}
	if err != nil {
		return err
	}
	form := e.GetFormId()
	seen := w.forms[form]
	if seen == nil {
		seen = &walked{}
		w.forms[form] = seen
	}
	seen.bytes += int64(len(m.Data))
	next, gap, err := w.log.advance(ctx, seen.chain, e)
	if err != nil {
		return err
	}
	seen.chain = next
	seen.expect(e)
	w.log.lasts.see(e)
	if gap != nil {
		w.log.lost(form, *gap)
	}
	return nil
}

// missing tells of entries that the end of a log once had and that are gone.
func (w *walk) missing(ctx context.Context) error {
	forms, err := w.log.Forms(ctx)
	if err != nil {
		return err
	}
	for _, form := range forms {
		f, err := w.log.Form(ctx, form)
		if err != nil {
			return err
		}
		last := f.GetFloor().GetSequence()
		if seen := w.forms[form]; seen != nil {
			last = max(last, seen.chain.sequence)
		}
		if known := max(f.GetCheckpoint().GetSequence(), w.ends[form]); known > last {
			w.log.lost(form, Gap{First: last + 1, Last: known})
		}
	}
	return nil
}

// checkpoint notes the last entry of a form's log.
func (l *Log) checkpoint(ctx context.Context, form string, c *chain) error {
	if c == nil {
		return nil
	}
	f, err := l.Form(ctx, form)
	if err != nil || f.GetBeginTime() == nil || f.GetCheckpoint().GetSequence() >= c.sequence {
		return err
	}
	_, err = l.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		f.Checkpoint = &logv1.Floor{Sequence: c.sequence, Checksum: c.checksum}
		return true
	})
	return err
}
