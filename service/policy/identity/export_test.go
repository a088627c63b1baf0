package identity

import (
	"sync"
	"time"
)

// Clock is a clock that a test sets.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock returns a clock that stands at a time.
func NewClock(at time.Time) *Clock { return &Clock{at: at} }

// Now returns where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Add moves the clock.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// JWTAt is JWT with a clock.
func JWTAt(config JWTConfig, now func() time.Time) (Source, error) { return newTokens(config, now) }

// LastElement returns what the parser of x-forwarded-client-cert makes of a header.
func LastElement(header string) (uris, dns []string, err error) {
	last, err := lastElement(header)
	return last.uris, last.dns, err
}
