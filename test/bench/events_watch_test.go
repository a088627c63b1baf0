package bench

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Names of the ways from an event to those who watch, and of what is measured of them.
const (
	nameMany     = "tallyd, all watchers"
	nameOne      = "tallyd, one watcher"
	nameManyBare = "grpc-go, bare, all streams, nothing stored"
	nameConsumer = "JetStream, sync always, one ordered consumer"

	watchMedian = "p50 µs"
	watchTail   = "p99 µs"
	watchFirst  = "first watcher of an event: p50 µs"
	watchLast   = "last watcher of an event: p50 µs"
	watchCPU    = "CPU µs of the server per watcher and event"
)

// fan is a round's load: events, one after the other, each when all have had the one before.
type fan struct {
	idle

	events int
}

// source is a server that hands out events, and those who receive them.
type source struct {
	server *process
	to     *watchers
	send   writer
	close  []func()
}

// TestEventLogWatch compares the way of an event from just before it is sent to its receipt in another process: through tallyd, which has
// made it safe before, through JetStream, and through a bare server that is handed the same bytes. Without rounds it proves with few watchers
// that it works, and always that each watcher receives each event once.
func TestEventLogWatch(t *testing.T) {
	s := &fan{idle{field: newLogField(t), watches: 20, each: 10}, 3}
	if *rounds > 0 {
		s.watches, s.each, s.events = 1000, 100, 100
	}
	s.event = s.sample(t)
	x := &sheet{
		title:      fmt.Sprintf("From an event to %d watchers of one form, %d on each connection", s.watches, s.each),
		candidates: []string{nameMany, nameOne, nameManyBare, nameConsumer, nameFile},
		figures:    []string{watchMedian, watchTail, watchFirst, watchLast, watchCPU},
	}
	x.fill(t, s.field, paceFor(*rounds), func(candidate string, note put) error { return s.turn(t, candidate, note) })
	for _, name := range x.candidates {
		x.wantAll(t, name, watchMedian, watchTail)
	}
	x.write(reportTo(), []goal{
		{"raw append and fsync, p50", "µs", x.of(nameFile, watchMedian), 0, false},
		{"all watchers, p50 over raw append and fsync", "µs", x.against(nameMany, watchMedian, nameFile, watchMedian, difference), 200, false},
		{"one watcher, p50 over raw append and fsync", "µs", x.against(nameOne, watchMedian, nameFile, watchMedian, difference), 0, false},
		{"one watcher, p50 over JetStream's consumer", "µs", x.against(nameOne, watchMedian, nameConsumer, watchMedian, difference), 0, false},
		{"all watchers, p50, tallyd to bare", "x", x.against(nameMany, watchMedian, nameManyBare, watchMedian, ratio), 0, false},
		{"CPU per watcher and event", "µs", x.of(nameMany, watchCPU), 3, false},
		{"CPU per watcher and event, bare", "µs", x.of(nameManyBare, watchCPU), 0, false},
		{"CPU, tallyd to bare", "x", x.against(nameMany, watchCPU, nameManyBare, watchCPU, ratio), 0, false},
	})
}

// open starts a source with its watchers. What it has started before an error is closed with it.
func (s *fan) open(t *testing.T, candidate, dir string) (*source, error) {
	t.Helper()
	if candidate == nameConsumer {
		return s.openConsumer(t, dir)
	}
	if candidate == nameManyBare {
		l := s.bare(t, nil)
		return s.watched(t, l, s.watches, func(record) error { return l.publish(s.event) })
	}
	l := s.keep(t, dir, nil)
	hooks, err := l.hooks()
	if err != nil {
		return &source{}, err
	}
	post, conn, err := newPoster(hooks)
	if err != nil {
		return &source{}, err
	}
	count := map[string]int{nameMany: s.watches, nameOne: 1}[candidate]
	from, err := s.watched(t, l, count, post)
	from.close = append(from.close, func() { _ = conn.Close() })
	return from, err
}

func (s *fan) watched(t *testing.T, l *logger, count int, send writer) (*source, error) {
	t.Helper()
	c, err := s.gather(t, l.address, count, s.each)
	return &source{l.process, c, send, []func(){l.stop, c.stop}}, err
}

func (s *fan) openConsumer(t *testing.T, dir string) (*source, error) {
	t.Helper()
	p, conn, _, err := s.jetStream(t, dir)
	if err != nil {
		return &source{}, err
	}
	publish, err := publisher(t.Context(), conn)
	if err != nil {
		return &source{}, err
	}
	c, err := s.consumer(t, p.address)
	return &source{p, c, publish, []func(){p.stop, conn.Close, c.stop}}, err
}

func (s *fan) turn(t *testing.T, candidate string, note put) error {
	t.Helper()
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	if candidate == nameFile {
		return s.raw(t, dir, note)
	}
	from, err := s.open(t, candidate, dir)
	defer func() {
		for _, end := range slices.Backward(from.close) {
			end()
		}
	}()
	if err != nil {
		return err
	}
	if _, err := from.fan("warm"); err != nil { // of no account
		return err
	}
	var all, first, last []float64
	before := from.server.cpu()
	for i := range s.events {
		latencies, err := from.fan(strconv.Itoa(i))
		if err != nil {
			return err
		}
		all, first, last = append(all, latencies...), append(first, latencies[0]), append(last, latencies[len(latencies)-1])
	}
	note(watchCPU, micros(from.server.cpu()-before)/float64(len(all)))
	slices.Sort(all)
	note(watchMedian, percentile(all, 0.5))
	note(watchTail, percentile(all, 0.99))
	note(watchFirst, median(first))
	note(watchLast, median(last))
	return nil
}

// fan sends an event and returns how long it took to each watcher, sorted, in µs.
func (s *source) fan(id string) ([]float64, error) {
	r := newRecord(formOf(0), id)
	sent := time.Now()
	if err := s.send(r); err != nil {
		return nil, err
	}
	latencies, err := s.to.since(sent)
	slices.Sort(latencies)
	return latencies, err
}

// raw is the floor of all that must be safe before it is handed out.
func (s *fan) raw(t *testing.T, dir string, note put) error {
	t.Helper()
	file, err := openFile(dir, 1, false)
	if err != nil {
		return err
	}
	defer file.close()
	records := newRecords("raw", max(s.events, 100))
	latencies, _, err := writeAll(t.Context(), file.writers, len(records), at(records))
	note(watchMedian, percentile(latencies, 0.5))
	note(watchTail, percentile(latencies, 0.99))
	return errors.Join(err, file.wantCount(len(records)))
}
