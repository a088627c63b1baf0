package mesh

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// TestWritesAreNotDoubled makes each write behind a proxy that repeats calls, once for each way in which Tally fails. Since the
// answer's headers go before the write leaves, there is one try, whatever becomes of it; within it a delete may be repeated by tallyd.
func TestWritesAreNotDoubled(t *testing.T) {
	tally := newTally(t, asNamed(badAnswers))
	direct := dial(t, serve(t, tally).address)
	p := newProxy(t, direct)
	conn := dial(t, p.address)
	for _, a := range badAnswers {
		for _, c := range writes {
			calm(t, direct)
			id, before := "as-"+a.name+"-"+rand.Text(), p.tries.Load()
			err := c.do(t.Context(), conn, id)
			checkOnce(t, c, a.name, err, p.tries.Load()-before, tally.count(id))
		}
	}
}

// checkOnce demands that a write was tried once.
func checkOnce(t *testing.T, c call, fault string, err error, tries int64, asked int) {
	t.Helper()
	most := 1
	if c.name == "DeleteSubmission" {
		most = 2
	}
	if tries != 1 || asked < 1 || asked > most {
		t.Errorf("%s when Tally does %q = %v, in %d tries and %d requests, want 1 try and at most %d requests", c.name, fault, err, tries, asked, most)
	}
}

// TestWritesThatWait covers the ends that a caller makes: its deadline passes, or it goes away, while Tally works on a write.
func TestWritesThatWait(t *testing.T) {
	arrived, release := make(chan struct{}, len(writes)), make(chan struct{})
	tally := newTally(t, func(w http.ResponseWriter, r *http.Request, body string) {
		arrived <- struct{}{}
		<-release
		anything(w, r, body)
	})
	defer close(release)
	p := newProxy(t, dial(t, serve(t, tally).address))
	conn := dial(t, p.address)
	tests := []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want codes.Code
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 700*time.Millisecond)
		}, codes.DeadlineExceeded},
		{"cancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				<-arrived
				cancel()
			}()
			return ctx, cancel
		}, codes.Canceled},
	}
	for _, test := range tests {
		for _, c := range writes {
			id, before := "w-"+rand.Text(), p.tries.Load()
			ctx, cancel := test.end(t.Context())
			err := c.do(ctx, conn, id)
			cancel()
			if code := status.Code(err); code != test.want {
				t.Errorf("%s that waits until %s = %v, want %v", c.name, test.name, err, test.want)
			}
			checkOnce(t, c, test.name, err, p.tries.Load()-before, tally.count(id))
		}
		// What the deadline left unread.
		for len(arrived) > 0 {
			<-arrived
		}
	}
}

// TestNothingLeft holds the other half of the rule: where no byte left, the proxy tries again, and the write is made by a replica that
// reaches Tally.
func TestNothingLeft(t *testing.T) {
	tally := newTally(t, anything)
	gone := newTally(t, anything)
	lost := serve(t, gone)
	gone.Close()
	balancer := newResolved(t, []*process{lost, serve(t, tally)})
	p := newProxy(t, balancer.entry)
	conn := dial(t, p.address)
	for range 10 {
		for _, c := range append(writes, read) {
			id := "w-" + rand.Text()
			if err := c.do(t.Context(), conn, id); err != nil {
				t.Errorf("%s with a replica that reaches Tally and one that does not = %v, want nil", c.name, err)
			}
			if asked := tally.count(id); asked != 1 {
				t.Errorf("%s: Tally was asked %d times, want once", c.name, asked)
			}
		}
	}
	if p.tries.Load() == p.calls.Load() {
		t.Error("the proxy repeated nothing, want the calls that met the replica without Tally")
	}
}

// repeated are the failures after which a read may be repeated.
var repeated = []string{
	"cut", "reset", "timeout", "misdirected", "early", "error", "gateway", "down", "slow", "edge520", "edge521", "edge524",
}

