package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
)

// eventsTotal is the metric that counts deliveries by what became of them in the log.
func eventsTotal(result string) string {
	return fmt.Sprintf(`tallyd_events_total{result=%q,source="webhook"}`, result)
}

// deliverAtOnce delivers bodies in turn from many senders at the same time, and demands that all are taken.
func (d *deliverer) deliverAtOnce(t *testing.T, l *logger, senders int, bodies ...[]byte) {
	t.Helper()
	start := make(chan struct{})
	var sending sync.WaitGroup
	for i := range senders {
		body := bodies[i%len(bodies)]
		sending.Go(func() {
			<-start
			if got, err := d.deliver(t.Context(), l, "f1", body); err != nil || got.status != http.StatusOK {
				t.Errorf("delivery %d = %v, %v, want 200", i, got, err)
			}
		})
	}
	close(start)
	sending.Wait()
}

// TestDuplicateDelivery covers rows 71 and 95: what is delivered again is answered with 200 and is in the log once: 32 times at once, once
// more, after a restart, after a kill, and nearly as old as the log keeps. What is older nobody can tell from a replay: it is not stored.
func TestDuplicateDelivery(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	const day = 24 * time.Hour
	recent, old := d.body("f1", "recent", "x"), d.bodyFrom(time.Now().Add(-29*day), "f1", "old", "x")
	l, _ := d.settled(t)
	d.deliverAtOnce(t, l, 32, recent, old)
	if stored, known := l.metric(t, eventsTotal("stored")), l.metric(t, eventsTotal("known")); stored != 3 || known != 30 {
		t.Errorf("%v are stored and %v known, want 3 and 30", stored, known)
	}
	d.deliverAtOnce(t, l, 32, recent, old)
	want := ids(l.replay(t, "f1"))
	if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(sorted, []string{"old", "recent"}) {
		t.Errorf("the log holds %q, want both, each once", want)
	}
	goroutines := 0
	for _, end := range []func(*testing.T, *logger){d.stop, d.kill} {
		end(t, l)
		l, goroutines = d.settled(t)
		d.deliverAtOnce(t, l, 32, recent, old)
		l.checkLog(t, "f1", want...)
		if known := l.metric(t, eventsTotal("known")); known != 33 {
			t.Errorf("in the next process %v are known, want 33", known)
		}
	}
	d.deliverAtOnce(t, l, 4, d.bodyFrom(time.Now().Add(-31*day), "f1", "older", "x"))
	l.checkLog(t, "f1", want...)
	d.checkAfter(t, l, goroutines)
}

// TestConflictingDelivery covers the rest of row 95: another body under a known submission's id is answered with 200, counted and told in
// one line each, and the log keeps the first. The same body under another event's id, as a second webhook of a form delivers it, is none.
func TestConflictingDelivery(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l := d.serve(t)
	sent := time.Now()
	first := d.bodyFrom(sent, "f1", "s1", "the first answer")
	d.deliverAtOnce(t, l, 1, first)
	const others = 16
	bodies := [][]byte{[]byte(strings.Replace(string(first), `"eventId":"e-`, `"eventId":"other-`, 1))}
	for i := range others {
		bodies = append(bodies, d.bodyFrom(sent, "f1", "s1", fmt.Sprintf("%s %d", d.file, i)))
	}
	d.deliverAtOnce(t, l, len(bodies), bodies...)
	check := func() {
		t.Helper()
		events := l.replay(t, "f1")
		if len(events) != 1 || !strings.Contains(prototext.Format(events[0]), "the first answer") {
			t.Errorf("the log holds %v, want the first answer alone", events)
		}
	}
	check()
	if got := l.metric(t, eventsTotal("conflicting")); got != others {
		t.Errorf("%v count as conflicting, want %d", got, others)
	}
	const alarm = "a delivery says something else of a submission than the first one"
	if got := strings.Count(l.output.String(), alarm); got != others || strings.Contains(l.output.String(), "not_kept") {
		t.Errorf("%d lines of alarm, want %d, and all kept:\n%s", got, others, l.output)
	}
	d.kill(t, l)
	l, goroutines := d.settled(t)
	d.deliverAtOnce(t, l, len(bodies), bodies...)
	check()
	d.checkAfter(t, l, goroutines)
}

// TestOutOfOrderRetries covers row 96: what failed and came again behind others stands where it was taken, and tells when it was sent off.
func TestOutOfOrderRetries(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l := d.serve(t)
	sent := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	bodies := map[string][]byte{}
	for i, id := range names("s", 4) {
		bodies[id] = d.bodyFrom(sent.Add(time.Duration(i)*time.Second), "f1", id, "x")
	}
	d.deliverHalf(t, l, bodies["s1"])
	d.deliverAtOnce(t, l, 1, bodies["s2"])
	d.deliverHalf(t, l, bodies["s3"])
	d.kill(t, l)
	if got, err := d.deliver(t.Context(), l, "f1", bodies["s4"]); err == nil {
		t.Errorf("a delivery to nobody = %v, want an error", got)
	}
	l, goroutines := d.settled(t)
	for _, id := range []string{"s3", "s4", "s1"} {
		d.deliverAtOnce(t, l, 1, bodies[id])
	}
	want := []string{"s2", "s3", "s4", "s1"}
	l.checkLog(t, "f1", want...)
	received := sent
	for i, e := range l.replay(t, "f1") {
		var at int
		fmt.Sscanf(want[i], "s%d", &at)
		if got := e.GetSubmission().GetSubmitTime().AsTime(); !got.Equal(sent.Add(time.Duration(at-1) * time.Second)) {
			t.Errorf("%s was sent off at %v, want %v", want[i], got, sent.Add(time.Duration(at-1)*time.Second))
		}
		if got := e.GetReceiveTime().AsTime(); got.Before(received) {
			t.Errorf("%s came at %v, before the one before it at %v", want[i], got, received)
		}
		received = e.GetReceiveTime().AsTime()
	}
	d.checkAfter(t, l, goroutines)
}

// deliverHalf breaks a delivery off in the middle of its body.
func (d *deliverer) deliverHalf(t *testing.T, l *logger, body []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken := io.MultiReader(strings.NewReader(string(body[:len(body)/2])), cancelling(cancel))
	if got, err := d.post(ctx, l, "f1", broken, http.Header{"Tally-Signature": {sign(d.ourSigning, body)}}); err == nil {
		t.Errorf("half a delivery = %v, want an error", got)
	}
}

// cancelling is a body that breaks its own request off.
type cancelling context.CancelFunc

func (c cancelling) Read([]byte) (int, error) {
	c()
	return 0, context.Canceled
}
