package events

import (
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
	hub       *Hub
	selection Selection
	forms     []string // of the selection
	at        Place
	wake      chan struct{}

	records []*Record // what comes next
	taken   int       // how many of them were handed out
	scanned uint64    // up to where they go
	life    int       // of the hub, when it looked last
	chains  map[string]*chain
}

// Watch returns a cursor behind a place. It must be closed.
func (h *Hub) Watch(selection Selection, at Place) *Cursor {
	c := &Cursor{hub: h, selection: selection, forms: selection.Forms, at: at, scanned: at.Position, wake: make(chan struct{}, 1)}
	h.join(c)
	return c
}

// Close ends the cursor.
func (c *Cursor) Close() { c.hub.leave(c) }

// At returns the place behind what was handed out last.
func (c *Cursor) At() Place { return c.at }

// poke wakes the reader.
func (c *Cursor) poke() {
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
		if r := c.pop(); r != nil {
			return r, nil
		}
		records, end, ok := c.hub.after(c.records[:0], c)
		c.records, c.taken, c.scanned = records, 0, end
		if ok {
			if len(records) == 0 {
				c.at.Position = max(c.at.Position, end)
				return nil, nil //nolint:nilnil // nothing yet
			}
			c.chains = nil
			continue
		}
		if err := c.catchUp(ctx); err != nil {
			return nil, err
		}
	}
}

// pop hands out what was read before, but for a gap that the reader knows of.
func (c *Cursor) pop() *Record {
	for c.taken < len(c.records) {
		r := c.records[c.taken]
		c.records[c.taken] = nil
		c.taken++
		switch {
		case r.Gap == nil:
			c.at.Position = r.Position
			return r
		case r.Position > c.at.Accepted:
			c.at.Accepted = r.Position
			return r
		}
	}
	c.at.Position = max(c.at.Position, c.scanned)
	return nil
}

// catchUp reads what comes next from the log: of each form a part, up to where all of them are known.
func (c *Cursor) catchUp(ctx context.Context) error {
	horizon := c.hub.position() // what is behind it is in the ring
	var messages []store.Message
	for _, form := range c.selection.Named() {
		part, more, err := c.hub.log.store.Read(ctx, store.Query{Filter: formFilter(form), From: c.at.Position + 1})
		if err != nil {
			return err
		}
		if more {
			horizon = min(horizon, part[len(part)-1].Position)
		}
		messages = append(messages, part...)
	}
	slices.SortFunc(messages, func(a, b store.Message) int { return int(a.Position) - int(b.Position) }) //nolint:gosec // far below 2^63
	for _, m := range messages {
		if m.Position > horizon {
			break
		}
		if err := c.check(ctx, m); err != nil {
			return err
		}
	}
	c.scanned = horizon
	return nil
}

// check adds an entry that was read to what comes next, after what is lost before it.
func (c *Cursor) check(ctx context.Context, m store.Message) error {
	e, err := c.hub.log.decode(m)
	if unreadable(err) {
		return nil // the entry behind it shows the gap
	}
	form := e.GetFormId()
	next, gap, err := c.hub.log.advance(ctx, c.chains[form], e)
	if err != nil {
		return err
	}
	if c.chains == nil {
		c.chains = map[string]*chain{}
	}
	c.chains[form] = next
	if gap != nil {
		c.hub.log.lost(form, *gap)
		c.records = append(c.records, &Record{Form: form, Gap: gap, Position: e.Position})
	}
	c.records = append(c.records, &Record{Form: form, Entry: &e, Position: e.Position})
	return nil
}
