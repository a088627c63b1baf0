package bench

import (
	"fmt"
	"os"
	"testing"
)

// Names of those who make records safe, and of what is measured of them.
const (
	nameFile      = "append and fsync, one by one, in the test's process"
	nameGroup     = "append and fsync, shared by all that wait, in the test's process"
	nameJetStream = "JetStream, sync always, single publish"
	nameRedis     = "Redis, appendfsync always, SET NX"
	nameReply     = "net/http handler that only replies"

	loneMedian = "1 writer: p50 µs"
	loneTail   = "1 writer: p99 µs"
	crowdRate  = "64 writers: events/s"
	crowdTail  = "64 writers: p99 ms"
	crowdOwn   = "64 writers: CPU µs per event, caller"
	crowdCPU   = "64 writers: CPU µs per event, server"
)

// sink makes records safe.
type sink struct {
	writers []writer
	server  *process            // nil where it is the test itself
	count   func() (int, error) // how many records it has
	close   func()
}

// intake is a round's load.
type intake struct {
	*field

	alone, together []record
	writers         int
	dir             string // of this turn
}

// TestEventLogIntake compares the intake (verify, see whether it is known, fsync, 200) with others that make the same records safe, each
// new and empty in every turn. Without rounds it proves with few records that it works, and always that all have what was acknowledged.
func TestEventLogIntake(t *testing.T) {
	s := &intake{field: newLogField(t), writers: logWriters}
	alone, together := 20, 4*logWriters
	if *rounds > 0 {
		alone, together = 500, 100*logWriters
	}
	s.alone, s.together = newRecords("a", alone), newRecords("t", together)
	x := &sheet{
		title:      fmt.Sprintf("Intake of %d records of %d bytes by one writer, then of %d by %d", alone, recordBytes, together, s.writers),
		candidates: []string{nameTallyd, nameFile, nameGroup, nameJetStream, nameReply},
		figures:    []string{loneMedian, loneTail, crowdRate, crowdTail, crowdOwn, crowdCPU},
	}
	if redis := redisServer(); redis != "" {
		x.candidates = append(x.candidates, nameRedis)
	} else {
		fmt.Fprintf(reportTo(), "\nThere is no %s: redis-server is missing.\n", nameRedis)
	}
	x.fill(t, s.field, paceFor(*rounds), func(candidate string, note put) error { return s.turn(t, candidate, note) })
	for _, name := range x.candidates {
		x.wantAll(t, name, loneMedian, loneTail, crowdRate, crowdTail)
	}
	x.write(reportTo(), x.intakeGoals())
}

func (s *sheet) intakeGoals() []goal {
	goals := []goal{
		{"1 writer, p50: raw append and fsync", "µs", s.of(nameFile, loneMedian), 0, false},
		{"1 writer, p50: tallyd to raw append and fsync", "x", s.against(nameTallyd, loneMedian, nameFile, loneMedian, ratio), 1.6, false},
		{"1 writer, p50: tallyd over raw and a handler that only replies", "µs", s.overParts(), 0, false},
		{"64 writers: tallyd", "events/s", s.of(nameTallyd, crowdRate), 10_000, true},
		{"64 writers: tallyd, p99", "ms", s.of(nameTallyd, crowdTail), 0, false},
	}
	for _, peer := range s.candidates[1:] {
		goals = append(goals, goal{"64 writers, events/s: tallyd to " + peer, "x", s.against(nameTallyd, crowdRate, peer, crowdRate, ratio), 0, true})
	}
	return goals
}

// overParts is what tallyd takes beyond the two parts of which an intake cannot be without: the disk's, and HTTP's.
func (s *sheet) overParts() estimate {
	parts := paired(s.values(nameFile, loneMedian), s.values(nameReply, loneMedian), func(a, b float64) float64 { return a + b })
	return overRounds(paired(s.values(nameTallyd, loneMedian), parts, difference))
}

// open starts a candidate that has nothing yet.
func (s *intake) open(t *testing.T, candidate string) (*sink, error) {
	t.Helper()
	switch candidate {
	case nameFile:
		return openFile(s.dir, s.writers, false)
	case nameGroup:
		return openFile(s.dir, s.writers, true)
	case nameJetStream:
		return s.openJetStream(t)
	case nameRedis:
		return s.openRedis(t)
	case nameReply:
		return s.openReply(t)
	default:
		return s.openTallyd(t)
	}
}

func (s *intake) turn(t *testing.T, candidate string, note put) error {
	t.Helper()
	s.dir = t.TempDir()
	defer os.RemoveAll(s.dir)
	to, err := s.open(t, candidate)
	if err != nil {
		return err
	}
	defer to.close()
	return s.load(t, to, note)
}

// load has the records written, by one writer and then by all.
func (s *intake) load(t *testing.T, to *sink, note put) error {
	t.Helper()
	warm := newRecords("w", 2*len(to.writers))
	if _, _, err := writeAll(t.Context(), to.writers, len(warm), at(warm)); err != nil {
		return err
	}
	latencies, _, err := writeAll(t.Context(), to.writers[:1], len(s.alone), at(s.alone))
	if err != nil {
		return err
	}
	note(loneMedian, percentile(latencies, 0.5))
	note(loneTail, percentile(latencies, 0.99))
	ours, theirs := ownCPU(), to.server.cpu()
	latencies, took, err := writeAll(t.Context(), to.writers, len(s.together), at(s.together))
	if err != nil {
		return err
	}
	n := float64(len(s.together))
	note(crowdOwn, micros(ownCPU()-ours)/n)
	note(crowdCPU, micros(to.server.cpu()-theirs)/n)
	note(crowdRate, n/took.Seconds())
	note(crowdTail, percentile(latencies, 0.99)/1e3)
	return to.wantCount(len(warm) + len(s.alone) + len(s.together))
}

func at(records []record) func(int) record { return func(i int) record { return records[i] } }

// wantCount fails unless a candidate has exactly what it acknowledged: else the comparison would mean nothing.
func (s *sink) wantCount(want int) error {
	got, err := s.count()
	if err == nil && got != want {
		err = fmt.Errorf("%d records are there, want the %d that were acknowledged", got, want)
	}
	return err
}

// openTallyd is a tallyd with an empty log.
func (s *intake) openTallyd(t *testing.T) (*sink, error) {
	t.Helper()
	l := s.keep(t, s.dir, nil)
	hooks, err := l.hooks()
	if err != nil {
		return nil, err
	}
	ways, closeAll, err := posters(hooks, s.writers)
	to := &sink{writers: ways, server: l.process, close: func() {
		closeAll()
		l.stop()
	}}
	to.count = func() (n int, err error) {
		conn := dial(t, l.address)
		defer conn.Close()
		for i := range logForms {
			of, err := countEvents(t.Context(), conn, formOf(i))
			if err != nil {
				return n, err
			}
			n += of
		}
		return n, nil
	}
	return to, err
}
