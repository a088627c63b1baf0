package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallyd/tallyd/service/store"
)

const (
	// ringSize and ringBytes bound what is kept in memory for those who keep up; others read from the log.
	ringSize  = 4096
	ringBytes = 16 << 20
	// firstRetry and longestRetry are between attempts to read a log that cannot be read.
	firstRetry   = 50 * time.Millisecond
	longestRetry = 2 * time.Second
)

// Record is an entry or a gap on its way to those who watch. All of them share it.
type Record struct {
	// Form is what it is about.
	Form string
	// Entry is what was logged; nil for a gap.
	Entry *Entry
	// Gap is what is lost before the next entry; nil for an entry.
	Gap *Gap
	// Position is the entry's place in the log of all forms; for a gap that of the entry behind it.
	Position uint64

	mu    sync.Mutex
	event []byte
	made  map[Key][]byte
}

// Key is for whom bytes are made: those who ask with the same one get the same.
type Key struct {
	Request, Accepted uint64
}

// mostMade bounds what a record keeps made; more is made anew for each who asks.
const mostMade = 4

// Bytes returns what wrap makes, once for each key, of what word makes of the record, once for all.
func (r *Record) Bytes(key Key, word func() []byte, wrap func(event []byte) []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes, found := r.made[key]; found {
		return bytes
	}
	if r.event == nil {
		r.event = word()
	}
	bytes := wrap(r.event)
	if r.made == nil {
		r.made = map[Key][]byte{}
	}
	if len(r.made) < mostMade {
		r.made[key] = bytes
	}
	return bytes
}

// size is what a record takes in memory: as it was logged, as it is worded, and as it is for those who watch the same.
func (r *Record) size() int {
	if r.Entry == nil {
		return 0
	}
	return 3 * (len(r.Entry.GetDelivery()) + len(r.Entry.GetSubmission()))
}

// Hub reads the log once for the whole process and hands it out. It is safe for concurrent use.
type Hub struct {
	log *Log

	mu      sync.RWMutex
	ring    []*Record
	bytes   int
	start   uint64 // whatever is behind this position and up to end is in the ring
	end     uint64
	life    int           // counts the times that it began anew
	ready   chan struct{} // closed when start and end are known
	cursors map[string]map[*Cursor]struct{}
	broad   map[*Cursor]struct{} // those of more forms than are named
	open    atomic.Int64         // cursors

	// Of the reader alone.
	chains map[string]*chain
	cuts   int // how many it knows of

	anew chan struct{} // asks the reader to begin again
}

// NewHub returns a hub that reads a log when it runs.
func NewHub(l *Log) *Hub {
	h := &Hub{
		log: l, ready: make(chan struct{}), chains: map[string]*chain{},
		cursors: map[string]map[*Cursor]struct{}{}, broad: map[*Cursor]struct{}{}, anew: make(chan struct{}, 1),
	}
	forget, again := h.forget, h.again
	l.taken.Store(&forget)
	l.shrunk.Store(&again)
	return h
}

// Run reads until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	for pause := firstRetry; ctx.Err() == nil; pause = min(2*pause, longestRetry) {
		before := h.position()
		err := h.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if h.position() != before {
			pause = firstRetry
		}
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			h.log.log.Warn("reading the log of events stopped", slog.String("error", err.Error()))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// read reads from where it stopped, at first from the end of the log.
func (h *Hub) read(ctx context.Context) error {
	last, err := h.log.settlePositions(ctx, h.position())
	if err != nil {
		return err
	}
	select {
	case <-h.ready:
		if left := min(last, h.left()); left < h.position() {
			h.restart(left)
		}
	default:
		h.left()
		h.restart(last)
		close(h.ready)
	}
	return h.follow(ctx)
}

// left returns up to where the log is still what was read of it: behind a cut others may have written already. Each cut counts once.
func (h *Hub) left() uint64 {
	left, cuts := h.position(), h.log.cuts.Load()
	if cuts == nil {
		return left
	}
	for _, cut := range (*cuts)[min(h.cuts, len(*cuts)):] {
		left = min(left, cut)
	}
	h.cuts = len(*cuts)
	return left
}

// follow reads on until ctx ends, the engine fails or the end of the log is lost.
func (h *Hub) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	var following sync.WaitGroup
	following.Go(func() {
		defer cancel()
		err = h.log.store.Follow(ctx, allForms, h.position()+1, func(m store.Message) error { return h.take(ctx, m) })
	})
	select {
	case <-h.anew:
		cancel()
	case <-ctx.Done():
	}
	following.Wait()
	return err
}

// again makes the reader begin again: the end of the log was lost.
func (h *Hub) again() {
	select {
	case h.anew <- struct{}{}:
	default:
	}
}

// restart begins at what is left of the log. Cursors go on from there: what they had seen behind it is lost.
func (h *Hub) restart(last uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start, h.end, h.ring, h.bytes, h.life = last, last, nil, 0, h.life+1
	h.chains = map[string]*chain{}
}

func (h *Hub) position() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.end
}

// Latest returns the place behind all that this process has logged or read. The error is that of the store.
func (h *Hub) Latest(ctx context.Context) (Place, error) {
	select {
	case <-h.ready: // without a question to the store: ten thousand may ask at once
		end := h.reached()
		return Place{Position: end, Accepted: end}, nil
	default:
		return h.log.Latest(ctx)
	}
}

