package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/store"
	"github.com/tallyd/tallyd/test/natscluster"
)

// patience is how long a test waits for what must happen. To elect a leader takes up to nine seconds, and to see that one is missing ten.
const patience = time.Minute

// promptly is how long an operation may take that cannot succeed.
const promptly = 8 * time.Second

// remote is a store on a cluster with what it tells of itself.
type remote struct {
	*store.Store

	account natscluster.Account
	changed chan error
}

func openRemote(t *testing.T) remote {
	t.Helper()
	servers.Cluster(t).Heal(t)
	r := remote{account: servers.Cluster(t).Account(t), changed: make(chan error, 100)}
	r.Store = open(t, store.Config{URL: r.account.URL(), Changed: func(err error) { r.changed <- err }})
	return r
}

// openAt opens a store by way of a server that leads nothing, and returns that: to elect another leader takes longer than all else.
func openAt(t *testing.T) (remote, *natscluster.Node) {
	t.Helper()
	at := servers.Cluster(t).Follower(t)
	r := openRemote(t)
	for r.account.Serving(t, "tallyd") != at {
		r.Close()
		r = openRemote(t)
	}
	r.account.LeadElsewhere(t, at, "TALLYD_EVENTS", "KV_TALLYD_RECORDS")
	return r, at
}

// told waits until the store tells that it can be used, or that it cannot.
func (r remote) told(t *testing.T, usable bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case err := <-r.changed:
			if err != nil && (!errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), r.account.Password())) {
				t.Errorf("Changed(%v), want ErrUnavailable without a secret", err)
			}
			if (err == nil) == usable {
				return
			}
		case <-limit:
			t.Fatalf("nobody tells that usable is %v; Err() = %v", usable, r.Err())
		}
	}
}

// append appends one message behind all others, until it is known to be in the log, and returns how often that was in vain.
func (r remote) append(t *testing.T, subject string) (failures int) {
	t.Helper()
	for limit := time.Now().Add(patience); ; failures++ {
		if last, found, err := r.Last(t.Context(), subject); err == nil {
			if found {
				return failures // an acknowledgement that was lost
			}
			state, err := r.State(t.Context())
			if err == nil {
				_, err = r.Append(t.Context(), []store.Draft{{Subject: subject, Behind: &store.Condition{Position: state.Last}}})
			}
			if err == nil {
				return failures
			}
			if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrConflict) {
				t.Errorf("Append(%s) behind %d = %v, want ErrUnavailable", subject, last.Position, err)
			}
		}
		if time.Now().After(limit) || t.Context().Err() != nil {
			t.Errorf("%s cannot be appended: %v", subject, r.Err())
			return failures
		}
		<-time.After(10 * time.Millisecond)
	}
}

// follow notes the subjects of all messages, over all that ends the reading, until ctx ends.
func (r remote) follow(ctx context.Context, seen chan<- string) {
	for from := uint64(1); ctx.Err() == nil; <-time.After(10 * time.Millisecond) {
		_ = r.Follow(ctx, ">", from, func(m store.Message) error {
			from = m.Position + 1
			if m.Subject != "probe" {
				seen <- m.Subject
			}
			return nil
		})
	}
}

// checkThrough appends while something happens to the cluster, and demands that in the end the log holds each message once, in order, and
// that a reader has got them so.
func (r remote) checkThrough(t *testing.T, happens func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan string, 100000), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { r.follow(ctx, seen) })
	var want []string
	running.Go(func() {
		for i := 0; !closed(done) || i%10 != 0; i++ {
			subject := fmt.Sprintf("ev.a.%d", i)
			r.append(t, subject)
			want = append(want, subject)
		}
		checkSeen(t, seen, want)
		cancel()
	})
	happens()
	close(done)
	running.Wait()
	var got []string
	for from, more := uint64(1), true; more; {
		var messages []store.Message
		var err error
		if messages, more, err = r.Read(t.Context(), store.Query{Filter: "ev.>", From: from}); err != nil {
			t.Fatalf("Read() = %v", err)
		}
		for _, m := range messages {
			from = m.Position + 1
			got = append(got, m.Subject)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log holds %d messages, want the %d that were acknowledged, each once, in order", len(got), len(want))
	}
}

