package quota

import "time"

// credit is how many slots people's calls may take at once. It grows while none of them waits, up to all slots; while one waits it
// is small, so that slots that ended together are not taken together again: whoever came after such a bunch would wait for a minute.
type credit struct {
	level   float64
	at      time.Time
	crowded bool // people's calls wait
	// coldUntil ends the time in which nothing is known of the minute before: slots are paced evenly.
	coldUntil time.Time
}

// whole forgives what rounding takes from a credit.
const whole = 1 - 1e-6

func (p *pool) cold(now time.Time) bool { return now.Before(p.burst.coldUntil) }

// grow brings the credit up to now.
func (p *pool) grow(now time.Time) {
	c := &p.burst
	if now.After(c.at) {
		c.level += float64(now.Sub(c.at)) / float64(p.pace)
		c.at = now
	}
	most := p.capacity
	switch {
	case p.cold(now):
		most = 1
	case c.crowded:
		most = max(p.capacity/backlogBurst, 1)
	}
	c.level = min(c.level, float64(most))
}

// ready returns when the credit suffices for a slot.
func (p *pool) ready(now time.Time) time.Time {
	p.grow(now)
	if p.burst.level >= whole {
		return now
	}
	return now.Add(time.Duration((1-p.burst.level)*float64(p.pace)) + 1)
}

func (p *pool) spend(now time.Time) {
	p.grow(now)
	p.burst.level = max(p.burst.level-1, 0)
}
