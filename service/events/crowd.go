package events

import (
	"container/list"
	"net/http"
	"sync"
	"time"
)

// crowd is those whose body is yet to come. When there are too many, whoever has been waited for longest is cut: strangers who send
// nothing must not take the places of those who do.
type crowd struct {
	most int

	mu      sync.Mutex
	waiting *list.List // of *http.ResponseController, the oldest first
}

func newCrowd(most int) *crowd { return &crowd{most: most, waiting: list.New()} }

// enter lets a request be waited for until leave is called, or until it is cut.
func (c *crowd) enter(control *http.ResponseController) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting.Len() >= c.most {
		_ = c.waiting.Remove(c.waiting.Front()).(*http.ResponseController).SetReadDeadline(time.Now())
	}
	place := c.waiting.PushBack(control)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting.Remove(place) // nothing where it was cut
	}
}
