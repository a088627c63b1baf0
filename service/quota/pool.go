package quota

import (
	"slices"
	"time"
)

// pool is the slots and the rule by which they are handed out. It knows how many calls wait and not whose; so predict plays what is to
// come on a copy.
type pool struct {
	capacity  int           // how many slots there are
	pace      time.Duration // from one slot to the next when they are even
	paused    time.Time     // no slot before
	flying    int           // slots whose request is under way
	held      []hold        // slots that wait for their minute to end, the first to end first
	batchUsed int           // of both, those of batch calls
	lastBatch time.Time
	burst     credit
}

// hold is a slot whose request was answered.
type hold struct {
	until  time.Time
	batch  bool
	caller *caller // nil for one of an earlier process
}

// turn is whose turn it is.
type turn int

const (
	nobody turn = iota
	person
	batchCall
)

// due returns whose turn it is, or when to look again; the zero time for when a response comes.
func (p *pool) due(now time.Time, people, batch int) (turn, time.Time) {
	if p.paused.After(now) {
		return nobody, p.paused
	}
	free := p.capacity - p.used()
	if free <= 0 {
		return nobody, p.nextEnd()
	}
	if batch > 0 && !p.batchTurn().After(now) {
		return p.batchDue(now)
	}
	if people == 0 {
		return p.batchDue(now)
	}
	// Slots that batch calls have coming to them stay free until it is their turn.
	if free <= p.reserve(now, batch) {
		return nobody, soonest(p.batchTurn(), p.nextEnd())
	}
	at := p.ready(now)
	if !at.After(now) {
		return person, time.Time{}
	}
	if batch > 0 {
		at = soonest(at, p.batchTurn())
	}
	return nobody, at
}

// batchDue lets a batch call have a slot if its pace allows.
func (p *pool) batchDue(now time.Time) (turn, time.Time) {
	at := p.lastBatch.Add(p.pace)
	if p.cold(now) {
		at = later(at, p.ready(now))
	}
	if at.After(now) {
		return nobody, at
	}
	return batchCall, time.Time{}
}

// batchTurn is when a batch call gets a slot although people's calls wait.
func (p *pool) batchTurn() time.Time { return p.lastBatch.Add(batchShare * p.pace) }

// reserve is how many of the free slots people's calls leave to batch calls that wait: what is missing to their part, unless a slot
// ends about when it is their turn. What lies idle longer than it must ends in a bunch a minute later, and so does all that follows.
func (p *pool) reserve(now time.Time, batch int) int {
	missing := min(p.capacity/batchShare-p.batchUsed, batch)
	kept, ended, turn := 0, 0, later(p.batchTurn(), now)
	for nth := 1; nth <= missing; nth++ {
		for ended < len(p.held) && !p.held[ended].until.After(turn.Add(p.pace)) {
			ended++
		}
		kept = max(kept, nth-ended)
		turn = turn.Add(batchShare * p.pace)
	}
	return kept
}

// take has a slot taken, and end ends its request: the slot is held until a time, or free at once if that is zero.
func (p *pool) take(batch bool, now time.Time) {
	p.flying++
	if batch {
		p.lastBatch = now
		p.batchUsed++
	}
	if !batch || p.cold(now) {
		p.spend(now)
	}
}

func (p *pool) end(h hold) {
	p.flying--
	switch {
	case !h.until.IsZero():
		p.hold(h)
	case h.batch:
		p.batchUsed--
	default:
		p.burst.level++
	}
}

// hold keeps the order of the ends.
func (p *pool) hold(h hold) {
	at := len(p.held)
	for at > 0 && p.held[at-1].until.After(h.until) {
		at--
	}
	p.held = slices.Insert(p.held, at, h)
}

// expire frees the slots whose minute has passed, and returns them.
func (p *pool) expire(now time.Time) []hold {
	n := 0
	for n < len(p.held) && !p.held[n].until.After(now) {
		if p.held[n].batch {
			p.batchUsed--
		}
		n++
	}
	ended := p.held[:n]
	p.held = p.held[n:]
	return ended
}

// used is how many slots are out.
func (p *pool) used() int { return p.flying + len(p.held) }

// nextEnd is when the next slot ends whose request was answered; zero for none.
func (p *pool) nextEnd() time.Time {
	if len(p.held) == 0 {
		return time.Time{}
	}
	return p.held[0].until
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// soonest returns the earlier of two times, of which a zero one does not count.
func soonest(a, b time.Time) time.Time {
	if b.IsZero() || (!a.IsZero() && a.Before(b)) {
		return a
	}
	return b
}