// Reach returns a place that the log has: one behind its end is of an end that was lost just now. The error is that of the store.
func (h *Hub) Reach(ctx context.Context, at Place) (Place, error) {
	if max(at.Position, at.Accepted) <= h.reached() {
		return at, nil
	}
	end, err := h.log.Latest(ctx) // another replica may be ahead
	return Place{Position: min(at.Position, end.Position), Accepted: min(at.Accepted, end.Position)}, err
}

// reached is the last position that this process has logged or read.
func (h *Hub) reached() uint64 { return max(h.position(), h.log.written.Load()) }

// take hands out a message, after what is lost before it.
func (h *Hub) take(ctx context.Context, m store.Message) error {
	e, err := h.log.decode(m)
	if unreadable(err) {
		h.add(m.Position) // the entry behind it will show the gap
		return nil
	}
	if err != nil {
		return err
	}
	form := e.GetFormId()
	next, gap, err := h.log.advance(ctx, h.chains[form], e)
	if err != nil {
		return err
	}
	h.chains[form] = next
	h.log.lasts.see(e)
	var records []*Record
	if gap != nil {
		h.log.lost(form, *gap)
		records = append(records, &Record{Form: form, Gap: gap, Position: e.Position})
	}
	if erased := e.GetTombstone().GetPosition(); erased != 0 {
		h.drop(erased)
	}
	h.add(e.Position, append(records, &Record{Form: form, Entry: &e, Position: e.Position})...)
	return nil
}

// drop takes an entry that was erased out of the ring.
func (h *Hub) drop(position uint64) {
	h.dropAll(func(r *Record) bool { return r.Entry != nil && r.Position == position })
}

// forget takes what retention took out of the ring.
func (h *Hub) forget(form string, upTo uint64) {
	h.dropAll(func(r *Record) bool { return r.Form == form && r.Position <= upTo })
}

func (h *Hub) dropAll(gone func(*Record) bool) {
	defer h.log.takings.Add(1) // behind the ring, so that nobody reads it from there again
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring = slices.DeleteFunc(h.ring, func(r *Record) bool {
		drop := gone(r)
		if drop {
			h.bytes -= r.size()
		}
		return drop
	})
}

// add puts records in the ring and wakes those who wait for them.
func (h *Hub) add(end uint64, records ...*Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end = end
	for _, r := range records {
		h.ring = append(h.ring, r)
		h.bytes += r.size()
	}
	over := 0
	for len(h.ring)-over > ringSize || (h.bytes > ringBytes && len(h.ring)-over > 1) {
		h.bytes -= h.ring[over].size()
		h.start = h.ring[over].Position // a gap that goes before its entry is found again in the log
		over++
	}
	if over > 0 {
		clear(h.ring[:over]) // else the array holds on to them
		h.ring = h.ring[over:]
	}
	for _, r := range records {
		for c := range h.cursors[r.Form] {
			c.Poke()
		}
		for c := range h.broad {
			c.Poke()
		}
	}
}

// mostAtOnce bounds what a cursor takes from the ring at once.
const mostAtOnce = 64

// after appends to records those behind a position that are wanted, and returns up to where it looked. It is false when the ring begins
// only behind the position.
func (h *Hub) after(records []*Record, c *Cursor) (taken []*Record, end uint64, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c.life != h.life {
		if c.life != 0 {
			// Its end was lost, and with it what was behind this.
			c.at.Position, c.at.Accepted = min(c.at.Position, h.start), min(c.at.Accepted, h.start)
		}
		c.life = h.life
	}
	position, wants := c.at.Position, c.selection.wants
	if position < h.start {
		return records, position, false
	}
	first, _ := slices.BinarySearchFunc(h.ring, position+1, func(r *Record, at uint64) int {
		switch {
		case r.Position < at:
			return -1
		case r.Position > at:
			return 1
		default:
			return 0
		}
	})
	for _, r := range h.ring[first:] {
		if !wants(r.Form) {
			continue
		}
		if records = append(records, r); len(records) >= mostAtOnce && r.Gap == nil {
			return records, r.Position, true
		}
	}
	return records, h.end, true
}

func (h *Hub) join(c *Cursor) {
	h.open.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.selection.Forms == nil {
		h.broad[c] = struct{}{}
	}
	for _, form := range c.selection.Forms {
		if h.cursors[form] == nil {
			h.cursors[form] = map[*Cursor]struct{}{}
		}
		h.cursors[form][c] = struct{}{}
	}
}

func (h *Hub) leave(c *Cursor) {
	h.open.Add(-1)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.broad, c)
	for _, form := range c.selection.Forms {
		delete(h.cursors[form], c)
		if len(h.cursors[form]) == 0 {
			delete(h.cursors, form)
		}
	}
}

// Watchers returns how many watch a form.
func (h *Hub) Watchers(form string) int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n := len(h.cursors[form])
	for c := range h.broad {
		if c.selection.Wants(form) {
			n++
		}
	}
	return n
}

// Cursors returns how many watch anything.
func (h *Hub) Cursors() int { return int(h.open.Load()) }