// TestReadsAreRepeated holds that a read succeeds behind such a proxy when Tally fails it twice.
func TestReadsAreRepeated(t *testing.T) {
	var mu sync.Mutex
	failed := map[string]int{}
	bad := asNamed(badAnswers)
	tally := newTally(t, func(w http.ResponseWriter, r *http.Request, body string) {
		mu.Lock()
		failed[r.URL.Path]++
		again := failed[r.URL.Path] > extraTries
		mu.Unlock()
		if again {
			anything(w, r, body)
			return
		}
		bad(w, r, body)
	})
	p := newProxy(t, dial(t, serve(t, tally).address))
	conn := dial(t, p.address)
	for _, a := range badAnswers {
		err := read.do(t.Context(), conn, "as-"+a.name+"-1")
		if want := slices.Contains(repeated, a.name); (err == nil) != want {
			t.Errorf("GetForm() when Tally does %q twice = %v, want success: %v", a.name, err, want)
		}
	}
	if p.tries.Load() == p.calls.Load() {
		t.Error("the proxy repeated nothing")
	}
}

// TestKilledInAWrite kills the replica as soon as Tally has a write. The headers that went ahead of it keep the proxy from a second try.
func TestKilledInAWrite(t *testing.T) {
	const rounds = 5
	tally, arrived := holding(t)
	for range rounds {
		for _, c := range writes {
			victim := serve(t, tally)
			p := newProxy(t, dial(t, victim.address))
			id := "k-" + rand.Text()
			conn := dial(t, p.address)
			err := killed(t, victim, arrived, func() error { return c.do(t.Context(), conn, id) }, func() {})
			if code, tries, asked := status.Code(err), p.tries.Load(), tally.count(id); code != codes.Unavailable || tries != 1 || asked != 1 {
				t.Errorf("%s in a replica that was killed = %v in %d tries and %d requests, want Unavailable in 1 and 1", c.name, err, tries, asked)
			}
		}
	}
}

// TestKilledInARead is the other half: another replica takes the read over.
func TestKilledInARead(t *testing.T) {
	tally, arrived := holding(t)
	victim, spare := serve(t, tally), serve(t, tally)
	balancer := newResolved(t, []*process{victim})
	conn := dial(t, newProxy(t, balancer.entry).address)
	err := killed(t, victim, arrived, func() error { return read.do(t.Context(), conn, "r1") }, func() {
		balancer.use(t, []*process{victim, spare})
		reach(t, balancer.entry, spare)
	})
	if asked := tally.count("r1"); err != nil || asked != 2 {
		t.Errorf("GetForm in a replica that was killed = %v and %d requests, want nil and 2", err, asked)
	}
}

// holding is a Tally that tells when a request arrives and answers its repetitions alone.
func holding(t *testing.T) (*fakeTally, <-chan struct{}) {
	t.Helper()
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	var known sync.Map
	tally := newTally(t, func(w http.ResponseWriter, r *http.Request, body string) {
		if _, repetition := known.LoadOrStore(r.URL.Path+body, true); !repetition {
			arrived <- struct{}{}
			<-release
		}
		anything(w, r, body)
	})
	t.Cleanup(func() { close(release) })
	return tally, arrived
}

// killed makes a call, kills a replica when Tally has the request, and returns how the call ended.
func killed(t *testing.T, victim *process, arrived <-chan struct{}, do func() error, prepare func()) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case <-arrived:
	case err := <-ended:
		t.Fatalf("the call = %v before it reached Tally", err)
	}
	prepare()
	if err := victim.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	return <-ended
}

// reach calls until a replica answers.
func reach(t *testing.T, conn *grpc.ClientConn, replica *process) {
	t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		var from peer.Peer
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.Peer(&from))
		if err == nil && from.Addr.String() == replica.address {
			return
		}
	}
	t.Fatalf("%s does not answer", replica.address)
}
