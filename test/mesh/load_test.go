package mesh

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
)

// load are callers that call until they are told to stop, and what became of their calls.
type load struct {
	running sync.WaitGroup
	end     func()

	mu    sync.Mutex
	calls int
	lost  []string
	// writes are the ids of the calls that change something.
	writes map[string]bool
}

func startLoad(t *testing.T, callers int, conn *grpc.ClientConn) *load {
	t.Helper()
	l := &load{writes: map[string]bool{}}
	stop := make(chan struct{})
	l.end = sync.OnceFunc(func() {
		close(stop)
		l.running.Wait()
	})
	t.Cleanup(l.end)
	for caller := range callers {
		l.running.Go(func() {
			for n := 0; !closed(stop); n++ {
				l.call(t, conn, fmt.Sprintf("c%d-%d", caller, n), n)
			}
		})
	}
	return l
}

// call makes the n-th call of a caller: reads and writes in turn.
func (l *load) call(t *testing.T, conn *grpc.ClientConn, id string, n int) {
	c := read
	if n%2 == 1 {
		c = writes[n/2%len(writes)]
	}
	err := c.do(t.Context(), conn, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if c.name != read.name {
		l.writes[id] = true
	}
	if err != nil {
		l.lost = append(l.lost, fmt.Sprintf("%s(%q) = %v", c.name, id, err))
	}
}

// check stops the load and demands that no call was lost and that each write reached Tally once.
func (l *load) check(t *testing.T, tally *fakeTally, restarts int) {
	t.Helper()
	l.end()
	doubled, reached := 0, 0
	for request, times := range tally.requests("") {
		if strings.HasPrefix(request, "GET ") {
			continue
		}
		reached++
		if times != 1 {
			doubled++
			t.Errorf("Tally saw %q %d times, want once", request, times)
		}
	}
	if reached != len(l.writes) {
		t.Errorf("%d writes reached Tally, want all %d", reached, len(l.writes))
	}
	for _, call := range l.lost[:min(len(l.lost), 5)] {
		t.Errorf("lost: %s", call)
	}
	t.Logf("%d restarts, %d calls, %d of them writes: %d lost, %d doubled", restarts, l.calls, len(l.writes), len(l.lost), doubled)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
