package events

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

// Retain takes away what came before a time. It is noted first how far, so that nobody takes it for a loss.
func (l *Log) Retain(ctx context.Context, form string, since time.Time) error {
	first, _, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), Since: since, Most: 1})
	if err != nil {
		return err
	}
	if len(first) > 0 {
		return l.cut(ctx, form, first[0], since)
	}
	last, found, err := l.store.Last(ctx, formFilter(form))
	if err != nil || !found || !last.Time.Before(since) {
		return err
	}
	e, err := l.decode(last)
	if err != nil {
		return err
	}
	return l.take(ctx, form, &logv1.Floor{
		Sequence: e.GetSequence(), Checksum: e.Checksum, Position: e.Position, Time: timestamppb.New(since),
	})
}

// cut takes away all entries of a form before one; they came before a time.
func (l *Log) cut(ctx context.Context, form string, first store.Message, since time.Time) error {
	e, err := l.decode(first)
	if err != nil {
		return err // it goes when the one behind it is the first
	}
	return l.take(ctx, form, &logv1.Floor{
		Sequence: e.GetSequence() - 1, Checksum: e.GetPreviousChecksum(), Position: e.Position - 1, Time: timestamppb.New(since),
	})
}

// take takes away what is up to a floor.
func (l *Log) take(ctx context.Context, form string, floor *logv1.Floor) error {
	moved := false
	_, err := l.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		moved = floor.GetSequence() > f.GetFloor().GetSequence()
		if moved {
			f.Floor = floor
		}
		return moved
	})
	if err != nil || !moved {
		return err
	}
	l.floors.Store(form, floor.GetTime().AsTime())
	if forget := l.taken.Load(); forget != nil {
		(*forget)(form, floor.GetPosition())
	}
	// What else there is of a form lies behind the entry that it is about, so that it goes with it or later.
	for _, filter := range []string{formFilter(form), erasedOf(form), "cf." + form + ".>"} {
		if err := l.store.Purge(ctx, filter, floor.GetPosition()+1); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes away all that is kept of a form, but for a mark where its log ended.
func (l *Log) Remove(ctx context.Context, form string) error {
	position, err := l.markEnd(ctx, form)
	if err != nil {
		return err
	}
	if forget := l.taken.Load(); forget != nil {
		(*forget)(form, position)
	}
	for _, filter := range []string{formFilter(form), erasedOf(form), "cf." + form + ".>"} {
		if err := l.store.Purge(ctx, filter, 0); err != nil {
			return err
		}
	}
	if err := l.store.Remove(ctx, partialsKey+form); err != nil {
		return err
	}
	defer l.secrets.Delete(form)
	return l.store.Remove(ctx, formKey+form)
}

// markEnd notes the last entry of a form's log and returns the mark's position, which is behind every token that was handed out.
func (l *Log) markEnd(ctx context.Context, form string) (uint64, error) {
	f, err := l.Form(ctx, form)
	if err != nil {
		return 0, err
	}
	end := &logv1.Floor{Time: timestamppb.Now()}
	for _, known := range []*logv1.Floor{f.GetFloor(), f.GetCheckpoint()} {
		if known.GetSequence() > end.GetSequence() {
			end.Sequence, end.Checksum = known.GetSequence(), known.GetChecksum()
		}
	}
	last, found, err := l.store.Last(ctx, formFilter(form))
	if err != nil {
		return 0, err
	}
	if found {
		if e, err := l.decode(last); err == nil && e.GetSequence() > end.GetSequence() {
			end.Sequence, end.Checksum = e.GetSequence(), e.Checksum
		}
	}
	data, err := proto.Marshal(end)
	if err != nil {
		return 0, err
	}
	positions, err := l.store.Append(ctx, []store.Draft{{Subject: endSubject(form), Data: data}})
	if err != nil {
		return 0, err
	}
	return positions[0], nil
}

// ended returns the mark where a form's log ended, as the floor of the one that begins: whoever comes with a token from before has missed
// what nobody kept, and no number is used twice. It is nil for a form that never had a log.
func (l *Log) ended(ctx context.Context, form string) (*logv1.Floor, error) {
	mark, found, err := l.store.Last(ctx, endSubject(form))
	if err != nil || !found {
		return nil, err
	}
	end := &logv1.Floor{}
	if err := proto.Unmarshal(mark.Data, end); err != nil {
		end = &logv1.Floor{} // a damaged mark still knows where it lies
	}
	end.Position = mark.Position
	return end, nil
}
