package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// Names of the starts that are compared, and of what is timed of each, from the start of the process.
const (
	startStopped = "with events, stopped in order before"
	startKilled  = "with events, killed before"
	startEmpty   = "without events"

	untilLine    = "ready line, ms"
	untilServing = "SERVING, ms"
	untilEvent   = "first event to a watcher, ms"
	untilTaken   = "first delivery acknowledged, ms"
	startMemory  = "resident then, MiB"
)

// starts is a log that tallyd is started on again and again.
type starts struct {
	*field

	dir   string
	count int // events that were acknowledged
}

// TestEventLogStart starts tallyd on a log with many events, after it was stopped and after it was killed, and on one with none. Without
// rounds it proves on a short log that it works, and always that no event is lost.
func TestEventLogStart(t *testing.T) {
	p, events := paceFor(*rounds), 500
	if *rounds > 0 {
		events = 100_000
	}
	s := &starts{field: newLogField(t), dir: t.TempDir()}
	s.fillLog(t, events)
	x := &sheet{
		title:      fmt.Sprintf("Start on a log of %d events of %d bytes", events, recordBytes),
		candidates: []string{startStopped, startKilled, startEmpty},
		figures:    []string{untilLine, untilServing, untilEvent, untilTaken, startMemory},
	}
	x.fill(t, s.field, p, func(candidate string, note put) error { return s.turn(t, candidate, note) })
	s.wantNoneLost(t)
	for _, name := range x.candidates {
		x.wantAll(t, name, untilLine, untilServing, untilTaken)
	}
	x.wantAll(t, startStopped, untilEvent)
	x.wantAll(t, startKilled, untilEvent)
	x.write(reportTo(), []goal{
		{"start to SERVING, stopped before", "ms", x.of(startStopped, untilServing), 100, false},
		{"start to SERVING, killed before", "ms", x.of(startKilled, untilServing), 100, false},
		{"start to SERVING, no events", "ms", x.of(startEmpty, untilServing), 0, false},
		{"stopped before, over no events", "ms", x.against(startStopped, untilServing, startEmpty, untilServing, difference), 0, false},
		{"killed before, over no events", "ms", x.against(startKilled, untilServing, startEmpty, untilServing, difference), 0, false},
	})
}

// fillLog delivers events, many at a time.
func (s *starts) fillLog(t *testing.T, events int) {
	t.Helper()
	l := s.keep(t, s.dir, nil)
	defer l.stop()
	began := time.Now()
	if err := s.deliver(t, l, events, logWriters); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(reportTo(), "\n%d events of %d bytes delivered in %.1f s.\n", events, recordBytes, time.Since(began).Seconds())
}

// deliver delivers events that the log does not have.
func (s *starts) deliver(t *testing.T, l *logger, events, writers int) error {
	t.Helper()
	hooks, err := l.hooks()
	if err != nil {
		return err
	}
	ways, closeAll, err := posters(hooks, writers)
	defer closeAll()
	if err != nil {
		return err
	}
	_, _, err = writeAll(t.Context(), ways, events, func(i int) record { return newRecord(formOf(i), "s"+strconv.Itoa(s.count+i)) })
	if err == nil {
		s.count += events
	}
	return err
}

// turn has a tallyd work on a log, ends it one way or the other, and times the next.
func (s *starts) turn(t *testing.T, candidate string, note put) error {
	t.Helper()
	dir := s.dir
	if candidate == startEmpty {
		dir = t.TempDir()
	}
	before := s.keep(t, dir, nil)
	if candidate != startEmpty {
		if err := s.deliver(t, before, logForms, 1); err != nil {
			return err
		}
	}
	if candidate == startKilled {
		before.kill()
	}
	before.stop()
	l := s.keep(t, dir, nil)
	defer l.stop()
	note(untilLine, ms(l.ready))
	conn := dial(t, l.address)
	defer conn.Close()
	if err := untilHealthy(t.Context(), conn); err != nil {
		return err
	}
	note(untilServing, ms(time.Since(l.began)))
	if candidate == startEmpty {
		return (&starts{field: s.field}).work(t, l, note)
	}
	if err := untilFirst(t.Context(), conn); err != nil {
		return err
	}
	note(untilEvent, ms(time.Since(l.began)))
	return s.work(t, l, note)
}

// untilHealthy waits until a server says that it serves.
func untilHealthy(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		resp, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err != nil || resp.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return err
		}
	}
}

// untilFirst waits for the first event of a log.
func untilFirst(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stream, err := tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(ctx, earliest(formOf(0)))
	for err == nil {
		var m *tallydv1.WatchSubmissionsResponse
		if m, err = stream.Recv(); m.GetEvent().GetSequence() == 1 {
			return nil
		}
	}
	return err
}

// work delivers one event more, and looks at the memory.
func (s *starts) work(t *testing.T, l *logger, note put) error {
	t.Helper()
	if err := s.deliver(t, l, 1, 1); err != nil {
		return err
	}
	note(untilTaken, ms(time.Since(l.began)))
	note(startMemory, l.memory("VmRSS"))
	return nil
}

// wantNoneLost fails unless the log holds as many events as were acknowledged.
func (s *starts) wantNoneLost(t *testing.T) {
	t.Helper()
	l := s.keep(t, s.dir, nil)
	defer l.stop()
	conn, count := dial(t, l.address), 0
	for i := range logForms {
		n, err := countEvents(t.Context(), conn, formOf(i))
		if err != nil {
			t.Fatal(err)
		}
		count += n
	}
	if count != s.count {
		t.Errorf("the log holds %d events, want the %d that were acknowledged", count, s.count)
	}
}

// countEvents reads the log of a form.
func countEvents(ctx context.Context, conn *grpc.ClientConn, form string) (n int, err error) {
	stream, err := tallydv1.NewSubmissionEventServiceClient(conn).ReplaySubmissionEvents(ctx, &tallydv1.ReplaySubmissionEventsRequest{FormId: form})
	if err != nil {
		return 0, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if m.GetEvent().GetSubmission() != nil {
			n++
		}
	}
}
