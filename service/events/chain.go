package events

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

// Gap is a range of a form's log that is lost.
type Gap struct {
	First, Last uint64
}

// chain is how far somebody has read a form's log.
type chain struct {
	sequence uint64
	checksum uint32
	sure     bool // the checksum is that of the entry at sequence
}

// advance moves a chain to the entry that comes next and returns what is lost before it; nil for nothing. c is nil for a reader that
// begins there.
func (l *Log) advance(ctx context.Context, c *chain, e Entry) (*chain, *Gap, error) {
	form := e.GetFormId()
	if c == nil {
		var err error
		if c, err = l.before(ctx, form, e); err != nil {
			return nil, nil, err
		}
	}
	moved := *c // else a reader that tries again has forgotten the gap
	gap, err := l.missing(ctx, &moved, e)
	if err != nil {
		return nil, nil, err
	}
	l.join(&moved, form, e.GetSequence(), e.GetPreviousChecksum())
	return &chain{sequence: e.GetSequence(), checksum: e.Checksum, sure: true}, gap, nil
}

// missing moves a chain up to before an entry and returns what is lost in between; nil for nothing. What was erased has left a mark, and
// what retention took lies up to the form's floor: it overtakes who reads slowly.
func (l *Log) missing(ctx context.Context, c *chain, e Entry) (gap *Gap, err error) {
	form := e.GetFormId()
	var floor *logv1.Floor
	for c.sequence+1 < e.GetSequence() {
		at := c.sequence + 1
		mark, err := l.markAt(ctx, form, at)
		if err != nil {
			return nil, err
		}
		if mark != nil {
			l.join(c, form, at, mark.GetPreviousChecksum())
			*c = chain{sequence: at, checksum: mark.GetChecksum(), sure: true}
			continue
		}
		if floor == nil {
			if floor, err = l.floor(ctx, form); err != nil {
				return nil, err
			}
		}
		if at <= floor.GetSequence() {
			last := min(floor.GetSequence(), e.GetSequence()-1)
			*c = chain{sequence: last, checksum: floor.GetChecksum(), sure: last == floor.GetSequence()}
			continue
		}
		*c = chain{sequence: at}
		if gap == nil {
			gap = &Gap{First: at}
		}
		gap.Last = at
	}
	return gap, nil
}

// floor returns up to where retention took a form's log, as it is noted; never nil.
func (l *Log) floor(ctx context.Context, form string) (*logv1.Floor, error) {
	f, err := l.Form(ctx, form)
	if err != nil || f.GetFloor() == nil {
		return &logv1.Floor{}, err
	}
	return f.GetFloor(), nil
}

// join tells of an entry that does not name the one before it: somebody changed the log.
func (l *Log) join(c *chain, form string, sequence uint64, named uint32) {
	if c.sure && c.checksum != named {
		l.log.Error("an entry of the log does not name the one before it",
			slog.String("form", form), slog.Uint64("sequence", sequence))
	}
}

// markAt returns the mark of an erased entry; nil where there is none.
func (l *Log) markAt(ctx context.Context, form string, sequence uint64) (*logv1.Tombstone, error) {
	m, found, err := l.store.Last(ctx, erasedAt(form, sequence))
	if err != nil || !found {
		return nil, err
	}
	mark := &logv1.Tombstone{}
	if err := proto.Unmarshal(m.Data, mark); err != nil {
		return nil, nil //nolint:nilerr,nilnil // a damaged mark explains nothing
	}
	return mark, nil
}

// before returns the chain up to the entry that comes before another: by the last one that the log has, or by what retention took.
func (l *Log) before(ctx context.Context, form string, e Entry) (*chain, error) {
	if e.GetSequence() == 1 {
		return &chain{sure: true}, nil
	}
	previous, err := l.lastUpTo(ctx, form, e.Position-1)
	if err != nil {
		return nil, err
	}
	if previous != nil {
		return &chain{sequence: previous.GetSequence(), checksum: previous.Checksum, sure: true}, nil
	}
	f, err := l.Form(ctx, form)
	if err != nil {
		return nil, err
	}
	floor := f.GetFloor()
	return &chain{sequence: floor.GetSequence(), checksum: floor.GetChecksum(), sure: floor != nil}, nil
}

// lastUpTo returns the last readable entry of a form up to a position; nil for none. The engine reads forwards alone, so steps back grow
// until they meet one.
func (l *Log) lastUpTo(ctx context.Context, form string, position uint64) (*Entry, error) {
	for step := uint64(1); position > 0; step *= 2 {
		from := uint64(1)
		if step < position {
			from = position - step + 1
		}
		found, err := l.lastBetween(ctx, form, from, position)
		if found != nil || err != nil || from == 1 {
			return found, err
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// lastBetween returns the last readable entry of a form within a range of positions; nil for none.
func (l *Log) lastBetween(ctx context.Context, form string, from, to uint64) (found *Entry, err error) {
	for {
		messages, more, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), From: from})
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Position > to {
				return found, nil
			}
			if e, err := l.decode(m); err == nil {
				found = &e
			}
			from = m.Position + 1
		}
		if !more {
			return found, nil
		}
	}
}

// decode reads an entry and tells operators of one that it cannot read. To readers it is as if it were not there.
func (l *Log) decode(m store.Message) (Entry, error) {
	e, err := decode(m)
	if err != nil {
		l.log.Error("an entry of the log cannot be read", slog.String("form", formOf(m.Subject)),
			slog.Uint64("position", m.Position), slog.String("error", err.Error()))
	}
	return e, err
}

// unreadable tells an entry that nobody can read any more from one that this version cannot.
func unreadable(err error) bool { return errors.Is(err, errDamaged) }

// lostRange is what was told as lost.
type lostRange struct {
	form string
	gap  Gap
}

// lost tells of entries that are lost, once.
func (l *Log) lost(form string, gap Gap) {
	if _, told := l.told.LoadOrStore(lostRange{form, gap}, nil); told {
		return
	}
	l.lasts.change(form, func(last *Last) { last.Gaps++ })
	l.log.Error("entries of the log are lost", slog.String("form", form), slog.Uint64("first", gap.First), slog.Uint64("last", gap.Last))
	l.seen.Gap(form, gap.First, gap.Last)
}
