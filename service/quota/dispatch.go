package quota

import (
	"slices"
	"time"
)

// dispatch hands out the slots that are due and sees to it that somebody looks again when the next one may be.
func (s *Scheduler) dispatch(now time.Time) {
	for s.waiting > 0 {
		c, next := s.due(now)
		if c == nil {
			s.burst.clamp(now, s.pace(now), s.capacity(now))
			s.wakeAt(now, next)
			return
		}
		s.grant(c, now)
	}
	if s.timer != nil {
		s.timer.Stop()
	}
}

// wakeAt lets dispatch run again; the zero time stands for when a response comes.
func (s *Scheduler) wakeAt(now, next time.Time) {
	if next.IsZero() {
		return
	}
	wait := max(next.Sub(now), 0)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.wake)
		return
	}
	s.timer.Reset(wait)
}

func (s *Scheduler) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatch(time.Now())
}

// due returns whose call gets a slot now, or when to look again; the zero time for when a response comes.
func (s *Scheduler) due(now time.Time) (*caller, time.Time) {
	if s.brake.until.After(now) {
		return nil, s.brake.until
	}
	free, next := s.free(now)
	if free <= 0 {
		return nil, next
	}
	people, batch := s.people.first(), s.batch.first()
	if batch != nil && (people == nil || !s.batchTurn(now).After(now)) {
		return s.batchDue(now, batch)
	}
	// Slots that batch calls have coming to them stay free until it is their turn.
	if free <= s.reserve(now) {
		return nil, soonest(s.batchTurn(now), s.nextEnd())
	}
	at := s.burst.ready(now, s.pace(now), s.capacity(now))
	if at.After(now) {
		return nil, soonest(at, s.batchTurnIf(now, batch))
	}
	return people, time.Time{}
}

// batchDue lets a batch call have a slot if its pace allows.
func (s *Scheduler) batchDue(now time.Time, batch *caller) (*caller, time.Time) {
	at := s.lastBatch.Add(s.pace(now))
	if now.Before(s.burst.coldUntil) {
		at = later(at, s.burst.ready(now, s.pace(now), s.capacity(now)))
	}
	if at.After(now) {
		return nil, at
	}
	return batch, time.Time{}
}

// batchTurn is when a batch call gets a slot although people's calls wait.
func (s *Scheduler) batchTurn(now time.Time) time.Time {
	return s.lastBatch.Add(batchShare * s.pace(now))
}

func (s *Scheduler) batchTurnIf(now time.Time, batch *caller) time.Time {
	if batch == nil {
		return time.Time{}
	}
	return s.batchTurn(now)
}

// reserve is how many of the free slots people's calls leave to batch calls that wait: what is missing to their part.
func (s *Scheduler) reserve(now time.Time) int {
	waiting := 0
	for _, c := range s.batch.waiting {
		waiting += len(c.queue)
	}
	return max(min(s.capacity(now)/batchShare-s.batchUsed, waiting), 0)
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

// grant gives the first call of a caller a slot.
func (s *Scheduler) grant(c *caller, now time.Time) {
	w := c.queue[0]
	w.leave()
	s.waiting--
	c.charge()
	if c.Batch {
		s.lastBatch = now
		s.batchUsed++
	}
	if !c.Batch || now.Before(s.burst.coldUntil) {
		s.burst.spend(now, s.pace(now), s.capacity(now))
	}
	s.flying++
	c.flying++
	if s.config.Log != nil {
		s.config.Log.note(now)
	}
	w.slot = &Slot{scheduler: s, caller: c, since: now}
	close(w.granted)
}

// Done says that the response came: the slot is held for another minute.
func (x *Slot) Done() { x.end(window, true) }

// Lost says that the request left and that no response came. It may reach Tally late.
func (x *Slot) Lost() { x.end(window+late, false) }

// Return says that no request left: the slot is free again.
func (x *Slot) Return() { x.end(0, false) }

func (x *Slot) end(held time.Duration, answered bool) {
	s := x.scheduler
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.flying--
	x.caller.flying--
	switch {
	case held > 0:
		s.hold(hold{until: now.Add(held), caller: x.caller})
	case x.caller.Batch:
		s.batchUsed--
	}
	if answered {
		s.trips.note(now, now.Sub(x.since))
	}
	s.dispatch(now)
}

// hold keeps the order of the ends.
func (s *Scheduler) hold(h hold) {
	at := len(s.held)
	for at > 0 && s.held[at-1].until.After(h.until) {
		at--
	}
	s.held = slices.Insert(s.held, at, h)
}

// free returns how many slots are free, and else when the next one will be; the zero time for when a response comes.
func (s *Scheduler) free(now time.Time) (int, time.Time) {
	ended := 0
	for ended < len(s.held) && !s.held[ended].until.After(now) {
		if c := s.held[ended].caller; c != nil && c.Batch {
			s.batchUsed--
		}
		ended++
	}
	s.held = s.held[ended:]
	free := s.capacity(now) - s.flying - len(s.held)
	if free > 0 {
		return free, time.Time{}
	}
	if -free < len(s.held) {
		return 0, s.held[-free].until
	}
	return 0, time.Time{}
}

// nextEnd is when the next slot is free whose request was answered; zero for none.
func (s *Scheduler) nextEnd() time.Time {
	if len(s.held) == 0 {
		return time.Time{}
	}
	return s.held[0].until
}

// pace is the time from one slot to the next when they are even.
func (s *Scheduler) pace(now time.Time) time.Duration {
	return (window + s.trips.quickest()) / time.Duration(s.capacity(now))
}

// leastTrip is the time that a call needs after it got a slot.
func (s *Scheduler) leastTrip() time.Duration {
	if trip, ok := s.trips.known(); ok {
		return max(trip, leastUse)
	}
	return leastUse
}

// trips remembers the quickest round trip of the last minute or two.
type trips struct {
	now, before time.Duration // of this span and the one before; 0 for none
	began       time.Time
}

func (t *trips) note(now time.Time, trip time.Duration) {
	if now.Sub(t.began) > window {
		t.before, t.now, t.began = t.now, 0, now
	}
	if trip = max(trip, 1); t.now == 0 || trip < t.now {
		t.now = trip
	}
}

func (t *trips) known() (time.Duration, bool) {
	if t.now == 0 || (t.before > 0 && t.before < t.now) {
		return t.before, t.before > 0
	}
	return t.now, true
}

// quickest returns the quickest round trip, or a long one as long as none is known.
func (t *trips) quickest() time.Duration {
	if trip, ok := t.known(); ok {
		return min(trip, unknownTrip)
	}
	return unknownTrip
}
