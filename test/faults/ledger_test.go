package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// door lets connections to Tally in, or keeps them waiting before it.
type door struct {
	net.Listener

	shut atomic.Bool
	came chan struct{} // somebody waits

	mu      sync.Mutex
	waiting []net.Conn
}

// Accept returns the next connection that is let in.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil || !d.shut.Load() {
			return conn, err
		}
		d.mu.Lock()
		d.waiting = append(d.waiting, conn)
		d.mu.Unlock()
		d.came <- struct{}{}
	}
}

// Close closes the connections that wait as well.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.waiting {
		conn.Close()
	}
	return d.Listener.Close()
}

// creator is a Tally that makes workspaces, and that a tallyd trusts with TLS, so that a connection is open before a request leaves.
type creator struct {
	*deliverer

	door    *door
	checked chan struct{} // the key was
	keep    atomic.Bool   // the next answer
	kept    chan struct{}
}

func newCreator(t *testing.T) *creator {
	t.Helper()
	c := &creator{deliverer: newDeliverer(t), checked: make(chan struct{}, 16), kept: make(chan struct{}, 1)}
	c.tally = play(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/users/me" {
			_, _ = io.WriteString(w, owner)
			c.checked <- struct{}{}
			return
		}
		if r.Method != http.MethodPost {
			c.answer(w, r)
			return
		}
		if c.keep.Swap(false) {
			c.kept <- struct{}{}
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"id":"ws%d","name":"n"}`, len(c.posts()))
	})
	c.door = &door{Listener: c.tally.Listener, came: make(chan struct{}, 16)}
	c.tally.Listener = c.door
	c.tally.Config.SetKeepAlivesEnabled(false)
	c.env = []string{startTLS(t, c.tally)}
	c.flags = append(c.flags, "--tally-url", c.tally.URL)
	return c
}

// posts are the requests that made something.
func (c *creator) posts() []asked {
	return c.tally.only(func(a asked) bool { return a.method == http.MethodPost })
}

const requestID = "5a1f0c9e-0000-4000-8000-000000000001"

// create asks a tallyd for a workspace.
func create(ctx context.Context, t *testing.T, l *logger, name string) (string, error) {
	conn := l.dial(t)
	defer conn.Close()
	resp, err := tallydv1.NewWorkspaceServiceClient(conn).CreateWorkspace(ctx, &tallydv1.CreateWorkspaceRequest{Name: name, RequestId: requestID})
	return resp.GetWorkspace().GetId(), err
}

// interrupt kills a tallyd that creates a workspace once it is told.
func (c *creator) interrupt(t *testing.T, l *logger, now <-chan struct{}) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := create(t.Context(), t, l, "n")
		ended <- err
	}()
	select {
	case <-now:
	case err := <-ended:
		t.Fatalf("CreateWorkspace() = %v, want it under way", err)
	case <-time.After(patience):
		t.Fatal("nothing comes to Tally")
	}
	c.kill(t, l)
	if code, _ := reasonOf(<-ended); code != codes.Unavailable {
		t.Errorf("the caller whose tallyd is killed gets %v, want UNAVAILABLE", code)
	}
}

// wantRefused demands that the id is answered so.
func wantRefused(t *testing.T, l *logger, name string, wantCode codes.Code, wantReason string) {
	t.Helper()
	id, err := create(t.Context(), t, l, name)
	if code, reason := reasonOf(err); code != wantCode || reason != wantReason {
		t.Errorf("CreateWorkspace(%s) again = %q, %v, want %v %s", name, id, err, wantCode, wantReason)
	}
}

// TestKilledBehindRequest covers row 89 for writes: tallyd is killed while Tally holds a create, which it may have carried out. Whatever
// follows, Tally sees no other under the same id, and the caller is told that nobody knows.
func TestKilledBehindRequest(t *testing.T) {
	t.Parallel()
	c := newCreator(t)
	l := c.serve(t)
	c.keep.Store(true)
	c.interrupt(t, l, c.kept)
	for _, end := range []func(*testing.T, *logger){c.kill, c.stop, nil} {
		l, goroutines := c.settled(t)
		for range 2 {
			wantRefused(t, l, "n", codes.Unknown, "REQUEST_OUTCOME_UNKNOWN")
			wantRefused(t, l, "another", codes.InvalidArgument, "REQUEST_ID_REUSED")
		}
		if n := len(c.posts()); n != 1 {
			t.Errorf("Tally saw %d posts, want the first alone", n)
		}
		if end == nil {
			c.checkAfter(t, l, goroutines)
			break
		}
		end(t, l)
	}
}

// TestKilledBeforeRequest covers row 89 for writes that have not left: tallyd is killed while its connection to Tally is not open yet. The
// same id is a new try, and another body under it is refused all the same.
func TestKilledBeforeRequest(t *testing.T) {
	t.Parallel()
	c := newCreator(t)
	l := c.serve(t)
	<-c.checked // nothing else comes to Tally by itself
	c.door.shut.Store(true)
	c.interrupt(t, l, c.door.came)
	c.door.shut.Store(false)
	if n := len(c.posts()); n != 0 {
		t.Fatalf("Tally saw %d posts before the connection was open", n)
	}
	l, goroutines := c.settled(t)
	wantRefused(t, l, "another", codes.InvalidArgument, "REQUEST_ID_REUSED")
	for range 2 {
		if id, err := create(t.Context(), t, l, "n"); id != "ws1" || err != nil {
			t.Errorf("CreateWorkspace() again = %q, %v, want ws1", id, err)
		}
	}
	if n := len(c.posts()); n != 1 {
		t.Errorf("Tally saw %d posts, want 1", n)
	}
	c.checkAfter(t, l, goroutines)
}

// TestKilledAtRecord covers rows 89 and 90 for the record of a write: tallyd is killed while its disk has yet to confirm that the request
// is about to leave. Nothing has left. Where the record stays nobody can know that; where the power went with it the same id is a new try.
func TestKilledAtRecord(t *testing.T) {
	t.Parallel()
	for _, power := range []bool{true, false} {
		t.Run(fmt.Sprintf("power %v", power), func(t *testing.T) {
			t.Parallel()
			c := newCreator(t)
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tally-rate", "0"}, c.flags...)
			p, d := launchOn(t, args, c.env...)
			l := &logger{process: p}
			ready(t, p)
			pending, dead := make(chan struct{}), make(chan struct{})
			answer := sync.OnceFunc(func() { close(dead) })
			t.Cleanup(answer)
			var records atomic.Int32
			d.failing(func(path string) syscall.Errno {
				if !isRecord(path) || records.Add(1) < 2 { // the first says what is meant
					return 0
				}
				close(pending)
				<-dead
				return syscall.EIO
			})
			c.interrupt(t, l, pending)
			answer()
			<-d.done
			if n := len(c.posts()); n != 0 {
				t.Fatalf("Tally saw %d posts before the record was safe", n)
			}
			if !power {
				d.forget(t)
			}
			l, goroutines := c.settled(t)
			if power {
				wantRefused(t, l, "n", codes.Unknown, "REQUEST_OUTCOME_UNKNOWN")
			} else if id, err := create(t.Context(), t, l, "n"); id != "ws1" || err != nil {
				t.Errorf("CreateWorkspace() again = %q, %v, want ws1", id, err)
			}
			wantRefused(t, l, "another", codes.InvalidArgument, "REQUEST_ID_REUSED")
			if n := len(c.posts()); power && n != 0 || !power && n != 1 {
				t.Errorf("Tally saw %d posts, want one where the power went and none else", n)
			}
			c.checkAfter(t, l, goroutines)
		})
	}
}

// isRecord tells a file of the records.
func isRecord(path string) bool {
	return strings.Contains(path, "KV_TALLYD_RECORDS") && strings.HasSuffix(path, ".blk")
}

// forget leaves of the records what was synced.
func (d *disk) forget(t *testing.T) {
	t.Helper()
	for path, content := range d.images {
		if !isRecord(path) {
			continue
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
