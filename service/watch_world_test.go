package service_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
	"github.com/tallyd/tallyd/service/tally"
)

// watched is the whole chain with a log of events, in front of the seeded sandbox, which delivers to it.
type watched struct {
	*guarded

	client *tally.Client
	events *service.Events
	store  *store.Store
	hooks  *httptest.Server // where deliveries come in
}

// everybody is a policy under which caller "all" may do everything.
const everybody = `
callers:
- name: all
  identities: ['dns:all']
  allow: [{methods: ['*'], forms: ['*'], workspaces: ['*'], organizations: ['*']}]
  reveal: [file_links]
`

func newWatched(t *testing.T, rules string) *watched {
	t.Helper()
	w := &watched{}
	w.guarded = newGuardedWith(t, rules, func(g *guarded, client *tally.Client) {
		w.client = client
		w.open(t, client)
		g.handlers.Events = w.events
	})
	return w
}

// open opens a log in a directory of the test's.
func (w *watched) open(t *testing.T, client *tally.Client) {
	t.Helper()
	var err error
	if w.store, err = store.Open(t.Context(), store.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	log := events.OpenLog(w.store, quiet, events.Observer{})
	hub := events.NewHub(log)
	intake := events.NewIntake(events.IntakeConfig{Log: log, Secrets: log.KnownSecrets, Retention: time.Hour, Logger: quiet})
	w.hooks = httptest.NewServer(intake.Handler())
	upstream := service.NewUpstream(client, service.HandlerConfig{})
	keeper := events.NewKeeper(events.KeeperConfig{
		Log: log, Hub: hub, Upstream: upstream, PublicURL: w.hooks.URL,
		Reconcile: time.Hour, Poll: time.Hour, Retention: time.Hour, Logger: quiet,
	})
	w.events = &service.Events{Log: log, Hub: hub, Keeper: keeper, Upstream: upstream}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { hub.Run(ctx) })
	running.Go(func() { keeper.Run(ctx) })
	t.Cleanup(func() {
		w.hooks.Close()
		stop()
		running.Wait()
		log.Close()
		w.store.Close()
	})
}

// submit answers a form as a respondent would.
func (w *watched) submit(t *testing.T, form string) string {
	t.Helper()
	id, err := w.sandbox.Submit(form, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// stream is a watch that is open.
type stream struct {
	t    *testing.T
	recv func() (*tallydv1.WatchSubmissionsResponse, error)
	// token is that of the last message.
	token string
	close context.CancelFunc
}

// watch opens a watch as a caller and waits for its first sign of life.
func (w *watched) watch(t *testing.T, caller string, req *tallydv1.WatchSubmissionsRequest) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(as(t, caller), 20*time.Second)
	t.Cleanup(cancel)
	open, err := tallydv1.NewSubmissionServiceClient(w.conn).WatchSubmissions(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{t: t, recv: open.Recv, close: cancel}
	if first := s.next(); first.GetHeartbeat() == nil {
		t.Fatalf("the first message is %v, want a heartbeat", first)
	}
	return s
}

// next returns the next message.
func (s *stream) next() *tallydv1.WatchSubmissionsResponse {
	s.t.Helper()
	m, err := s.recv()
	if err != nil {
		s.t.Fatalf("Recv() = %v, want a message", err)
	}
	s.token = m.GetResumeToken()
	return m
}

// event returns the next event.
func (s *stream) event() *tallydv1.SubmissionEvent {
	s.t.Helper()
	for {
		if m := s.next(); m.GetEvent() != nil {
			return m.GetEvent()
		}
	}
}

// registered waits until Tally has a webhook of ours for a form.
func (w *watched) registered(t *testing.T, form string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.events.Keeper.Polls([]string{form}) != 0; {
		if time.Now().After(deadline) {
			t.Fatalf("form %s gets no webhook: %+v", form, w.events.Keeper.States())
		}
		time.Sleep(time.Millisecond)
	}
}

// deleteAtTally deletes a submission without tallyd.
func (w *watched) deleteAtTally(t *testing.T, form, id string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodDelete, "/forms/"+form+"/submissions/"+id, nil)
	req.Header.Set("Authorization", "Bearer tly-0123456789abcdefghijABCDEFGHIJ01")
	req.Header.Set("User-Agent", "test")
	answer := httptest.NewRecorder()
	w.sandbox.Handler().ServeHTTP(answer, req)
	if answer.Code >= 300 {
		t.Fatalf("DELETE = %d %s", answer.Code, answer.Body)
	}
}
