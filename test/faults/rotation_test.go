package faults

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// keyed is a Tally that knows some keys and can revoke each.
type keyed struct {
	owners  map[string]string // what it says of a key's user
	revoked map[string]*atomic.Bool
	used    map[string]*counter // requests other than checks, by key
	script  http.HandlerFunc
}

func newKeyed(owners map[string]string, script http.HandlerFunc) *keyed {
	k := &keyed{owners: owners, revoked: map[string]*atomic.Bool{}, used: map[string]*counter{}, script: script}
	for key := range owners {
		k.revoked[key], k.used[key] = &atomic.Bool{}, newCounter()
	}
	return k
}

func (k *keyed) answer(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	owner := k.owners[key]
	if r.URL.Path != "/users/me" && owner != "" {
		k.used[key].add()
	}
	switch {
	case owner == "" || k.revoked[key].Load():
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "Unauthorized")
	case r.URL.Path == "/users/me":
		_, _ = io.WriteString(w, owner)
	default:
		k.script(w, r)
	}
}

// swap puts a key in a file's place, as a mounted secret changes.
func swap(t *testing.T, file, key string) {
	t.Helper()
	if err := os.Rename(write(t, []byte(key), 0o600), file); err != nil {
		t.Fatal(err)
	}
}

// load calls in several loops, reads and writes, until stop is closed, and returns a count of the calls that have ended, and the loops' ends.
func load(t *testing.T, p *process, stop <-chan struct{}) (done *counter, ended <-chan error) {
	t.Helper()
	const loops = 8
	forms := tallydv1.NewFormServiceClient(p.dial(t))
	done = newCounter()
	ends := make(chan error, loops)
	for i := range loops {
		go func() {
			ends <- repeat(stop, func() error {
				var err error
				if i%2 == 0 {
					_, err = forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"})
				} else {
					_, err = forms.UpdateForm(t.Context(), &tallydv1.UpdateFormRequest{FormId: "f1", Name: new("n")})
				}
				done.add()
				return err
			})
		}()
	}
	return done, ends
}

// wantNoFailure stops a load and demands that none of its calls failed.
func wantNoFailure(t *testing.T, stop chan struct{}, ended <-chan error) {
	t.Helper()
	close(stop)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Errorf("a call = %v, want nil", err)
		}
	}
}

// counter counts, and tells who waits.
type counter struct {
	mu      sync.Mutex
	n       int
	changed chan struct{}
}

func newCounter() *counter { return &counter{changed: make(chan struct{})} }

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	close(c.changed)
	c.changed = make(chan struct{})
}

// look returns the count so far and what tells of more.
func (c *counter) look() (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.changed
}

// more waits until the count has grown by n.
func (c *counter) more(t *testing.T, n int, what string) {
	t.Helper()
	limit := time.After(patience)
	now, changed := c.look()
	for want := now + n; now < want; now, changed = c.look() {
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited for %d %s in vain: %d", n, what, now+n-want)
		}
	}
}

var refusedLine = regexp.MustCompile(`"(new key is refused)`)

// TestKeyOverlapUnderLoad covers the usual rotation, row 58 with overlap: under a load that never pauses, the file is swapped, both keys
// are valid for a while, and then the old one is revoked. No call fails, and none uses the old key in the end.
func TestKeyOverlapUnderLoad(t *testing.T) {
	t.Parallel()
	old, fresh := newKey(), newKey()
	k := newKeyed(map[string]string{old: owner, fresh: owner}, aForm)
	file := write(t, []byte(old), 0o600)
	p := serve(t, nil, "--tally-url", newTally(t, k.answer).URL, "--key-file", file)
	stop := make(chan struct{})
	done, ended := load(t, p, stop)
	k.used[old].more(t, 100, "calls with the old key")
	swap(t, file, fresh)
	k.used[fresh].more(t, 100, "calls with the new key")
	// Each loop has ended the call that it had under way when the key changed.
	done.more(t, 100, "the last calls with the old key")
	last, _ := k.used[old].look()
	k.revoked[old].Store(true)
	done.more(t, 500, "calls after the old key died")
	wantNoFailure(t, stop, ended)
	if got, _ := k.used[old].look(); got != last {
		t.Errorf("%d requests with the old key after the overlap, want none", got-last)
	}
	if said := p.output.String(); strings.Contains(said, old) || strings.Contains(said, fresh) || !strings.Contains(said, "key is replaced") {
		t.Errorf("tallyd said %.2000s, want one word of the new key and none of either", said)
	}
}

// TestForeignKeyUnderLoad covers row 59: the new key is of another organization. It is never used but for its check, calls go on with
// the old one, and one line says so.
func TestForeignKeyUnderLoad(t *testing.T) {
	t.Parallel()
	old, foreign := newKey(), newKey()
	k := newKeyed(map[string]string{old: owner, foreign: strings.ReplaceAll(owner, "org001", "org002")}, aForm)
	file := write(t, []byte(old), 0o600)
	p := serve(t, nil, "--tally-url", newTally(t, k.answer).URL, "--key-file", file)
	stop := make(chan struct{})
	done, ended := load(t, p, stop)
	done.more(t, 100, "calls with the old key")
	swap(t, file, foreign)
	p.await(t, refusedLine)
	done.more(t, 100, "calls after the refusal")
	wantNoFailure(t, stop, ended)
	if got, _ := k.used[foreign].look(); got != 0 {
		t.Errorf("%d requests with the key of another organization, want none", got)
	}
	if got := strings.Count(p.output.String(), "new key is refused"); got != 1 {
		t.Errorf("the log says %d times that the key is refused, want once", got)
	}
}
