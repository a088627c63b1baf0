package faults

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

var idleWatchers = flag.Int("watchers", 1000, "how many watchers are idle until one event comes")

// flood delivers n submissions from many senders at a time, each with an answer of a size.
func (d *deliverer) flood(t *testing.T, l *logger, n, size int) {
	t.Helper()
	answer := strings.Repeat("x", size)
	next := make(chan string)
	var sending sync.WaitGroup
	for range 32 {
		sending.Go(func() {
			for id := range next {
				if got, err := d.deliver(t.Context(), l, "f1", d.body("f1", id, answer)); err != nil || got.status != 200 {
					t.Errorf("delivering %s = %v, %v, want 200", id, got, err)
				}
			}
		})
	}
	for _, id := range names("s", n) {
		next <- id
	}
	close(next)
	sending.Wait()
}

// TestSlowWatcher covers row 99: watchers that read one message and then nothing do not hold up those beside them nor the deliveries, and
// cost no memory for what they leave. When they read on they get all of it, in order, though it is in nobody's memory any more.
func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	const events, size, fast, slow, late = 5000, 4000, 10, 24, 4
	d := newDeliverer(t)
	d.env = []string{"GOGC=50"} // what lives is in question, not what the collector leaves for later
	l, goroutines := d.settled(t)
	sleepers, readers := openWindowed(t, l, slow), openWindowed(t, l, fast)
	before := l.peak(t)
	heard := read(t, readers, events)
	d.flood(t, l, events, size)
	lists := heard()
	lists = append(lists, read(t, sleepers[:late], events)()...)
	// What the sleepers leave is twice as much.
	l.checkPeak(t, before, slow*events*size>>20/2)
	for _, w := range sleepers[late:] {
		w.close()
	}
	var want []string
	l.each(t, "f1", func(e *tallydv1.SubmissionEvent) { want = append(want, say(e)) })
	if len(want) != events {
		t.Errorf("the log holds %d events, want %d", len(want), events)
	}
	for i, got := range lists {
		if !slices.Equal(got, want) {
			t.Errorf("watcher %d heard %d events that are not the %d of the log", i, len(got), len(want))
		}
	}
	d.checkAfter(t, l, goroutines)
}

// openWindowed opens watches whose window is small: it is what a watcher lets tallyd send ahead, and else grows with what is read.
func openWindowed(t *testing.T, l *logger, n int) []*watcher {
	t.Helper()
	watchers := make([]*watcher, n)
	for i := range watchers {
		conn := l.dial(t, grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
		watchers[i] = watchOver(t, conn, earliest("f1"))
		watchers[i].conn = conn
	}
	return watchers
}

// read has watchers read n events each, all at the same time, and returns what waits for the end of it.
func read(t *testing.T, watchers []*watcher, n int) func() [][]string {
	t.Helper()
	lists := make([][]string, len(watchers))
	var reading sync.WaitGroup
	for i, w := range watchers {
		reading.Go(func() {
			defer w.close()
			for len(lists[i]) < n {
				m, err := w.recv()
				if err != nil {
					t.Errorf("watcher %d after %d events: %v", i, len(lists[i]), err)
					return
				}
				if e := m.GetEvent(); e != nil {
					lists[i] = append(lists[i], say(e))
				}
			}
		})
	}
	return func() [][]string {
		reading.Wait()
		return lists
	}
}

// openMany opens watches of f1, as many on each connection as it may have.
func openMany(t *testing.T, l *logger, n int) []*watcher {
	t.Helper()
	watchers := make([]*watcher, n)
	var opening sync.WaitGroup
	for first := 0; first < n; first += most {
		conn := l.dial(t)
		part := watchers[first:min(first+most, n)]
		for i := range part {
			opening.Go(func() {
				var err error
				if part[i], err = openWatch(t.Context(), conn, earliest("f1")); err != nil {
					t.Errorf("watch %d: %v", first+i, err)
				}
			})
		}
		opening.Wait()
		if t.Failed() {
			t.FailNow()
		}
		part[0].conn = conn
	}
	return watchers
}

// TestWakeAll covers row 100: of very many idle watchers on few connections each receives the one event that comes.
func TestWakeAll(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l, goroutines := d.settled(t, "--max-in-flight", strconv.Itoa(*idleWatchers+100))
	resident := l.metric(t, "process_resident_memory_bytes")
	watchers := openMany(t, l, *idleWatchers)
	t.Logf("%d idle watchers take %.1f KiB each", len(watchers),
		(l.metric(t, "process_resident_memory_bytes")-resident)/1024/float64(len(watchers)))
	var woken sync.WaitGroup
	took := make([]time.Duration, len(watchers))
	begin := make(chan time.Time, len(watchers))
	for i, w := range watchers {
		woken.Go(func() {
			m, err := w.recv()
			if took[i] = time.Since(<-begin); err != nil || m.GetEvent().GetSubmission().GetId() != "s1" {
				t.Errorf("watcher %d received %v, %v, want s1", i, m, err)
			}
		})
	}
	now := time.Now()
	for range watchers {
		begin <- now
	}
	d.mustDeliver(t, l, "s1")
	woken.Wait()
	slices.Sort(took)
	t.Logf("from before the delivery to the event: p50 %v, p99 %v, last %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if last := took[len(took)-1]; last > 10*time.Second {
		t.Errorf("the last watcher received the event after %v, want at most 10s", last)
	}
	for _, w := range slices.Backward(watchers) {
		w.close()
	}
	d.checkAfter(t, l, goroutines)
}
