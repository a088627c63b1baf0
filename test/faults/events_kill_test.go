package faults

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

var (
	kills        = flag.Int("kills", 5, "how often a tallyd is killed that takes deliveries")
	acknowledged = flag.Int("acknowledged", 5000, "how many deliveries are acknowledged meanwhile, at least")
)

const (
	// Forms with one sender each, whose deliveries have an order, and forms with many, whose deliveries share writes.
	lonely, shared, crowded = 12, 2, 10
)

// siege is a tallyd that is killed again and again while it takes deliveries.
type siege struct {
	*deliverer

	taken, watched *counter
	done           chan struct{} // no further deliveries

	mu      sync.Mutex
	life    *logger
	changed chan struct{} // closed when the next life begins
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{deliverer: newDeliverer(t), taken: newCounter(), watched: newCounter(), done: make(chan struct{}), changed: make(chan struct{})}
	s.flags = append(s.flags, "--webhook-secret-file", write(t, []byte(s.ourSigning), 0o600))
	return s
}

// now returns the present life and what tells of the next.
func (s *siege) now() (*logger, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life, s.changed
}

// begin starts the next life. Some are cut short before they can take anything.
func (s *siege) begin(t *testing.T) *logger {
	t.Helper()
	for rand.N(4) == 0 {
		p := s.launch(t)
		<-time.After(rand.N(200 * time.Millisecond))
		p.signal(t, syscall.SIGKILL)
		p.code(t)
		s.checkSaid(t, p)
	}
	l := s.serve(t)
	s.live(l)
	return l
}

// live makes a tallyd the present one.
func (s *siege) live(l *logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.life, s.changed = l, make(chan struct{})
}

// checkSaid demands that what a process printed holds no secret and tells of nothing broken.
func (s *siege) checkSaid(t *testing.T, p *process) {
	t.Helper()
	said := p.output.String()
	s.wantNoneIn(t, "the output", said)
	for _, bad := range []string{"panic", "entries of the log are lost", "cannot be read", "does not name the one before"} {
		if strings.Contains(said, bad) {
			t.Errorf("tallyd said %.5000s", said)
		}
	}
}

// send delivers one submission after the other to a form, each until it is acknowledged, and returns them.
func (s *siege) send(t *testing.T, form, name string) (sent []string) {
	for !closed(s.done) {
		id := fmt.Sprintf("%s%d", name, len(sent)+1)
		body := s.body(form, id, "x")
		for {
			l, next := s.now()
			got, err := s.deliver(t.Context(), l, form, body)
			if err == nil && got.status == http.StatusOK {
				break
			}
			if err == nil {
				t.Errorf("delivering %s = %v, want 200", id, got)
				return sent
			}
			select {
			case <-next:
			case <-t.Context().Done():
				return sent
			}
		}
		sent = append(sent, id)
		s.taken.add()
	}
	return sent
}

// watch watches the forms over all lives, with the last message's token after each, and notes what it hears until ctx ends.
func (s *siege) watch(ctx context.Context, t *testing.T, forms []string, heard map[string][]string) error {
	req := earliest(forms...)
	for ctx.Err() == nil {
		l, next := s.now()
		conn := l.dial(t)
		stream, err := tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(ctx, req)
		for err == nil {
			var m *tallydv1.WatchSubmissionsResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			req = behind(m.GetResumeToken(), forms...)
			if e := m.GetEvent(); e != nil {
				form := e.GetFormId()
				heard[form] = append(heard[form], e.GetSubmission().GetId())
				if e.GetSequence() != int64(len(heard[form])) {
					return fmt.Errorf("event %d of %s is %v", len(heard[form]), form, e)
				}
				s.watched.add()
			}
		}
		conn.Close()
		select {
		case <-next:
		case <-ctx.Done():
		case <-time.After(patience):
			return fmt.Errorf("the watch ended, and no other process came: %w", err)
		}
	}
	return nil
}

// sender is what was sent to a form, and by whom.
type sender struct {
	form, name string
	sent       []string
}

