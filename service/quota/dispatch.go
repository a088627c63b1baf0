package quota

import "time"

// update brings what depends on the time up to now.
func (s *Scheduler) update(now time.Time) {
	s.pool.capacity = max(s.config.Rate-s.brake.marginAt(now), 1)
	s.pool.pace = (window + s.trips.quickest()) / time.Duration(s.pool.capacity)
	s.pool.paused = s.brake.until
	for _, h := range s.pool.expire(now) {
		if h.caller != nil {
			h.caller.used--
		}
	}
}

// dispatch hands out the slots that are due and sees to it that somebody looks again when the next one may be.
func (s *Scheduler) dispatch(now time.Time) {
	s.update(now)
	defer s.mind()
	for s.waiting > 0 {
		turn, next := s.pool.due(now, s.people.calls, s.batch.calls)
		switch turn {
		case person:
			s.serve(s.people.first(), now)
		case batchCall:
			s.serve(s.batch.first(), now)
		case nobody:
			s.wakeAt(now, next)
			return
		}
	}
	if s.timer != nil {
		s.timer.Stop()
	}
}

// mind tells the credit whether people's calls wait from now on.
func (s *Scheduler) mind() { s.pool.burst.crowded = s.people.calls > 0 }

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

// serve gives the first call of a caller a slot, or refuses it if the slot came too late: others came before it, or Tally paused.
func (s *Scheduler) serve(c *caller, now time.Time) {
	w := c.queue[0]
	// Nobody else could use the slot of a call that waits alone, so it may try its luck.
	need := s.trips.least()
	if s.waiting > 1 {
		need = s.trips.usual()
	}
	if w.deadline.IsZero() || !now.Add(need).After(w.deadline) {
		s.grant(w, c, now)
		return
	}
	s.forget(w)
	w.refused = &RefusedError{Caller: c.Name, Wait: s.wait(c.Caller, now)}
	close(w.granted)
}

func (s *Scheduler) grant(w *waiter, c *caller, now time.Time) {
	w.leave()
	s.waiting--
	c.charge()
	c.used++
	s.pool.take(c.Batch, now)
	if s.config.Log != nil {
		s.config.Log.note(now)
	}
	w.slot, w.payer = &Slot{scheduler: s, caller: c, since: now}, c.Caller
	close(w.granted)
}

// Slot is the right to make one request. One of its methods is to be called; of several calls only the first counts.
type Slot struct {
	scheduler *Scheduler
	caller    *caller
	since     time.Time
	ended     bool
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
	if x.ended {
		return
	}
	x.ended = true
	now := time.Now()
	h := hold{batch: x.caller.Batch, caller: x.caller}
	if held > 0 {
		h.until = now.Add(held)
	} else {
		x.caller.used--
	}
	s.pool.end(h)
	if answered {
		s.trips.note(now, now.Sub(x.since))
	}
	s.dispatch(now)
}
