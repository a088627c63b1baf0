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
		return l.cut(ctx, form, first[0], &logv1.Floor{Time: timestamppb.New(since)})
	}
	last, found, err := l.store.Last(ctx, formFilter(form))
	switch {
	case err != nil:
		return err
	case !found:
		return l.takeAgain(ctx, form)
	case !last.Time.Before(since):
		return nil
	}
	end, err := l.endAt(ctx, form, last)
	if err != nil {
		return err
	}
	return l.take(ctx, form, &logv1.Floor{
		Sequence: end.sequence, Checksum: end.checksum, Position: last.Position, Time: timestamppb.New(since),
	})
}

// endAt returns the end of a form's log by its last entry; one that cannot be read has the number that the writer takes it to have.
func (l *Log) endAt(ctx context.Context, form string, last store.Message) (end, error) {
	e, err := l.decode(last)
	if err == nil || !unreadable(err) {
		return end{sequence: e.GetSequence(), checksum: e.Checksum}, err
	}
	f, err := l.Form(ctx, form)
	if err != nil {
		return end{}, err
	}
	t := &tail{end: recorded(f)}
	err = l.continueAt(ctx, t, last)
	return t.end, err
}

// recorded returns the last entry of a form's log that its record knows of.
func recorded(f *logv1.Form) (last end) {
	for _, known := range []*logv1.Floor{f.GetFloor(), f.GetCheckpoint()} {
		if known.GetSequence() > last.sequence {
			last = end{sequence: known.GetSequence(), checksum: known.GetChecksum()}
		}
	}
	return last
}

// cut takes away all entries of a form before one. The floor says why.
func (l *Log) cut(ctx context.Context, form string, first store.Message, floor *logv1.Floor) error {
	e, err := l.decode(first)
	if err == nil {
		floor.Sequence, floor.Checksum, floor.Position = e.GetSequence()-1, e.GetPreviousChecksum(), e.Position-1
		return l.take(ctx, form, floor)
	}
	if !unreadable(err) {
		return err
	}
	// It goes when the one behind it is the first, but what lies before it need not wait for that.
	previous, err := l.lastUpTo(ctx, form, first.Position-1)
	if err != nil || previous == nil {
		return err
	}
	floor.Sequence, floor.Checksum, floor.Position = previous.GetSequence(), previous.Checksum, previous.Position
	return l.take(ctx, form, floor)
}

// take takes away what is up to a floor. Where that is the one that is noted, whoever noted it may not have come to the rest, and this
// process may hold what another one took.
func (l *Log) take(ctx context.Context, form string, floor *logv1.Floor) error {
	f, err := l.Form(ctx, form)
	if err == nil && floor.GetSequence() > f.GetFloor().GetSequence() {
		f, err = l.lift(ctx, form, floor)
	}
	if err != nil || floor.GetSequence() < f.GetFloor().GetSequence() {
		return err
	}
	return l.clear(ctx, form, f.GetFloor(), floor.GetPosition())
}

// lift notes a floor, and what Tally counts from now on beyond what the log has.
func (l *Log) lift(ctx context.Context, form string, floor *logv1.Floor) (*logv1.Form, error) {
	live, err := l.liveUpTo(ctx, form, floor.GetPosition())
	if err != nil {
		return nil, err
	}
	return l.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		before := f.GetFloor().GetSequence()
		if floor.GetSequence() <= before {
			return false
		}
		for _, sequence := range live {
			if sequence > before { // else another replica has counted it
				f.Uncounted++
			}
		}
		f.Floor = floor
		return true
	})
}

// liveUpTo returns the numbers of a form's entries up to a position that are no tombstones.
func (l *Log) liveUpTo(ctx context.Context, form string, position uint64) (live []uint64, err error) {
	for from := uint64(1); ; {
		messages, more, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), From: from})
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Position > position {
				return live, nil
			}
			if e, err := decode(m); err == nil && e.GetTombstone() == nil {
				live = append(live, e.GetSequence())
			}
			from = m.Position + 1
		}
		if !more {
			return live, nil
		}
	}
}

// takeAgain ends what was begun with a form of which no entry is left.
func (l *Log) takeAgain(ctx context.Context, form string) error {
	f, err := l.Form(ctx, form)
	if err != nil {
		return err
	}
	return l.clear(ctx, form, f.GetFloor(), f.GetFloor().GetPosition())
}

// clear takes away what is up to a position, that of a form's floor, from memory and from the log; once, as far as this process knows.
func (l *Log) clear(ctx context.Context, form string, floor *logv1.Floor, position uint64) error {
	if floor == nil {
		return nil
	}
	if cleared, found := l.cleared.Load(form); found && cleared == position {
		return nil
	}
	l.floors.Store(form, floor)
	if forget := l.taken.Load(); forget != nil {
		(*forget)(form, position)
	}
	if err := l.purge(ctx, form, position+1); err != nil {
		return err
	}
	l.cleared.Store(form, position)
	return nil
}

// purge takes away what is of a form before a position; 0 for all. What there is beside entries lies behind the one that it is about, so
// that it goes with it or later.
func (l *Log) purge(ctx context.Context, form string, before uint64) error {
	for _, filter := range []string{formFilter(form), erasedOf(form), conflictsOf(form)} {
		if err := l.store.Purge(ctx, filter, before); err != nil {
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
	l.cleared.Delete(form)
	if err := l.purge(ctx, form, 0); err != nil {
		return err
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
	known := recorded(f)
	end := &logv1.Floor{Sequence: known.sequence, Checksum: known.checksum, Time: timestamppb.Now()}
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