// checkSeen waits until a reader has got what it should.
func checkSeen(t *testing.T, seen <-chan string, want []string) {
	t.Helper()
	limit := time.After(patience)
	for i, subject := range want {
		select {
		case got := <-seen:
			if got != subject {
				t.Errorf("message %d for a reader is %s, want %s", i, got, subject)
				return
			}
		case <-limit:
			t.Errorf("a reader has got %d messages, want %d", i, len(want))
			return
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// large is the size of a message that takes its time to reach the last server.
const large = 256 << 10

// Whoever reads after an append was acknowledged finds it, whichever server answers.
func TestClusterReadsWhatWasAcknowledged(t *testing.T) {
	cluster := servers.Cluster(t)
	account := cluster.Account(t)
	var stores []*store.Store
	for _, n := range cluster.Nodes() {
		stores = append(stores, open(t, store.Config{URL: account.URL(n)}))
	}
	want := []string{"ev.a.first"}
	before, err := stores[0].Append(t.Context(), drafts(want...))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		subject := fmt.Sprintf("ev.a.%d", i)
		positions, err := stores[i%len(stores)].Append(t.Context(), []store.Draft{{Subject: subject, Data: make([]byte, large)}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stores {
			checkRead(t, s, before[0], want[len(want)-1], subject)
			if m, found, err := s.Last(t.Context(), "ev.>"); err != nil || !found || m.Subject != subject {
				t.Fatalf("Last() = %s, %v, %v, want %s", m.Subject, found, err, subject)
			}
		}
		s := stores[(i+1)%len(stores)]
		r, err := s.Get(t.Context(), "form.a")
		if r.Value = []byte(subject); err == nil {
			_, err = s.Put(t.Context(), r)
		}
		if err != nil {
			t.Fatalf("Put() = %v, want that nobody else wrote", err)
		}
		want, before = append(want, subject), positions
	}
}

// checkRead demands that reading from a position on gives these subjects and nothing more.
func checkRead(t *testing.T, s *store.Store, from uint64, want ...string) {
	t.Helper()
	var got []string
	for more := true; more; {
		messages, left, err := s.Read(t.Context(), store.Query{Filter: "ev.>", From: from})
		if err != nil {
			t.Fatalf("Read() behind %v = %v", got, err)
		}
		got, from, more = append(got, subjects(messages)...), messages[len(messages)-1].Position+1, left
	}
	if !slices.Equal(got, want) {
		t.Fatalf("Read() = %v, want %v", got, want)
	}
}

// A server that dies takes nothing along that was acknowledged.
func TestClusterLosesAServer(t *testing.T) {
	r, at := openAt(t)
	r.checkThrough(t, func() {
		at.Kill(t)
		r.told(t, false)
		r.told(t, true)
		if err := r.Err(); err != nil {
			t.Errorf("Err() = %v, want nil", err)
		}
	})
}

// A server that falls silent is left for another one.
func TestClusterFallsSilent(t *testing.T) {
	r, at := openAt(t)
	r.checkThrough(t, func() {
		at.Pause(t)
		r.told(t, false)
		r.told(t, true)
		servers.Cluster(t).AllBack(t)
	})
}

// Without most of its servers a cluster takes nothing, which is said promptly, and it recovers by itself.
func TestClusterWithoutQuorum(t *testing.T) {
	r := openRemote(t)
	cluster := servers.Cluster(t)
	r.checkThrough(t, func() {
		cluster.Nodes()[0].Kill(t)
		cluster.Nodes()[1].Kill(t)
		r.told(t, false)
		began := time.Now()
		if _, err := r.Append(t.Context(), drafts("ev.b.1")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Append() = %v, want ErrUnavailable", err)
		}
		if took := time.Since(began); took > promptly {
			t.Errorf("Append() took %v", took)
		}
		cluster.Nodes()[2].Kill(t)
		cluster.AllBack(t)
		r.told(t, true)
	})
}
