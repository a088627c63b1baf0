package quota

import "time"

// trips remembers the quickest round trip of the last minute or two, and what is usual.
type trips struct {
	now, before time.Duration // of this span and the one before; 0 for none
	began       time.Time
	mean, apart time.Duration // running means: of the round trips, and of how far they are from it
}

func (t *trips) note(now time.Time, trip time.Duration) {
	if now.Sub(t.began) > window {
		t.before, t.now, t.began = t.now, 0, now
	}
	if trip = max(trip, 1); t.now == 0 || trip < t.now {
		t.now = trip
	}
	if t.mean == 0 {
		t.mean = trip
	}
	// As TCP does for its retransmission timer.
	t.apart += (max(trip-t.mean, t.mean-trip) - t.apart) / 4
	t.mean += (trip - t.mean) / 8
}

// usual is the time in which an answer nearly always comes.
func (t *trips) usual() time.Duration { return max(t.mean+2*t.apart, t.least()) }

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

// least is the time that a call needs after it got a slot.
func (t *trips) least() time.Duration {
	trip, _ := t.known()
	return max(trip, leastUse)
}
