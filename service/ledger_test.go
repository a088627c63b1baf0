package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/store"
)

// ledgered is the whole chain with a ledger, in front of a Tally that counts what is posted.
type ledgered struct {
	*world

	dir    string
	store  *store.Store
	ledger *service.Ledger
	posts  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newLedgered(t *testing.T) *ledgered {
	t.Helper()
	l := &ledgered{dir: t.TempDir()}
	l.does(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"id":"ws%d","name":"n"}`, l.posts.Load())
	})
	l.start(t)
	return l
}

// does makes Tally answer so.
func (l *ledgered) does(answer http.HandlerFunc) { l.answer.Store(&answer) }

// start starts a process on the records.
func (l *ledgered) start(t *testing.T) {
	t.Helper()
	var err error
	if l.store, err = store.Open(t.Context(), store.Config{Dir: l.dir}); err != nil {
		t.Fatal(err)
	}
	l.serve(t, l.store, true)
	opened := l.store
	t.Cleanup(opened.Close)
}

// serve starts a process on records that are open, and that it may share.
func (l *ledgered) serve(t *testing.T, records service.Records, alone bool) {
	t.Helper()
	l.ledger = service.NewLedger(records, func() string { return "key" }, alone, slog.New(slog.DiscardHandler))
	l.world = newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			l.posts.Add(1)
		}
		(*l.answer.Load())(w, r)
	}, func(c *service.Config) { c.Ledger = l.ledger })
}

// crash ends the process as far as its records go, and starts another one.
func (l *ledgered) crash(t *testing.T) {
	t.Helper()
	l.store.Close()
	l.start(t)
}

func (l *ledgered) create(ctx context.Context, id, name string) (string, error) {
	resp, err := tallydv1.NewWorkspaceServiceClient(l.conn).CreateWorkspace(ctx, &tallydv1.CreateWorkspaceRequest{Name: name, RequestId: id})
	return resp.GetWorkspace().GetId(), err
}

const idA = "5a1f0c9e-0000-4000-8000-000000000001"

// The same id answers what the first try brought, in this process and in the next, and another body is refused.
func TestRequestID(t *testing.T) {
	l := newLedgered(t)
	first, err := l.create(t.Context(), idA, "n")
	if err != nil || first == "" {
		t.Fatalf("CreateWorkspace() = %q, %v", first, err)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			l.crash(t)
		}
		if got, err := l.create(t.Context(), idA, "n"); got != first || err != nil {
			t.Errorf("again (restarted %v) = %q, %v, want %q", restart, got, err, first)
		}
		if _, err := l.create(t.Context(), idA, "another name"); reasonOf(err) != "REQUEST_ID_REUSED" {
			t.Errorf("with another body (restarted %v) = %v, want REQUEST_ID_REUSED", restart, err)
		}
	}
	if n := l.posts.Load(); n != 1 {
		t.Errorf("Tally got %d posts, want 1", n)
	}
	if other, err := l.create(t.Context(), idA[:35]+"2", "n"); other == first || err != nil {
		t.Errorf("another id = %q, %v, want another workspace", other, err)
	}
}

// What each end of the first try means for the second with the same id.
func TestRequestIDAfterFailures(t *testing.T) {
	tests := []struct {
		name       string
		answer     http.HandlerFunc
		want       codes.Code
		wantReason string // of the second try; empty for success
		wantPosts  int64  // of both
	}{
		{"refused", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"message":"no"}`, http.StatusBadRequest) }, codes.Internal, "", 2},
		{"too many", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{}`, http.StatusTooManyRequests) }, codes.ResourceExhausted, "", 2},
		{"failed", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{}`, http.StatusInternalServerError) }, codes.Unknown, "REQUEST_OUTCOME_UNKNOWN", 1},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, codes.Unknown, "REQUEST_OUTCOME_UNKNOWN", 1},
		{"nonsense", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, codes.Unknown, "REQUEST_OUTCOME_UNKNOWN", 1},
	}
	for _, test := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted %v", test.name, restart), func(t *testing.T) {
				l := newLedgered(t)
				good := *l.answer.Load()
				l.does(test.answer)
				if _, err := l.create(t.Context(), idA, "n"); status.Code(err) != test.want {
					t.Fatalf("first try = %v, want %v", err, test.want)
				}
				l.does(good)
				if restart {
					l.crash(t)
				}
				_, err := l.create(t.Context(), idA, "n")
				if reason := reasonOf(err); (err == nil) != (test.wantReason == "") || err != nil && reason != test.wantReason {
					t.Errorf("second try = %v, want %q", err, test.wantReason)
				}
				if n := l.posts.Load(); n != test.wantPosts {
					t.Errorf("Tally got %d posts, want %d", n, test.wantPosts)
				}
			})
		}
	}
}

// A write that has left is finished without its caller, and its id answers what it brought.
func TestRequestIDOutlivesItsCaller(t *testing.T) {
	l := newLedgered(t)
	good := *l.answer.Load()
	arrived, release := make(chan struct{}), make(chan struct{})
	l.does(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		good(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := l.create(ctx, idA, "n")
		ended <- err
	}()
	<-arrived
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("the caller who left gets %v", err)
	}
	second := make(chan string)
	go func() {
		got, err := l.create(t.Context(), idA, "n")
		if err != nil {
			t.Errorf("second try = %v, want what the first brought", err)
		}
		second <- got
	}()
	close(release)
	if got := <-second; got != "ws1" || l.posts.Load() != 1 {
		t.Errorf("second try = %q after %d posts, want ws1 after 1", got, l.posts.Load())
	}
}

// Many at once with few ids: each is posted once, and all get the same.
func TestRequestIDTogether(t *testing.T) {
	l := newLedgered(t)
	const ids, each = 4, 16
	var mu sync.Mutex
	got := map[int]map[string]bool{}
	var running sync.WaitGroup
	for i := range ids * each {
		running.Go(func() {
			workspace, err := l.create(t.Context(), fmt.Sprintf("request-%d", i%ids), "n")
			if err != nil {
				t.Errorf("CreateWorkspace() = %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got[i%ids] == nil {
				got[i%ids] = map[string]bool{}
			}
			got[i%ids][workspace] = true
		})
	}
	running.Wait()
	if l.posts.Load() != ids {
		t.Errorf("Tally got %d posts, want %d", l.posts.Load(), ids)
	}
	for i, workspaces := range got {
		if len(workspaces) != 1 {
			t.Errorf("id %d answers %v, want one workspace", i, workspaces)
		}
	}
}

// Without a ledger an id is refused: to ignore it would promise what nobody keeps. An id that is none is too.
func TestRequestIDRefused(t *testing.T) {
	w := newWorld(t, body(`{"id":"ws1"}`), nil)
	for _, id := range []string{idA, "short", "with a space"} {
		_, err := tallydv1.NewWorkspaceServiceClient(w.conn).CreateWorkspace(t.Context(), &tallydv1.CreateWorkspaceRequest{Name: "n", RequestId: id})
		if status.Code(err) != codes.InvalidArgument || w.calls.Load() != 0 {
			t.Errorf("CreateWorkspace(request_id %q) = %v after %d requests, want InvalidArgument and none", id, err, w.calls.Load())
		}
	}
}
