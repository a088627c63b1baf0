package quota

import "time"

// credit is how many slots people's calls may take at once. It grows while nobody waits, up to all of them; while somebody waits it
// is small, so that slots that ended together are not taken together again: whoever came after such a bunch would wait for a minute.
type credit struct {
	level float64
	at    time.Time
	// coldUntil ends the time in which nothing is known of the minute before: slots are paced evenly.
	coldUntil time.Time
}

// grow brings the credit up to now.
func (c *credit) grow(now time.Time, pace time.Duration, capacity int) {
	if now.After(c.at) {
		c.level += float64(now.Sub(c.at)) / float64(pace)
		c.at = now
	}
	most := float64(capacity)
	if now.Before(c.coldUntil) {
		most = 1
	}
	c.level = min(c.level, most)
}

// clamp takes away what is more than a small burst, since somebody waits.
func (c *credit) clamp(now time.Time, pace time.Duration, capacity int) {
	c.grow(now, pace, capacity)
	c.level = min(c.level, smallBurst(capacity))
}

func smallBurst(capacity int) float64 { return float64(max(capacity/backlogBurst, 1)) }

// whole forgives what rounding takes from a credit.
const whole = 1 - 1e-6

// ready returns when the credit suffices for a slot.
func (c *credit) ready(now time.Time, pace time.Duration, capacity int) time.Time {
	c.grow(now, pace, capacity)
	if c.level >= whole {
		return now
	}
	return now.Add(time.Duration((1-c.level)*float64(pace)) + 1)
}

func (c *credit) spend(now time.Time, pace time.Duration, capacity int) {
	c.grow(now, pace, capacity)
	c.level = max(c.level-1, 0)
}
