package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
	"github.com/tallyd/tallyd/test/natscluster"
)

// servers is the cluster that the tests of this package share; each has an account of its own there.
var servers natscluster.Shared

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		servers.Stop()
		os.Exit(code)
	}))
}

// engine returns where a log can be that is empty.
type engine func(*testing.T) store.Config

func embedded(t *testing.T) store.Config { return store.Config{Dir: t.TempDir()} }

func clustered(t *testing.T) store.Config {
	return store.Config{URL: servers.Cluster(t).Account(t).URL()}
}

// onEach runs a test on each engine.
func onEach(t *testing.T, test func(*testing.T, engine)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, embedded) })
	t.Run("cluster", func(t *testing.T) { test(t, clustered) })
}

// world is a log with its hub.
type world struct {
	t      *testing.T
	config store.Config
	logger *slog.Logger
	store  *store.Store
	log    *events.Log
	hub    *events.Hub
	close  func()

	mu   sync.Mutex
	gaps []string
}

func newWorld(t *testing.T, on engine) *world {
	w := &world{t: t, config: on(t), logger: slog.New(slog.DiscardHandler)}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

// open opens the log, for the first time or again.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(w.t.Context(), w.config); err != nil {
		w.t.Fatalf("Open() = %v", err)
	}
	w.log = events.OpenLog(w.store, w.logger, events.Observer{Gap: func(form string, first, last uint64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.gaps = append(w.gaps, fmt.Sprintf("%s %d-%d", form, first, last))
	}})
	w.hub = events.NewHub(w.log)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.hub.Run(ctx) })
	w.close = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		w.log.Close()
		w.store.Close()
	})
}

// reopen is a restart.
func (w *world) reopen() {
	w.t.Helper()
	w.close()
	w.open()
}

// delivery is the body of a delivery.
func delivery(form, submission, answer string) []byte {
	return fmt.Appendf(nil, `{"eventId":"e-%s","eventType":"FORM_RESPONSE","createdAt":%q,"data":{"formId":%q,"submissionId":%q,"fields":[{"value":%q}]}}`,
		submission, time.Now().UTC().Format(time.RFC3339Nano), form, submission, answer)
}

func delivered(form, submission string) events.News {
	return events.News{Form: form, Submission: submission, Source: logv1.Source_SOURCE_DELIVERY, Delivery: delivery(form, submission, "x")}
}

// add logs news and demands a result.
func (w *world) add(news events.News, want events.Result) {
	w.t.Helper()
	if got, err := w.log.Add(w.t.Context(), news); got != want || err != nil {
		w.t.Fatalf("Add(%s %s) = %v, %v, want %v", news.Form, news.Submission, got, err, want)
	}
}

// say is a record in few words.
func say(r *events.Record) string {
	switch {
	case r.Gap != nil:
		return fmt.Sprintf("%s lost %d-%d", r.Form, r.Gap.First, r.Gap.Last)
	case r.Entry.GetTombstone() != nil:
		return fmt.Sprintf("%s %d deleted %s", r.Form, r.Entry.GetSequence(), r.Entry.GetSubmissionId())
	default:
		return fmt.Sprintf("%s %d %s", r.Form, r.Entry.GetSequence(), r.Entry.GetSubmissionId())
	}
}

// next waits for n events.
func (w *world) next(c *events.Cursor, n int) []string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	var got []string
	for len(got) < n {
		r, err := c.Next(ctx)
		if err != nil {
			w.t.Fatalf("Next() after %q = %v", got, err)
		}
		if r != nil {
			got = append(got, say(r))
			continue
		}
		select {
		case <-c.Wake():
		case <-ctx.Done():
			w.t.Fatalf("nothing comes after %q, want %d events", got, n)
		}
	}
	return got
}

// watch opens a cursor for the time of the test.
func (w *world) watch(at events.Place, forms ...string) *events.Cursor {
	c := w.hub.Watch(events.Selection{Forms: forms}, at)
	w.t.Cleanup(c.Close)
	return c
}
