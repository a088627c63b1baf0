package bench

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// Names of the servers whose streams are idle, and of what is measured of them.
const (
	nameStreams = "grpc-go, bare"

	idleAnonymous = "anonymous KiB per watch"
	idleResident  = "resident KiB per watch"
	idleInUse     = "heap and stacks in use, KiB per watch"
	wakeMedian    = "all woken by one event: p50 ms"
	wakeTail      = "p99 ms"
	wakeLast      = "last ms"
)

// idle is how many watches are idle, on connections with so many each.
type idle struct {
	*field

	watches, each int
	event         []byte // as tallyd hands it out
}

// lively makes the collector run when garbage is a quarter of what lives: what lives is in question, not what is left for later.
var lively = []string{"GOGC=25"}

// TestEventLogIdle compares what an idle watch takes of tallyd's memory with what an idle stream takes of a bare server's, and how long
// both need to wake all of them by one event. The watchers are in a process of their own. Without rounds it proves with few that it works.
func TestEventLogIdle(t *testing.T) {
	s := &idle{field: newLogField(t), watches: 200, each: 100}
	if *rounds > 0 {
		s.watches, s.each = 10_000, mostStreams
	}
	s.event = s.sample(t)
	x := &sheet{
		title:      fmt.Sprintf("%d idle watches, %d on each connection", s.watches, s.each),
		candidates: []string{nameTallyd, nameStreams},
		figures:    []string{idleInUse, idleAnonymous, idleResident, wakeMedian, wakeTail, wakeLast},
	}
	x.fill(t, s.field, paceFor(*rounds), func(candidate string, note put) error { return s.turn(t, candidate, note) })
	for _, name := range x.candidates {
		x.wantAll(t, name, wakeMedian, wakeTail, wakeLast)
	}
	x.write(reportTo(), x.idleGoals())
	if *rounds > 0 {
		s.asServed(t)
	}
}

func (x *sheet) idleGoals() []goal {
	beside := func(figure string) estimate { return x.against(nameTallyd, figure, nameStreams, figure, ratio) }
	return []goal{
		{"in use for a watch", "KiB", x.of(nameTallyd, idleInUse), 14, false},
		{"anonymous for a watch", "KiB", x.of(nameTallyd, idleAnonymous), 14, false},
		{"in use, tallyd to bare", "x", beside(idleInUse), 1.25, false},
		{"anonymous, tallyd to bare", "x", beside(idleAnonymous), 1.25, false},
		{"wake all, p99", "ms", x.of(nameTallyd, wakeTail), 0, false},
		{"wake all, p99, tallyd to bare", "x", beside(wakeTail), 0, false},
	}
}

// serve starts one of the servers.
func (s *idle) serve(t *testing.T, candidate string, env []string) *logger {
	t.Helper()
	if candidate == nameStreams {
		return s.bare(t, env)
	}
	return s.keep(t, t.TempDir(), env, "--max-in-flight", "20000")
}

// send has a server hand out an event.
func (s *idle) send(t *testing.T, l *logger, candidate, id string) error {
	t.Helper()
	if candidate == nameStreams {
		return l.publish(s.event)
	}
	hooks, err := l.hooks()
	if err != nil {
		return err
	}
	post, conn, err := newPoster(hooks)
	if err != nil {
		return err
	}
	defer conn.Close()
	return post(newRecord(formOf(0), id))
}

func (s *idle) turn(t *testing.T, candidate string, note put) error {
	t.Helper()
	l := s.serve(t, candidate, lively)
	defer l.stop()
	c, err := s.grow(t, l, note)
	if c != nil {
		defer c.stop()
	}
	if err != nil {
		return err
	}
	sent := time.Now()
	if err := s.send(t, l, candidate, "s1"); err != nil {
		return err
	}
	woken, err := c.since(sent)
	if err != nil {
		return err
	}
	slices.Sort(woken)
	note(wakeMedian, percentile(woken, 0.5)/1e3)
	note(wakeTail, percentile(woken, 0.99)/1e3)
	note(wakeLast, woken[len(woken)-1]/1e3)
	return nil
}

// grow opens watches and notes by how much a server has grown for each.
func (s *idle) grow(t *testing.T, l *logger, note put) (*watchers, error) {
	t.Helper()
	if err := s.warm(t, l); err != nil {
		return nil, err
	}
	before, err := l.settled(0)
	if err != nil {
		return nil, err
	}
	c, err := s.gather(t, l.address, s.watches, s.each)
	if err != nil {
		return c, err
	}
	after, err := l.settled(0)
	s.noteGrowth(before, after, note)
	return c, err
}

