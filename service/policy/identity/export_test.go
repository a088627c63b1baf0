package identity

import (
	"crypto/rand"
	"crypto/sha256"
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

// Remember lets a source remember a number of tokens, as if it had verified them, and returns how many it remembers then.
func Remember(source Source, number int, until time.Time) int {
	t := source.(*tokens)
	for range number {
		t.remember(sha256.Sum256([]byte(rand.Text())), verdict{until: until})
	}
	return len(t.known)
}
