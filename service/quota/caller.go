package quota

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Caller is who pays for a slot.
type Caller struct {
	// Name tells callers apart; all without one are one.
	Name string
	// Weight is the caller's share in proportion to the others'; less than 1 counts as 1.
	Weight int
	// Batch tells that nobody waits for the answer: such calls go after those of people and never burst.
	Batch bool
}

// House is the caller that this program itself is. What it asks for goes before everybody's.
var House = Caller{Name: "tallyd", Weight: 1000}

type callerContext struct{}

// NewContext returns a context whose slots are paid by c.
func NewContext(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerContext{}, c)
}

// CallerOf returns who pays for the slots of ctx.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerContext{}).(Caller)
	return c
}

// AsBatch returns a context whose slots are paid by the same caller at batch priority.
func AsBatch(ctx context.Context) context.Context {
	c := CallerOf(ctx)
	c.Batch = true
	return NewContext(ctx, c)
}

// manyCallers is how many callers are remembered before those are forgotten that neither wait nor hold a slot. Forgetting one costs
// the others one slot at most.
const manyCallers = 1000

type callerKey struct {
	name  string
	batch bool
}

// share is how far callers have come: a slot moves its caller by a slotShare for its weight. Whole numbers, since what is level must
// stay level.
type share int64

const slotShare share = 1 << 24

// class is one of the two priorities: callers that wait, and how far their shares have come.
type class struct {
	waiting []*caller // those with calls that wait, in the order in which they came
	calls   int       // how many calls wait, once for each caller of theirs
	clock   share     // the share at which the last slot was handed out
}

// caller is a caller of one priority with the calls that wait.
type caller struct {
	Caller

	class *class
	queue []*waiter
	used  int   // its slots that are out
	next  share // at which its first waiting call is due
}

// waiter is a call that waits for a slot. It may stand in the queues of several callers: whose turn comes first pays.
type waiter struct {
	callers  []*caller
	group    *group    // nil for none
	deadline time.Time // zero for none
	granted  chan struct{}
	// One of slot, with payer, and refused is set before granted is closed.
	slot    *Slot
	payer   Caller
	refused *RefusedError
}

// waits tells whether nothing has been decided yet.
func (w *waiter) waits() bool { return w.slot == nil && w.refused == nil }

// caller returns the queue of a caller. What is said of its weight last counts.
func (s *Scheduler) caller(c Caller) *caller {
	key := callerKey{c.Name, c.Batch}
	known := s.callers[key]
	if known == nil {
		if len(s.callers) >= manyCallers {
			maps.DeleteFunc(s.callers, func(_ callerKey, c *caller) bool { return c.used == 0 && len(c.queue) == 0 })
		}
		known = s.newCaller(c)
		s.callers[key] = known
	}
	known.Caller = c
	return known
}

func (s *Scheduler) newCaller(c Caller) *caller {
	if c.Batch {
		return &caller{Caller: c, class: &s.batch}
	}
	return &caller{Caller: c, class: &s.people}
}

// step is what a slot moves the caller's share by.
func (c *caller) step() share { return max(slotShare/share(max(c.Weight, 1)), 1) }

// join puts a waiter at the end of the caller's queue. Who comes back after a pause starts level with the others: what it did not
// use is gone, and so is what it took when nobody else asked.
func (c *caller) join(w *waiter) {
	if len(c.queue) == 0 {
		c.next = max(c.next, c.class.clock)
		c.class.waiting = append(c.class.waiting, c)
	}
	c.queue = append(c.queue, w)
	c.class.calls++
	w.callers = append(w.callers, c)
}

// leave takes a waiter out of every queue that it stands in, without a hole.
func (w *waiter) leave() {
	for _, c := range w.callers {
		c.queue = slices.DeleteFunc(c.queue, func(other *waiter) bool { return other == w })
		c.class.calls--
		if len(c.queue) == 0 {
			c.class.waiting = slices.DeleteFunc(c.class.waiting, func(other *caller) bool { return other == c })
		}
	}
}

// first returns the caller whose turn it is: the one whose share is furthest behind.
func (k *class) first() *caller {
	var first *caller
	for _, c := range k.waiting {
		if first == nil || c.next < first.next {
			first = c
		}
	}
	return first
}

// charge lets the caller pay for a slot.
func (c *caller) charge() {
	c.class.clock = max(c.class.clock, c.next)
	c.next += c.step()
}

// ahead returns how many calls of the class come before the call at index of the caller's queue. Callers that wait now are expected to
// come again, as often as in the last minute: those who call anew after each answer show only a few calls at a time.
func (c *caller) ahead(index int) int {
	due := c.next
	if len(c.queue) == 0 {
		due = max(due, c.class.clock)
	}
	due += share(index) * c.step()
	ahead, level := index, share(1) // of callers that are level, who came first is first
	for _, other := range c.class.waiting {
		switch lead := due + level - other.next; {
		case other == c:
			level = 0
		case lead > 0:
			ahead += min(len(other.queue)+other.used, int((lead+other.step()-1)/other.step()))
		}
	}
	return ahead
}
