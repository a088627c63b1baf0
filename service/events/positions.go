package events

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

const positionsKey = "positions"

// settle notes how far the log is, and returns it. A log that is shorter than it once was has lost its end: seen is the highest position
// that this process knows of.
func (l *Log) settlePositions(ctx context.Context, seen uint64) (last uint64, err error) {
	for {
		state, err := l.store.State(ctx)
		if err != nil {
			return 0, err
		}
		r, err := l.store.Get(ctx, positionsKey)
		if err != nil {
			return 0, err
		}
		p := &logv1.Positions{}
		_ = proto.Unmarshal(r.Value, p) // a damaged record knows nothing
		known, copied := max(p.GetLast(), seen), p.GetIdentity() != "" && p.GetIdentity() != l.store.Identity()
		switch {
		case state.Last < known:
			l.log.Error("the end of the log of events is lost", slog.Uint64("left", state.Last), slog.Uint64("was", known))
			p.Cuts = append(p.Cuts, state.Last)
		case copied:
			l.log.Warn("the log of events is a copy: whatever came behind its end is read again", slog.Uint64("end", state.Last))
			p.Cuts = append(p.Cuts, state.Last)
		case state.Last == p.GetLast():
			l.setCuts(p.GetCuts())
			return state.Last, nil
		}
		p.Last, p.Identity = state.Last, l.store.Identity()
		if r.Value, err = proto.Marshal(p); err != nil {
			return 0, err
		}
		if _, err = l.store.Put(ctx, r); errors.Is(err, store.ErrConflict) {
			continue
		}
		l.setCuts(p.GetCuts())
		return state.Last, err
	}
}

// cutAt notes that the end of the log was lost behind a position, which the engine is about to use anew.
func (l *Log) cutAt(ctx context.Context, position uint64) error {
	for {
		r, err := l.store.Get(ctx, positionsKey)
		if err != nil {
			return err
		}
		p := &logv1.Positions{}
		_ = proto.Unmarshal(r.Value, p) // a damaged record knows nothing
		p.Cuts, p.Last, p.Identity = append(p.Cuts, position), position, l.store.Identity()
		if r.Value, err = proto.Marshal(p); err != nil {
			return err
		}
		if _, err = l.store.Put(ctx, r); err == nil {
			l.log.Error("the end of the log of events is lost", slog.Uint64("left", position))
			l.setCuts(p.GetCuts())
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// setCuts remembers the cuts, and tells the reader of the process of new ones: it waits behind an end that is no more.
func (l *Log) setCuts(cuts []uint64) {
	before := l.epoch()
	l.cuts.Store(&cuts)
	if uint64(len(cuts)) <= before {
		return
	}
	l.written.Store(min(l.written.Load(), cuts[len(cuts)-1])) // what this process wrote behind that is lost
	if shrunk := l.shrunk.Load(); shrunk != nil {
		(*shrunk)()
	}
}

// epoch is how often the end of the log was lost.
func (l *Log) epoch() uint64 {
	if cuts := l.cuts.Load(); cuts != nil {
		return uint64(len(*cuts))
	}
	return 0
}

// translate returns where a place of an earlier epoch is now: what was behind a cut is lost, and what is there now is something else.
func (l *Log) translate(at Place, epoch uint64) Place {
	cuts := l.cuts.Load()
	if cuts == nil || epoch >= uint64(len(*cuts)) {
		return at
	}
	for _, cut := range (*cuts)[epoch:] {
		at.Position, at.Accepted = min(at.Position, cut), min(at.Accepted, cut)
	}
	return at
}
