package simulation

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	// perMinute is how many requests a minute Tally grants.
	perMinute = 100
	minute    = time.Minute
)

// limiter is one way in which an upstream may count. What it refuses does not count.
type limiter interface {
	// allow tells whether a request that arrives at is served; arrivals come in order.
	allow(at time.Duration) bool
}

// fixedWindow counts from one round minute to the next.
type fixedWindow struct {
	phase time.Duration // when its windows begin
	began time.Duration // of the window that was counted last
	count int
}

func (l *fixedWindow) allow(at time.Duration) bool {
	// Two windows on top keep the sum from being negative, where the remainder would be, too.
	began := at - (at-l.phase+2*minute)%minute
	if began != l.began {
		l.began, l.count = began, 0
	}
	l.count++
	return l.count <= perMinute
}

// openedWindow counts for a minute from the first request that finds no window open.
type openedWindow struct {
	until time.Duration
	count int
}

func (l *openedWindow) allow(at time.Duration) bool {
	if at >= l.until {
		l.until, l.count = at+minute, 0
	}
	l.count++
	return l.count <= perMinute
}

// slidingLog remembers each request that it served for a minute.
type slidingLog struct {
	served [perMinute]time.Duration // a ring; the one after the last is the oldest
	count  int
}

func (l *slidingLog) allow(at time.Duration) bool {
	oldest := &l.served[l.count%perMinute]
	if l.count >= perMinute && at-*oldest < minute {
		return false
	}
	*oldest = at
	l.count++
	return true
}

// tokenBucket holds tokens for a minute's requests and gets them back evenly. It counts in nanoseconds of refill, so that nothing is
// lost to rounding.
type tokenBucket struct {
	spent time.Duration // what is missing to a full bucket
	at    time.Duration
}

func (l *tokenBucket) allow(at time.Duration) bool {
	l.spent = max(l.spent-(at-l.at), 0)
	l.at = at
	if l.spent+minute/perMinute > minute {
		return false
	}
	l.spent += minute / perMinute
	return true
}

// The names of the limiters, in the order of the tables.
const (
	byFixed  = "fixed window"
	byOpened = "window from the first request"
	bySlide  = "sliding log"
	byBucket = "token bucket"
)

func limiterNames() []string { return []string{byFixed, byOpened, bySlide, byBucket} }

// phases is how many fixed windows look on, each a twelfth of a minute after the one before.
const phases = 12

// refusals returns how many of the arrivals each limiter refuses. Of the fixed windows that is the one that refuses most; offset moves
// all of them.
func refusals(arrivals []time.Duration, offset time.Duration) map[string]int {
	slices.Sort(arrivals)
	count := map[string]int{
		byOpened: refusedBy(&openedWindow{}, arrivals), bySlide: refusedBy(&slidingLog{}, arrivals), byBucket: refusedBy(&tokenBucket{}, arrivals),
	}
	for k := range phases {
		phase := (offset + time.Duration(k)*minute/phases) % minute
		count[byFixed] = max(count[byFixed], refusedBy(&fixedWindow{phase: phase, began: -2 * minute}, arrivals))
	}
	return count
}

func refusedBy(l limiter, arrivals []time.Duration) int {
	refused := 0
	for _, at := range arrivals {
		if !l.allow(at) {
			refused++
		}
	}
	return refused
}

// bunch returns n arrivals at one time.
func bunch(n int, at time.Duration) []time.Duration { return slices.Repeat([]time.Duration{at}, n) }

func TestRefusals(t *testing.T) {
	even := make([]time.Duration, 300)
	for i := range even {
		even[i] = time.Duration(i) * minute / perMinute
	}
	tests := []struct {
		name                    string
		arrivals                []time.Duration
		wantFixed, wantOpened   int
		wantSliding, wantBucket int
	}{
		{"none", nil, 0, 0, 0, 0},
		{"evenly at the rate", even, 0, 0, 0, 0},
		{"a minute's worth at once", bunch(100, minute), 0, 0, 0, 0},
		{"one more", bunch(101, minute), 1, 1, 1, 1},
		{"again when a minute has passed", append(bunch(100, minute), bunch(100, 2*minute)...), 0, 0, 0, 0},
		{"again a little early", append(bunch(100, minute), bunch(100, 2*minute-1)...), 100, 100, 100, 1},
		{"again after half a minute", append(bunch(100, 0), bunch(60, minute/2)...), 60, 60, 60, 10},
		{"around the end of a window", slices.Concat(bunch(1, 0), bunch(99, 59*time.Second), bunch(99, 61*time.Second)), 98, 0, 98, 95},
		{"what is refused does not count", slices.Concat(bunch(200, 0), bunch(100, minute)), 100, 100, 100, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := map[string]int{byFixed: test.wantFixed, byOpened: test.wantOpened, bySlide: test.wantSliding, byBucket: test.wantBucket}
			got := refusals(test.arrivals, 0)
			for _, name := range limiterNames() {
				if got[name] != want[name] {
					t.Errorf("refusals(): %s refused %d of %d, want %d", name, got[name], len(test.arrivals), want[name])
				}
			}
		})
	}
}

func TestFixedWindowPhase(t *testing.T) {
	for _, phase := range []time.Duration{0, 5 * time.Second, 55 * time.Second} {
		t.Run(fmt.Sprint(phase), func(t *testing.T) {
			l := &fixedWindow{phase: phase, began: -2 * minute}
			across := append(bunch(100, 2*minute+phase-1), bunch(100, 2*minute+phase)...)
			if got := refusedBy(l, across); got != 0 {
				t.Errorf("refusedBy() = %d of two bunches on both sides of %v, want 0", got, phase)
			}
			if l.allow(3*minute + phase - 1) {
				t.Errorf("allow() = true for one more before the window ends, want false")
			}
		})
	}
}