// startSenders starts all senders, and returns the forms and where each says at its end what it sent.
func (s *siege) startSenders(t *testing.T) (forms []string, ended <-chan sender) {
	t.Helper()
	all := make(chan sender, lonely+shared*crowded)
	for i := range cap(all) {
		form := fmt.Sprintf("lonely%d", i)
		if i >= lonely {
			form = fmt.Sprintf("shared%d", i%shared)
		}
		if !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
		name := fmt.Sprintf("w%d-", i)
		go func() { all <- sender{form, name, s.send(t, form, name)} }()
	}
	return forms, all
}

// killAgain kills tallyd at random instants until it was killed and has taken as often as is asked for, and returns the last one.
func (s *siege) killAgain(t *testing.T, l *logger) *logger {
	t.Helper()
	began := time.Now()
	for n := range *kills {
		s.taken.more(t, 1+rand.N(2**acknowledged / *kills), "deliveries")
		<-time.After(rand.N(3 * time.Millisecond))
		s.kill(t, l)
		s.checkSaid(t, l.process)
		l = s.begin(t)
		if n%100 == 99 {
			taken, _ := s.taken.look()
			t.Logf("%d deliveries acknowledged, %d kills, %v", taken, n+1, time.Since(began))
		}
	}
	for n, _ := s.taken.look(); n < *acknowledged; n, _ = s.taken.look() {
		s.taken.more(t, min(*acknowledged-n, 1000), "deliveries")
	}
	return l
}

// TestKilledUnderLoad covers row 89: tallyd is killed at random instants while senders deliver as fast as it acknowledges. In the end
// the log holds every acknowledged delivery once, in the order in which a form's only sender sent them, and so has a watcher that went on
// behind its last message after each kill.
func TestKilledUnderLoad(t *testing.T) {
	s := newSiege(t)
	l := s.begin(t)
	goroutines := s.settle(t, l)
	forms, ended := s.startSenders(t)
	heard, watch := map[string][]string{}, make(chan error, 1)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() { watch <- s.watch(ctx, t, forms, heard) }()
	l = s.killAgain(t, l)
	close(s.done)
	senders := map[string][]sender{}
	total := 0
	for range cap(ended) {
		one := <-ended
		senders[one.form] = append(senders[one.form], one)
		total += len(one.sent)
	}
	checkCount(t, s.watched, total, watch)
	leave()
	if err := <-watch; err != nil {
		t.Errorf("the watcher: %v", err)
	}
	for form, all := range senders {
		checkForm(t, l, form, all, heard[form])
	}
	t.Logf("%d deliveries acknowledged, %d kills", total, *kills)
	s.checkAfter(t, l, goroutines)
}

// checkCount waits until the watcher has heard as much as was acknowledged.
func checkCount(t *testing.T, heard *counter, want int, watch <-chan error) {
	t.Helper()
	limit := time.After(patience)
	for n, changed := heard.look(); n != want; n, changed = heard.look() {
		select {
		case <-changed:
		case err := <-watch:
			t.Fatalf("the watcher ended after %d events of %d: %v", n, want, err)
		case <-limit:
			t.Fatalf("the watcher heard of %d events, want %d", n, want)
		}
	}
}

// checkForm demands that a form's log, and what the watcher heard of it, is what its senders sent: each sender's in its order.
func checkForm(t *testing.T, l *logger, form string, senders []sender, heard []string) {
	t.Helper()
	var log []string
	l.each(t, form, func(e *tallydv1.SubmissionEvent) { log = append(log, e.GetSubmission().GetId()) })
	if !slices.Equal(log, heard) {
		t.Errorf("the watcher heard of %d events of %s that are not the %d of its log", len(heard), form, len(log))
	}
	n := 0
	for _, one := range senders {
		n += len(one.sent)
		var own []string
		for _, id := range log {
			if strings.HasPrefix(id, one.name) {
				own = append(own, id)
			}
		}
		if !slices.Equal(own, one.sent) {
			t.Errorf("the log of %s holds %d of sender %s that are not the %d that it sent", form, len(own), one.name, len(one.sent))
		}
	}
	if n != len(log) {
		t.Errorf("the log of %s holds %d events, want the %d that were sent", form, len(log), n)
	}
}
