package sandbox

import (
	"maps"
	"math"
	"strconv"
	"sync"
	"time"
)

// limiter counts the requests of each key in fixed windows of a minute that
// open with the key's first request.
type limiter struct {
	rate int
	now  func() time.Time

	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	opened time.Time
	spent  int
}

func newLimiter(rate int, now func() time.Time) *limiter {
	return &limiter{rate: rate, now: now, windows: map[string]*window{}}
}

// spend takes one request, or says how long the window stays closed.
func (l *limiter) spend(key string) time.Duration {
	if l.rate == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	w := l.windows[key]
	if w == nil || now.Sub(w.opened) >= time.Minute {
		w = &window{opened: now}
		l.windows[key] = w
	}
	if w.spent >= l.rate {
		return w.opened.Add(time.Minute).Sub(now)
	}
	w.spent++
	return 0
}

func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.windows)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// counters remembers how often each route was asked and what it answered.
type counters struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func newCounters() *counters { return &counters{counts: map[string]map[string]int{}} }

// add counts under a route: "total" on arrival, the status when it is
// answered, "cut" when a fault took over the connection.
func (n *counters) add(pattern, what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counts[pattern] == nil {
		n.counts[pattern] = map[string]int{}
	}
	n.counts[pattern][what]++
}

func (n *counters) routes() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	totals := make(map[string]int, len(n.counts))
	for pattern, byStatus := range n.counts {
		totals[pattern] = byStatus["total"]
	}
	return totals
}

func (n *counters) snapshot() map[string]map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[string]map[string]int, len(n.counts))
	for pattern, byStatus := range n.counts {
		all[pattern] = maps.Clone(byStatus)
	}
	return all
}

func (n *counters) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.counts)
}
