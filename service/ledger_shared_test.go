package service_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/store"
)

// looked are records that tell each time that somebody reads them.
type looked struct {
	service.Records

	at chan struct{}
}

func (l looked) Get(ctx context.Context, key string) (store.Record, error) {
	select {
	case l.at <- struct{}{}:
	default:
	}
	return l.Records.Get(ctx, key)
}

// newShared returns two processes that share records and stand in front of one Tally, whose posts the first one counts.
func newShared(t *testing.T) (first, second *ledgered, looks <-chan struct{}) {
	t.Helper()
	first = newLedgered(t)
	first.serve(t, first.store, false)
	second = &ledgered{store: first.store}
	second.does(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			first.posts.Add(1)
		}
		(*first.answer.Load())(w, r)
	})
	at := make(chan struct{}, 1000) // more than anybody looks
	second.serve(t, looked{Records: first.store, at: at}, false)
	return first, second, at
}

// Who has the id of a write that another process is about waits for it, and gets what it brought.
func TestRequestIDOfAnotherProcess(t *testing.T) {
	first, second, looks := newShared(t)
	good := *first.answer.Load()
	arrived, release := make(chan struct{}), make(chan struct{})
	first.does(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		good(w, r)
	})
	var both sync.WaitGroup
	early := make(chan struct{}, 2)
	try := func(l *ledgered) {
		both.Go(func() {
			defer func() { early <- struct{}{} }()
			if got, err := l.create(t.Context(), idA, "n"); got != "ws1" || err != nil {
				t.Errorf("CreateWorkspace() = %q, %v, want ws1", got, err)
			}
		})
	}
	try(first)
	<-arrived
	try(second)
	for range 2 { // it looks, waits, and looks again
		select {
		case <-looks:
		case <-early:
			t.Error("another process does not wait")
		}
	}
	close(release)
	both.Wait()
	if n := first.posts.Load(); n != 1 {
		t.Errorf("Tally got %d posts, want 1", n)
	}
}

// Many at once in two processes: each id is posted once, and all get the same.
func TestRequestIDTogetherInTwoProcesses(t *testing.T) {
	first, second, _ := newShared(t)
	const ids, each = 3, 4
	got := make([]sync.Map, ids)
	var running sync.WaitGroup
	for i := range ids * each {
		for _, l := range []*ledgered{first, second} {
			running.Go(func() {
				workspace, err := l.create(t.Context(), fmt.Sprintf("request-%d", i%ids), "n")
				if err != nil {
					t.Errorf("CreateWorkspace() = %v", err)
				}
				got[i%ids].Store(workspace, true)
			})
		}
	}
	running.Wait()
	if n := first.posts.Load(); n != ids {
		t.Errorf("Tally got %d posts, want %d", n, ids)
	}
	for i := range got {
		n := 0
		got[i].Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("id %d answers %d workspaces, want one", i, n)
		}
	}
}

// change changes what the records have of the one write in them.
func (l *ledgered) change(t *testing.T, do func(known *logv1.Write)) {
	t.Helper()
	keys, err := l.store.Keys(t.Context(), "write.*")
	if err != nil || len(keys) != 1 {
		t.Fatalf("Keys() = %v, %v, want one", keys, err)
	}
	record, err := l.store.Get(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	known := &logv1.Write{}
	if err := proto.Unmarshal(record.Value, known); err != nil {
		t.Fatal(err)
	}
	do(known)
	if record.Value, err = proto.Marshal(known); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Put(t.Context(), record); err != nil {
		t.Fatal(err)
	}
}

// What a process left behind means for another one: while its time runs nobody else does anything, and what it may have sent nobody sends
// again within a day.
func TestRequestIDOfAProcessThatIsGone(t *testing.T) {
	const intent, sent, done = logv1.WriteState_WRITE_STATE_INTENT, logv1.WriteState_WRITE_STATE_SENT, logv1.WriteState_WRITE_STATE_DONE
	tests := []struct {
		name      string
		state     logv1.WriteState
		lease     time.Duration // how long it runs yet
		age       time.Duration
		want      string // the workspace, or the reason
		wantPosts int64
	}{
		{"about to send", intent, time.Minute, 0, "it waits", 1},
		{"was about to send", intent, -time.Second, 0, "ws2", 2},
		{"sending", sent, time.Minute, 0, "it waits", 1},
		{"was sending", sent, -time.Second, 0, "REQUEST_OUTCOME_UNKNOWN", 1},
		{"was sending nearly a day ago", sent, -time.Second, 23 * time.Hour, "REQUEST_OUTCOME_UNKNOWN", 1},
		{"was sending more than a day ago", sent, -time.Second, 25 * time.Hour, "ws2", 2},
		{"done", done, time.Minute, 0, "ws1", 1},
		{"done nearly a day ago", done, -time.Second, 23 * time.Hour, "ws1", 1},
		{"done more than a day ago", done, -time.Second, 25 * time.Hour, "ws2", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			first, second, looks := newShared(t)
			if _, err := first.create(t.Context(), idA, "n"); err != nil {
				t.Fatal(err)
			}
			first.change(t, func(known *logv1.Write) {
				known.State, known.LeaseTime = test.state, timestamppb.New(time.Now().Add(test.lease))
				known.BeginTime = timestamppb.New(time.Now().Add(-test.age))
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			answered := make(chan string, 1)
			go func() {
				got, err := second.create(ctx, idA, "n")
				if err != nil {
					got = reasonOf(err)
				}
				answered <- got
			}()
			var got string
			<-looks
			select {
			case got = <-answered:
			case <-looks:
				got = "it waits"
			}
			if posts := first.posts.Load(); got != test.want || posts != test.wantPosts {
				t.Errorf("another process = %s after %d posts, want %s after %d", got, posts, test.want, test.wantPosts)
			}
		})
	}
}

// Sweeping forgets what is more than a day ago, and nothing else.
func TestSweep(t *testing.T) {
	for _, test := range []struct {
		age  time.Duration
		want int
	}{{0, 1}, {23 * time.Hour, 1}, {25 * time.Hour, 0}} {
		l := newLedgered(t)
		if _, err := l.create(t.Context(), idA, "n"); err != nil {
			t.Fatal(err)
		}
		l.change(t, func(known *logv1.Write) { known.BeginTime = timestamppb.New(time.Now().Add(-test.age)) })
		if err := l.ledger.Sweep(t.Context()); err != nil {
			t.Errorf("Sweep() = %v, want nil", err)
		}
		if keys, err := l.store.Keys(t.Context(), "write.*"); len(keys) != test.want || err != nil {
			t.Errorf("%v behind a write Sweep() leaves %v, %v, want %d", test.age, keys, err, test.want)
		}
	}
}
