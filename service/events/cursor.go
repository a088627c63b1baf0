package events

import (
	"cmp"
	"context"
	"slices"

	"github.com/tallyd/tallyd/service/store"
)

// Place is a place in the log of all forms.
type Place struct {
	// Position is that of the last entry that was seen, or of one behind which nothing was of interest.
	Position uint64
	// Accepted is the position up to which whoever reads knows of what is lost and taken away.
	Accepted uint64
}

// Selection says which forms' events are wanted.
type Selection struct {
	// Forms are the forms by id; nil for those that Wants and All say, which may change.
	Forms []string
	// Wants tells whether events of a form are wanted; it must be quick. Needed without Forms.
	Wants func(form string) bool
	// All returns the forms that are wanted now. Needed without Forms.
	All func() []string
}

func (s Selection) wants(form string) bool {
	if s.Forms != nil {
		return slices.Contains(s.Forms, form)
	}
	return s.Wants(form)
}

// Named returns the forms that are wanted now.
func (s Selection) Named() []string {
	if s.Forms != nil {
		return s.Forms
	}
	return s.All()
}

// Cursor reads events one after the other, first from the log and then as they come. It is for one reader.
type Cursor struct {
	reader

	hub  *Hub
	wake chan struct{}
	life int // of the hub, when it looked last
	// level says that all was taken that the hub had when it was asked last.
	level bool
}

// Watch returns a cursor behind a place. It must be closed.
func (h *Hub) Watch(selection Selection, at Place) *Cursor {
	c := &Cursor{reader: newReader(h.log, selection, at), hub: h, wake: make(chan struct{}, 1)}
	h.join(c)
	return c
}

// Close ends the cursor.
func (c *Cursor) Close() { c.hub.leave(c) }

// Named returns the forms that are wanted now.
func (c *Cursor) Named() []string { return c.selection.Named() }

// Poke wakes the reader.
func (c *Cursor) Poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Wake returns a channel that tells when Next may have something.
func (c *Cursor) Wake() <-chan struct{} { return c.wake }

// Next returns the next event, or nil when there is none yet. The error is that of ctx or of the store.
func (c *Cursor) Next(ctx context.Context) (*Record, error) {
	select {
	case <-c.hub.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		if c.outdated() {
			c.level = false
		}
		if r := c.pop(); r != nil {
			return r, nil
		}
		if c.level {
			c.level = false // whatever came since has woken the reader
			return nil, nil //nolint:nilnil // nothing yet
		}
		records, end, ok := c.hub.after(c.records[:0], c)
		c.records, c.taken, c.scanned = records, 0, end
		if ok {
			c.level, c.chains = len(records) < mostAtOnce, nil
			continue
		}
		// What is behind the hub's position is in its ring.
		if err := c.catchUp(ctx, c.hub.position()); err != nil {
			return nil, err
		}
	}
}

// Reader reads events up to the end that the log has when it is asked for. It is for one reader.
type Reader struct {
	reader

	until uint64
}

// Read returns a reader behind a place. The error is that of the store.
func (l *Log) Read(ctx context.Context, selection Selection, at Place) (*Reader, error) {
	end, err := l.Latest(ctx)
	return &Reader{reader: newReader(l, selection, at), until: end.Position}, err
}

// Next returns the next event, or nil at the end. The error is that of the store.
func (r *Reader) Next(ctx context.Context) (*Record, error) {
	for {
		r.outdated()
		if next := r.pop(); next != nil || r.at.Position >= r.until {
			return next, nil
		}
		r.records, r.taken = r.records[:0], 0
		if err := r.catchUp(ctx, r.until); err != nil {
			return nil, err
		}
	}
}

// reader is a place in the log and what comes next.
type reader struct {
	log       *Log
	selection Selection
	at        Place

	records []*Record // what comes next
	taken   int       // how many of them were handed out
	scanned uint64    // up to where they go
	taking  uint64    // counts what was taken out of the log, as it was when they were read
	chains  map[string]*chain
}

func newReader(l *Log, selection Selection, at Place) reader {
	return reader{log: l, selection: selection, at: at, scanned: at.Position}
}

// At returns the place behind what was handed out last.
func (r *reader) At() Place { return r.at }

// outdated drops what was read before something was erased from the log or taken away, and tells whether there was any: it is read again,
// without that.
func (r *reader) outdated() bool {
	takings := r.log.takings.Load()
	if r.taking == takings {
		return false
	}
	r.taking = takings
	if r.taken == len(r.records) {
		return false
	}
	r.records, r.taken, r.scanned, r.chains = nil, 0, r.at.Position, nil
	return true
}

// pop hands out what was read before, but for a gap that the reader knows of.
func (r *reader) pop() *Record {
	for r.taken < len(r.records) {
		next := r.records[r.taken]
		r.records[r.taken] = nil
		r.taken++
		switch {
		case next.Gap == nil:
			// What is lost before it was told before it: so all who come this way have the same token from here on.
			r.at = Place{Position: next.Position, Accepted: max(r.at.Accepted, next.Position)}
			return next
		case next.Position > r.at.Accepted:
			r.at.Accepted = next.Position
			return next
		}
	}
	r.at.Position = max(r.at.Position, r.scanned)
	return nil
}

const (
	// mostRead is how many entries are read at once of all forms, leastRead of each.
	mostRead  = 256
	leastRead = 8
)

// catchUp reads what comes next from the log, up to a position at most: of each form a part, up to where all of them are known.
func (r *reader) catchUp(ctx context.Context, horizon uint64) error {
	var messages []store.Message
	forms := r.selection.Named()
	for _, form := range forms {
		part, more, err := r.log.store.Read(ctx, store.Query{
			Filter: formFilter(form), From: r.at.Position + 1, Most: max(mostRead/len(forms), leastRead),
		})
		if err != nil {
			return err
		}
		if more {
			horizon = min(horizon, part[len(part)-1].Position)
		}
		messages = append(messages, part...)
	}
	slices.SortFunc(messages, func(a, b store.Message) int { return cmp.Compare(a.Position, b.Position) })
	for _, m := range messages {
		if m.Position > horizon {
			break
		}
		if err := r.check(ctx, m); err != nil {
			if len(r.records) == 0 {
				return err
			}
			r.scanned = m.Position - 1 // what comes before it is handed out first
			return nil
		}
	}
	r.scanned = horizon
	return nil
}

// check adds an entry that was read to what comes next, after what is lost before it.
func (r *reader) check(ctx context.Context, m store.Message) error {
	e, err := r.log.decode(m)
	if unreadable(err) {
		return nil // the entry behind it shows the gap
	}
	if err != nil {
		return err
	}
	form := e.GetFormId()
	next, gap, err := r.log.advance(ctx, r.chains[form], e)
	if err != nil {
		return err
	}
	if r.chains == nil {
		r.chains = map[string]*chain{}
	}
	r.chains[form] = next
	if gap != nil {
		r.log.lost(form, *gap)
		r.records = append(r.records, &Record{Form: form, Gap: gap, Position: e.Position})
	}
	r.records = append(r.records, &Record{Form: form, Entry: &e, Position: e.Position})
	return nil
}
