package quota

import (
	"math"
	"slices"
	"time"
)

// predict returns how long a call that waits will have to, if nobody comes before it.
func (s *Scheduler) predict(w *waiter, now time.Time) time.Duration {
	wait := time.Duration(math.MaxInt64)
	for _, c := range w.callers {
		people, batch := s.people.calls, s.batch.calls
		// Where it stands in queues of both priorities, it is not to wait for itself.
		for _, other := range w.callers {
			switch {
			case c.Batch && !other.Batch:
				people--
			case !c.Batch && other.Batch:
				batch--
			}
		}
		wait = min(wait, s.play(c.Batch, c.ahead(slices.Index(c.queue, w))+1, people, batch, now))
	}
	return wait
}

// wait returns how long a call of c would have to wait that came now.
func (s *Scheduler) wait(c Caller, now time.Time) time.Duration {
	who := s.callers[callerKey{c.Name, c.Batch}]
	if who == nil {
		who = s.newCaller(c)
	}
	people, batch := s.people.calls+1, s.batch.calls
	if c.Batch {
		people, batch = people-1, batch+1
	}
	return s.play(c.Batch, who.ahead(len(who.queue))+1, people, batch, now)
}

// play lets the calls that wait have their slots on a copy of the pool, by the rule that they will get them by, and returns how long
// it takes to the nth of one priority, of which so many must wait.
func (s *Scheduler) play(batch bool, nth, people, batches int, now time.Time) time.Duration {
	s.update(now)
	if batch {
		batches = max(batches, nth)
	} else {
		people = max(people, nth)
	}
	trip := s.trips.least()
	p := s.future(now.Add(trip + window))
	for at := now; ; {
		p.expire(at)
		turn, next := p.due(at, people, batches)
		switch turn {
		case nobody:
			at = next
			continue
		case person:
			people--
		case batchCall:
			batches--
		}
		if batch == (turn == batchCall) {
			if nth--; nth == 0 {
				return at.Sub(now)
			}
		}
		p.take(turn == batchCall, at)
		p.end(hold{until: at.Add(trip + window), batch: turn == batchCall})
	}
}

// future returns a copy of the pool in which the requests under way are answered and their slots end at a time.
func (s *Scheduler) future(until time.Time) pool {
	p := s.pool
	s.scratch = slices.Grow(s.scratch[:0], p.used()+s.people.calls+s.batch.calls+1)
	p.held = append(s.scratch, p.held...)
	batch := p.batchUsed
	for _, h := range p.held {
		if h.batch {
			batch--
		}
	}
	for p.flying > 0 {
		p.end(hold{until: until, batch: batch > 0})
		batch--
	}
	return p
}

// Wait returns how long a call of c would wait for a slot if it came now.
func (s *Scheduler) Wait(c Caller) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wait(c, time.Now())
}

// Pace returns the time from one slot of a batch call to the next when nobody else wants one.
func (s *Scheduler) Pace() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update(time.Now())
	return s.pool.pace
}
