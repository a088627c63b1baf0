package quota

import (
	"context"
	"slices"
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

// class is one of the two priorities: callers that wait, and how far their shares have come.
type class struct {
	waiting []*caller // those with calls that wait, in the order in which they came
	clock   float64   // the share at which the last slot was handed out
}

// caller is a caller of one priority with the calls that wait.
type caller struct {
	Caller

	class  *class
	queue  []*waiter
	flying int     // its slots whose request is under way
	next   float64 // the share at which its first waiting call is due
}

// waiter is a call that waits for a slot. It may stand in the queues of several callers: whose turn comes first pays.
type waiter struct {
	callers []*caller
	granted chan struct{}
	slot    *Slot // set before granted is closed
}

func (c *caller) weight() float64 { return float64(max(c.Weight, 1)) }

// join puts a waiter at the end of the caller's queue. Who comes back after a pause starts level with the others: what it did not
// use is gone, and so is what it took when nobody else asked.
func (c *caller) join(w *waiter) {
	if len(c.queue) == 0 {
		c.next = max(c.next, c.class.clock)
		c.class.waiting = append(c.class.waiting, c)
	}
	c.queue = append(c.queue, w)
	w.callers = append(w.callers, c)
}

// leave takes a waiter out of every queue that it stands in, without a hole.
func (w *waiter) leave() {
	for _, c := range w.callers {
		c.queue = slices.DeleteFunc(c.queue, func(other *waiter) bool { return other == w })
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
	c.next += 1 / c.weight()
}

// ahead returns how many calls of the class come before the call at index of the caller's queue, those that come later aside.
func (c *caller) ahead(index int) int {
	due := c.next
	if len(c.queue) == 0 {
		due = max(due, c.class.clock)
	}
	due += float64(index) / c.weight()
	ahead := index
	for _, other := range c.class.waiting {
		if other != c && other.next <= due {
			ahead += min(len(other.queue), int((due-other.next)*other.weight())+1)
		}
	}
	return ahead
}
