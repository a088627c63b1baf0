package quota

import (
	"cmp"
	"slices"
	"time"
)

// Standing is how things are at one moment.
type Standing struct {
	// Rate is how many requests a minute Tally grants, and Margin how many of them are left to others who use the same key.
	Rate, Margin int
	// Used is how many slots are out: requests under way, and those whose minute has not passed.
	Used int
	// Waiting is how many calls wait for a slot, and BatchWaiting how many of them at batch priority.
	Waiting, BatchWaiting int
	// PausedUntil is when Tally wants to be asked again after a 429; zero when it does not matter.
	PausedUntil time.Time
	// Callers are those who hold slots or wait for some, by name.
	Callers []CallerStanding
}

// CallerStanding is how things are for one caller.
type CallerStanding struct {
	Caller

	// Used is how many of the slots are its own, and Waiting how many of its calls wait.
	Used, Waiting int
}

// Standing returns how things are now.
func (s *Scheduler) Standing() Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.update(now)
	all := Standing{
		Rate: s.config.Rate, Margin: s.brake.marginAt(now), Used: s.pool.used(), Waiting: s.waiting,
	}
	if s.brake.until.After(now) {
		all.PausedUntil = s.brake.until
	}
	for _, c := range s.callers {
		own := CallerStanding{Caller: c.Caller, Used: c.used, Waiting: len(c.queue)}
		if c.Batch {
			all.BatchWaiting += own.Waiting
		}
		if own.Used+own.Waiting > 0 {
			all.Callers = append(all.Callers, own)
		}
	}
	slices.SortFunc(all.Callers, func(a, b CallerStanding) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(weigh(a.Batch), weigh(b.Batch)))
	})
	return all
}

func weigh(batch bool) int {
	if batch {
		return 1
	}
	return 0
}
