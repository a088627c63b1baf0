package quota

import "time"

const (
	// least and most bound how long everything pauses after a 429.
	least = time.Second
	most  = 2 * time.Minute
	// forgiving is the quiet time after which the margin for what others spend on the same key is halved.
	forgiving = 10 * time.Minute
)

// brake is what Tally's 429 taught: when to ask again, and how many requests somebody else spends on the same key.
type brake struct {
	until  time.Time
	margin int
	learnt time.Time // when the margin last changed
	seen   time.Time // the last 429
}

// marginAt returns how many of the requests are left to others.
func (b *brake) marginAt(now time.Time) int {
	if b.margin == 0 {
		return 0
	}
	return b.margin >> min(int(now.Sub(b.learnt)/forgiving), 30)
}

// Limited says that Tally answered 429: nothing leaves until it wants to be asked again, which is after retryAfter, or, if that is 0,
// when the rest of its minute has passed. The requests that we did not make were somebody else's: so many are left to others from now
// on, until quiet minutes say otherwise. It returns how long the pause is.
func (s *Scheduler) Limited(retryAfter time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.update(now)
	if retryAfter == 0 {
		retryAfter = s.restOfMinute(now)
	}
	pause := min(max(retryAfter, least), most)
	// Of requests that were under way together, the first 429 tells all that can be learnt. In the first minute the others may be
	// the process before this one.
	if !s.brake.until.After(now) && !s.pool.cold(now) {
		s.learn(now)
	}
	s.brake.seen = now
	s.brake.until = later(s.brake.until, now.Add(pause))
	s.dispatch(now)
	return s.brake.until.Sub(now)
}

// restOfMinute guesses when Tally counts anew: when the oldest of our requests is a minute old. After a guess that was wrong, and
// without a request of ours, a whole minute.
func (s *Scheduler) restOfMinute(now time.Time) time.Duration {
	if len(s.pool.held) == 0 || now.Sub(s.brake.seen) < window {
		return window
	}
	return s.pool.held[0].until.Sub(now)
}

// learn widens the margin to what others must have spent, but at most half of the way at a time: one 429 may have another cause.
func (s *Scheduler) learn(now time.Time) {
	margin := s.brake.marginAt(now)
	others := s.config.Rate - s.pool.used() + 1
	others = min(others, margin+(s.config.Rate-margin)/2)
	s.brake.margin, s.brake.learnt = max(margin, others, 0), now
}