// warm opens a watch and closes it: what the first one costs, others do not.
func (s *idle) warm(t *testing.T, l *logger) error {
	t.Helper()
	first, err := s.gather(t, l.address, 1, 1)
	first.stop()
	return err
}

func (s *idle) noteGrowth(before, after memory, note put) {
	each := func(after, before float64) float64 { return (after - before) * 1024 / float64(s.watches) }
	note(idleAnonymous, each(after.anonymous, before.anonymous))
	note(idleResident, each(after.resident, before.resident))
	note(idleInUse, each(after.inUse, before.inUse))
}

// memory is what a process holds, in MiB.
type memory struct{ anonymous, resident, inUse float64 }

// settled looks at the memory of a server when its collector has run twice, and the kernel has back what the collector found. Nobody can
// order a collection from outside: the looks themselves are the garbage that brings one about, unless so much time passes between
// them that the runtime collects by itself, which it does every two minutes.
func (l *logger) settled(pause time.Duration) (memory, error) {
	const collections, heap, stacks = "go_gc_duration_seconds_count", "go_memstats_heap_inuse_bytes", "go_memstats_stack_inuse_bytes"
	m, first := memory{inUse: math.Inf(1)}, -1.0
	for begin := time.Now(); ; <-time.After(pause) {
		values, err := l.metrics(collections, heap, stacks)
		if err != nil {
			return m, err
		}
		if first < 0 {
			first = values[collections]
		}
		if values[collections] > first {
			m.inUse = min(m.inUse, (values[heap]+values[stacks])/(1<<20))
		}
		if values[collections] >= first+2 {
			break
		}
		if time.Since(begin) > 6*limit {
			return m, fmt.Errorf("the collector does not run")
		}
	}
	m.anonymous, m.resident = l.still("RssAnon"), l.still("VmRSS")
	return m, nil
}

// still returns a figure of a process's memory when it falls no more.
func (l *logger) still(name string) float64 {
	now := l.memory(name)
	for range 50 {
		<-time.After(200 * time.Millisecond)
		before := now
		if now = l.memory(name); now > before*0.995 {
			break
		}
	}
	return now
}

// sample returns an event as tallyd hands it out, for the bare server to do the same.
func (s *idle) sample(t *testing.T) []byte {
	t.Helper()
	l := s.keep(t, t.TempDir(), nil)
	defer l.stop()
	if err := s.send(t, l, nameTallyd, "sample"); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, l.address)
	defer conn.Close()
	stream, err := tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(t.Context(), earliest(formOf(0)))
	for err == nil {
		var m *tallydv1.WatchSubmissionsResponse
		if m, err = stream.Recv(); m.GetEvent() != nil {
			event, _ := proto.Marshal(m)
			return event
		}
	}
	t.Fatal(err)
	return nil
}

// asServed looks at both servers once with the collector's own habits, which takes minutes: without work it runs every other minute.
func (s *idle) asServed(t *testing.T) {
	t.Helper()
	x := &sheet{candidates: []string{nameTallyd, nameStreams}, figures: []string{idleInUse, idleAnonymous, idleResident}}
	var servers []*logger
	for _, name := range x.candidates {
		servers = append(servers, s.serve(t, name, nil))
		if err := s.warm(t, servers[len(servers)-1]); err != nil {
			t.Fatal(err)
		}
	}
	before := settledAll(t, servers)
	for _, l := range servers {
		if _, err := s.gather(t, l.address, s.watches, s.each); err != nil {
			t.Fatal(err)
		}
	}
	after, e := settledAll(t, servers), entries{values: map[lane]float64{}}
	for i, name := range x.candidates {
		s.noteGrowth(before[i], after[i], func(figure string, value float64) { e.values[lane{name, figure}] = value })
	}
	x.rounds = []entries{e}
	fmt.Fprintln(reportTo(), "\n## Once, with the collector as each has it, after two collections that nothing but time brought about")
	x.writeMedians(reportTo())
}

// settledAll looks at servers that are left alone, all at the same time.
func settledAll(t *testing.T, servers []*logger) []memory {
	t.Helper()
	found := make([]memory, len(servers))
	var group errgroup.Group
	for i, l := range servers {
		group.Go(func() (err error) {
			found[i], err = l.settled(5 * time.Second)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return found
}
