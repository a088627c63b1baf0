package faults

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/test/natscluster"
)

// deliverSurely delivers submissions of a form to tallyds in turn, each until it is acknowledged, as long as done is open. It returns what
// was acknowledged.
func (d *deliverer) deliverSurely(t *testing.T, all []*logger, form, name string, taken *counter, done <-chan struct{}) (sent []string) {
	for !closed(done) {
		id := fmt.Sprintf("%s%d", name, len(sent)+1)
		body := d.body(form, id, "x")
		for try := len(sent); ; try++ {
			got, err := d.deliver(t.Context(), all[try%len(all)], form, body)
			if err == nil && got.status == http.StatusOK {
				break
			}
			if t.Context().Err() != nil || err == nil && got.status != http.StatusServiceUnavailable {
				t.Errorf("delivering %s = %v, %v, want 200 or 503", id, got, err)
				return sent
			}
			<-time.After(20 * time.Millisecond)
		}
		sent = append(sent, id)
		taken.add()
	}
	return sent
}

// listen watches a form until ctx ends, with the last token whenever the stream does, and returns the submissions in the order in which
// they came.
func (l *logger) listen(ctx context.Context, t *testing.T, form string, heard *counter) (events []string) {
	conn := l.dial(t)
	req := earliest(form)
	for ctx.Err() == nil {
		stream, err := tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(ctx, req)
		for err == nil {
			var m *tallydv1.WatchSubmissionsResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			req = behind(m.GetResumeToken(), form)
			if m.GetEvent() != nil {
				events = append(events, say(m.GetEvent()))
				heard.add()
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	return events
}

// TestClusterServerKilledUnderLoad covers row 105 for the log of events: two tallyds share a log that three servers hold, and take
// deliveries while the server that leads it is killed and comes back. In the end each acknowledged delivery is there once, and a watcher of
// each tallyd has heard of it once.
func TestClusterServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	cluster, err := natscluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Stop() })
	account := cluster.Account(t)
	d := newDeliverer(t)
	d.env = []string{"TALLYD_NATS_URL=" + account.URL()}
	all := []*logger{d.serve(t, "--data-dir", t.TempDir()), d.serve(t, "--data-dir", t.TempDir())}
	taken, done := newCounter(), make(chan struct{})
	senders := make(chan []string, 4)
	for i := range cap(senders) {
		go func() { senders <- d.deliverSurely(t, all, "f1", fmt.Sprintf("w%d-", i), taken, done) }()
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	heard := []*counter{newCounter(), newCounter()}
	watched := []chan []string{make(chan []string, 1), make(chan []string, 1)}
	for i, l := range all {
		go func() { watched[i] <- l.listen(ctx, t, "f1", heard[i]) }()
	}

	taken.more(t, 30, "deliveries")
	leader := account.Leader(t, "TALLYD_EVENTS")
	leader.Kill(t)
	taken.more(t, 30, "deliveries without a server")
	leader.Start(t)
	taken.more(t, 30, "deliveries when it is back")
	close(done)
	var sent []string
	for range cap(senders) {
		sent = append(sent, <-senders...)
	}
	for i, l := range all {
		waitFor(t, heard[i], len(sent))
		checkWhole(t, l, sent)
	}
	leave()
	logged := sayAll(all[0].replay(t, "f1"))
	for i, l := range all {
		if got := <-watched[i]; !slices.Equal(got, logged) {
			t.Errorf("a watcher heard of %d events that are not the %d of the log", len(got), len(logged))
		}
		if strings.Contains(l.output.String(), account.Password()) {
			t.Errorf("tallyd says the password of the cluster:\n%s", l.output)
		}
		d.checkOutputs(t, l)
	}
}

// waitFor waits until a count is reached.
func waitFor(t *testing.T, c *counter, want int) {
	t.Helper()
	limit := time.After(patience)
	for n, changed := c.look(); n < want; n, changed = c.look() {
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("a watcher heard of %d events, want %d", n, want)
		}
	}
}

// checkWhole demands that the log of f1 holds these submissions, each once.
func checkWhole(t *testing.T, l *logger, want []string) {
	t.Helper()
	got := ids(l.replay(t, "f1"))
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("the log holds %d submissions, want the %d that were acknowledged, each once", len(got), len(want))
	}
}

// sayAll is events in few words.
func sayAll(events []*tallydv1.SubmissionEvent) []string {
	said := make([]string, len(events))
	for i, e := range events {
		said[i] = say(e)
	}
	return said
}
