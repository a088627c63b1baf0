package events

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

// expect notes which mark must be beside an entry that is a tombstone.
func (s *walked) expect(e Entry) {
	tombstone := e.GetTombstone()
	if tombstone == nil {
		return
	}
	if s.marks == nil {
		s.marks = map[string]*logv1.Tombstone{}
	}
	s.marks[erasedSubject(e.GetFormId(), tombstone.GetSequence(), e.GetSubmissionId())] = tombstone
}

// mark carries out deletions of which the log has the tombstone alone. The engine takes a batch message by message: one that a full disk
// breaks off stays half, and the deletion, told again, is known.
func (w *walk) mark(ctx context.Context) error {
	for form, seen := range w.forms {
		if len(seen.marks) == 0 {
			continue
		}
		there, err := w.log.store.Subjects(ctx, erasedOf(form))
		if err != nil {
			return err
		}
		for _, subject := range there {
			delete(seen.marks, subject)
		}
		for subject, tombstone := range seen.marks {
			if err := w.log.mark(ctx, subject, tombstone); err != nil {
				return err
			}
		}
	}
	return nil
}

// mark appends the mark of a tombstone and erases what that stands for.
func (l *Log) mark(ctx context.Context, subject string, tombstone *logv1.Tombstone) error {
	data, err := proto.Marshal(tombstone)
	if err != nil {
		return err
	}
	_, err = l.store.Append(ctx, []store.Draft{{Subject: subject, Data: data, Behind: &store.Condition{Filter: subject}}})
	if err != nil && !errors.Is(err, store.ErrConflict) { // else another replica was first
		return err
	}
	l.log.Warn("a deletion that was half in the log is carried out", slog.String("form", formOf(subject)))
	if position := tombstone.GetPosition(); position != 0 {
		l.erase(ctx, formOf(subject), submissionOf(subject), position)
	}
	return nil
}
