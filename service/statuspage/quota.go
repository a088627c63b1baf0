package statuspage

import "time"

// Quota is how things are with the requests that Tally grants the key.
type Quota struct {
	// Limit is how many a minute Tally grants, Margin how many of them are left to others who use the key, and Used how many this
	// minute saw.
	Limit, Margin, Used int
	// Waiting is how many calls wait for one, and BatchWaiting how many of them are nobody's hurry.
	Waiting, BatchWaiting int
	// PausedUntil is until when nothing is sent; zero when nothing is paused.
	PausedUntil time.Time
	// Shares are those who hold requests of this minute or wait for some.
	Shares []Share
}

// Share is what one caller has of the quota.
type Share struct {
	// Name is the caller's; empty for Anonymous.
	Name string
	// Batch tells that people's calls go first.
	Batch bool
	// Weight is its share in proportion to the others', Used what it has of this minute, and Waiting how many of its calls wait.
	Weight, Used, Waiting int
}

// Memory is what is remembered of Tally's answers.
type Memory struct {
	// Entries are remembered in about so many Bytes.
	Entries, Bytes int64
	// Stored, Shared and Fetched count reads by where their answer came from: an answer of before, a call under way, Tally.
	Stored, Shared, Fetched int64
}

// MiB returns the bytes in units that people read.
func (m Memory) MiB() float64 { return float64(m.Bytes) / (1 << 20) }

// segment is a part of the bar that draws the quota.
type segment struct {
	Label   string
	Class   string
	Percent float64
}

// colors is how many callers the bar tells apart by colour.
const colors = 6

// bar draws what the minute's requests went to: who has them, whom they are left to, what is free.
func (q *Quota) bar() []segment {
	if q == nil || q.Limit <= 0 {
		return nil
	}
	part := func(n int) float64 { return float64(n) * 100 / float64(max(q.Limit, q.Used+q.Margin)) }
	var bar []segment
	known := 0
	for i, share := range q.Shares {
		if share.Used == 0 {
			continue
		}
		known += share.Used
		bar = append(bar, segment{share.Label(), "c" + string(rune('0'+i%colors)), part(share.Used)})
	}
	if rest := q.Used - known; rest > 0 {
		bar = append(bar, segment{"before this start", "before", part(rest)})
	}
	if q.Margin > 0 {
		bar = append(bar, segment{"left to others", "margin", part(q.Margin)})
	}
	return bar
}

// Label is the caller as the page names it.
func (s Share) Label() string {
	if s.Name == "" {
		return Anonymous
	}
	return s.Name[:min(len(s.Name), maxName)]
}

// Priority is the caller's in one word.
func (s Share) Priority() string {
	if s.Batch {
		return "batch"
	}
	return "interactive"
}
