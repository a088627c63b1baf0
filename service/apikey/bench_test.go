package apikey

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// place is a source whose key the test changes.
type place struct {
	mu      sync.Mutex
	key     Key
	err     error
	changed func()
}

func (p *place) Read() (Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key, p.err
}

func (p *place) Watch(ctx context.Context, changed func()) error {
	p.mu.Lock()
	p.changed = changed
	p.mu.Unlock()
	changed()
	<-ctx.Done()
	return nil
}

// put changes what the place holds without telling anybody.
func (p *place) put(key Key, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.err = key, err
}

// swap changes what the place holds and tells the keeper.
func (p *place) swap(key Key, err error) {
	p.put(key, err)
	p.mu.Lock()
	changed := p.changed
	p.mu.Unlock()
	changed()
}

// callerKey marks the context of a caller.
type callerKey struct{}

// upstream stands for Tally: it knows which keys live and counts what each key cost.
type upstream struct {
	mu     sync.Mutex
	orgs   map[string]string // alias of a live key -> organization
	down   error
	asked  []string // alias of each check
	behalf []any    // the caller whose values each check had
	times  []time.Time
	delay  time.Duration
	hanged bool
}

func (u *upstream) check(ctx context.Context, key Key) (Identity, error) {
	u.mu.Lock()
	u.asked = append(u.asked, key.Alias())
	u.times = append(u.times, time.Now())
	u.behalf = append(u.behalf, ctx.Value(callerKey{}))
	delay, hanged := u.delay, u.hanged
	u.mu.Unlock()
	if hanged {
		<-ctx.Done()
		return Identity{}, ctx.Err()
	}
	time.Sleep(delay) // in virtual time only
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.down != nil {
		return Identity{}, u.down
	}
	org, alive := u.orgs[key.Alias()]
	if !alive {
		return Identity{}, fmt.Errorf("401: %w", ErrRejected)
	}
	return Identity{UserID: "user", OrganizationID: org, Plan: "PRO"}, nil
}

func (u *upstream) set(change func(*upstream)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u)
}

func (u *upstream) revoke(key Key) { u.set(func(u *upstream) { delete(u.orgs, key.Alias()) }) }

func (u *upstream) checks() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.asked)
}

// bench is a keeper at work in virtual time, with all that it touches.
type bench struct {
	*Keeper
	t        *testing.T
	place    *place
	upstream *upstream
	mu       sync.Mutex
	log      bytes.Buffer
	states   []State
	end      func()
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) logged(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.log.String(), text)
}

const (
	lineSet   = "tally rejects the key: calls fail"
	lineClear = "tally accepts the key: calls go through"
	lineKept  = "new key is refused"
)

var (
	keyA = mustKeyOf("tly-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	keyB = mustKeyOf("tly-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
	keyC = mustKeyOf("tly-cccccccccccccccccccccccccccccccc")
)

func mustKeyOf(text string) Key {
	key, err := ParseKey(text)
	if err != nil {
		panic(err)
	}
	return key
}

// inBubble runs a test with a keeper of keyA; orgs maps the live keys to their organizations.
func inBubble(t *testing.T, u *upstream, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, place: &place{key: keyA}, upstream: u}
		keeper, err := New(b.place, u.check,
			WithLogger(slog.New(slog.NewTextHandler(b, nil))),
			WithNotify(func(s State) { b.states = append(b.states, s) }))
		if err != nil {
			t.Fatalf("New() = %v, want no error", err)
		}
		b.Keeper = keeper
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- keeper.Run(ctx) }()
		b.end = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run() = %v, want nil", err)
			}
		})
		defer b.end()
		synctest.Wait()
		test(b)
		for _, key := range []Key{keyA, keyB, keyC} {
			wantNoMarker(t, "log", key, b.log.String())
		}
	})
}

// tallyWith stands for a Tally at which the keys live, each given with its organization.
func tallyWith(orgs ...any) *upstream {
	u := &upstream{orgs: map[string]string{}}
	for i := 0; i < len(orgs); i += 2 {
		u.orgs[orgs[i].(Key).Alias()] = orgs[i+1].(string)
	}
	return u
}

// wantConfirm fails unless a 401 to a request with the key used gets the verdict.
func (b *bench) wantConfirm(used Key, want Verdict) error {
	b.t.Helper()
	got, err := b.Confirm(b.t.Context(), used)
	if got != want {
		b.t.Errorf("Confirm(%s) = %v, %v, want %v", used.Alias(), got, err, want)
	}
	return err
}

func (b *bench) wantCurrent(want Key, rejected bool) {
	b.t.Helper()
	if got := b.Current(); !got.Equal(want) {
		b.t.Errorf("Current() = %s, want %s", got.Alias(), want.Alias())
	}
	if got := b.Err() != nil; got != rejected {
		b.t.Errorf("Err() = %v, want an error: %v", b.Err(), rejected)
	}
	if got := b.State(); got.Rejected != rejected || got.Alias != want.Alias() {
		b.t.Errorf("State() = %+v, want key %s and rejected %v", got, want.Alias(), rejected)
	}
}

func (b *bench) wantLines(wants map[string]int) {
	b.t.Helper()
	for text, want := range wants {
		if got := b.logged(text); got != want {
			b.t.Errorf("log has %q %d times, want %d", text, got, want)
		}
	}
}

func (b *bench) wantChecks(want int) {
	b.t.Helper()
	if got := b.upstream.checks(); got != want {
		b.t.Errorf("tally was asked %d times, want %d", got, want)
	}
}
