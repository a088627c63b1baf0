package faults

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// seenUntilEnd is what a watcher saw until its stream ended.
type seenUntilEnd struct {
	events []string
	token  string
	err    error
}

// untilEnd reads a watch to its end and returns what it saw, or what was wrong with the end.
func (w *watcher) untilEnd() (s seenUntilEnd) {
	var last *tallydv1.WatchSubmissionsResponse
	for {
		m, err := w.recv()
		if errors.Is(err, io.EOF) {
			if !last.GetHeartbeat().GetEnding() || last.GetResumeToken() == "" {
				s.err = fmt.Errorf("the last message is %v, want an ending heartbeat with a token", last)
			}
			s.token = last.GetResumeToken()
			return s
		}
		if err != nil {
			s.err = fmt.Errorf("the watch ended in %w, want OK", err)
			return s
		}
		if e := m.GetEvent(); e != nil {
			s.events = append(s.events, say(e))
		}
		last = m
	}
}

// sendUntilRefused delivers submissions one after the other until nobody takes them, and returns those that were acknowledged.
func (d *deliverer) sendUntilRefused(t *testing.T, l *logger, form, prefix string, taken *counter) (acknowledged []string) {
	for {
		id := fmt.Sprintf("%s-%d", prefix, len(acknowledged)+1)
		got, err := d.deliver(t.Context(), l, form, d.body(form, id, "x"))
		if err != nil {
			return acknowledged
		}
		if got.status != http.StatusOK {
			t.Errorf("delivering %s = %v, want 200 or no answer", id, got)
			return acknowledged
		}
		acknowledged = append(acknowledged, id)
		taken.add()
	}
}

// deliverUntilRefused delivers from several senders to both forms until nobody takes anything any more. The returned function waits for
// that and returns what was acknowledged.
func (d *deliverer) deliverUntilRefused(t *testing.T, l *logger, taken *counter) func() map[string]bool {
	const senders = 8
	lists := make(chan []string, senders)
	for i := range senders {
		go func() { lists <- d.sendUntilRefused(t, l, fmt.Sprintf("f%d", 1+i%2), fmt.Sprintf("w%d", i), taken) }()
	}
	return func() map[string]bool {
		acknowledged := map[string]bool{}
		for range senders {
			for _, id := range <-lists {
				acknowledged[id] = true
			}
		}
		return acknowledged
	}
}

// callAndHold makes calls that Tally keeps back until the returned function is called, which demands that none fails.
func (d *deliverer) callAndHold(t *testing.T, conn *grpc.ClientConn) func() {
	t.Helper()
	const calls = 12
	ended := make(chan error, calls)
	for i := range calls {
		go func() {
			_, err := tallydv1.NewFormServiceClient(conn).GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: fmt.Sprintf("held%d", i)})
			ended <- err
		}()
	}
	for range calls {
		await(t, d.held, "a call")
	}
	return func() {
		close(d.release)
		for range calls {
			if err := <-ended; err != nil {
				t.Errorf("a call under way at SIGTERM = %v, want nil", err)
			}
		}
	}
}

// TestStopWithEverythingUnderWay covers row 103 for events: at SIGTERM every watch ends with OK behind a last heartbeat whose token goes on
// in the next process, every delivery that was acknowledged is there, and no unary call fails that was under way.
func TestStopWithEverythingUnderWay(t *testing.T) {
	t.Parallel()
	const watchers = 6
	d := newDeliverer(t)
	l := d.serve(t)
	conn := l.dial(t)
	watched := make(chan seenUntilEnd, watchers)
	for i := range watchers {
		own := conn // some share the connection with the calls
		if i%2 == 0 {
			own = l.dial(t)
		}
		w := watchOver(t, own, earliest("f1", "f2"))
		go func() { watched <- w.untilEnd() }()
	}
	finishCalls := d.callAndHold(t, conn)
	taken := newCounter()
	acknowledged := d.deliverUntilRefused(t, l, taken)
	taken.more(t, 200, "deliveries")
	l.signal(t, syscall.SIGTERM)
	seen := make([]seenUntilEnd, watchers)
	for i := range seen {
		seen[i] = <-watched
	}
	taken.more(t, 50, "deliveries after SIGTERM, while calls are under way")
	finishCalls()
	want := acknowledged()
	if code := l.code(t); code != 0 {
		t.Errorf("exit code = %d, want 0\n%s", code, l.output)
	}
	d.wantNoneIn(t, "the output", l.output.String())
	d.checkNextProcess(t, want, seen)
}

// checkNextProcess demands that the next process has what was acknowledged, and goes on with each watch where it ended.
func (d *deliverer) checkNextProcess(t *testing.T, acknowledged map[string]bool, seen []seenUntilEnd) {
	t.Helper()
	l, goroutines := d.settled(t)
	logs := map[string][]string{}
	for _, form := range []string{"f1", "f2"} {
		l.each(t, form, func(e *tallydv1.SubmissionEvent) {
			logs[form] = append(logs[form], say(e))
			delete(acknowledged, e.GetSubmission().GetId())
		})
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d deliveries were acknowledged and are not in the log: %.1000q", len(acknowledged), fmt.Sprint(acknowledged))
	}
	for i, s := range seen {
		checkContinued(t, l, i, s, logs)
	}
	d.checkAfter(t, l, goroutines)
}

// checkContinued demands that what a watcher saw before its stream ended, and what its last token brings in the next process, is the log.
func checkContinued(t *testing.T, l *logger, i int, s seenUntilEnd, logs map[string][]string) {
	t.Helper()
	if s.err != nil {
		t.Errorf("watcher %d: %v", i, s.err)
		return
	}
	w := l.watch(t, behind(s.token, "f1", "f2"))
	defer w.close()
	all := slices.Concat(s.events, w.rest(t, len(logs["f1"])+len(logs["f2"])-len(s.events)))
	for form, want := range logs {
		var got []string
		for _, e := range all {
			if strings.HasPrefix(e, form+" ") {
				got = append(got, e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("watcher %d saw %d events of %s that are not the %d of its log", i, len(got), form, len(want))
		}
	}
}
