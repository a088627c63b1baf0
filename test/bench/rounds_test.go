package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// pace says how long and how hard each candidate runs in a round.
type pace struct {
	rounds   int           // steady ones that are wanted
	control  time.Duration // of the echo after each candidate
	alone    time.Duration // with one call in flight
	together time.Duration // with many
	inFlight int
	starts   int           // of the process
	settle   time.Duration // from the start to the look at its memory
	page     time.Duration // of each way to translate a page
	runs     int           // of each way, to count allocations
	patience time.Duration // for turns that others disturbed, in all
}

// paceFor returns the pace of a real comparison, or for no rounds at all the shortest that goes through everything.
func paceFor(rounds int) pace {
	if rounds == 0 {
		short := 5 * time.Millisecond
		return pace{rounds: 1, control: short, alone: short, together: short, inFlight: 4, starts: 1, page: short, runs: 1}
	}
	return pace{
		rounds: rounds, control: 60 * time.Millisecond, alone: 300 * time.Millisecond, together: 300 * time.Millisecond, inFlight: 64,
		starts: 15, settle: 2 * time.Second, page: 250 * time.Millisecond, runs: 20, patience: time.Minute,
	}
}

// tolerance is how far the control of a round may be from the median before the round is refused.
const tolerance = 0.15

// lane is one candidate doing one operation.
type lane struct{ candidate, operation string }

// sample is what a lane did in one round.
type sample struct {
	p50, p99  float64 // µs, with one call in flight
	perSecond float64 // calls, with many in flight
	caller    float64 // µs of processor time per call, with many in flight: the caller's
	between   float64 // and that of the process between it and the upstream
}

// round is every lane once, in random order, each before a look at the control.
type round struct {
	control float64 // µs for an echo, the mean of the looks
	lanes   map[lane]sample
}

// run makes rounds until enough of them are steady, or half as many again were made.
func (f *field) run(t *testing.T, p pace) []round {
	t.Helper()
	var rounds []round
	f.patience = p.patience
	if p.rounds > 1 {
		f.round(t, p) // opens the connections and fills the pools; of no account
	}
	for 2*len(rounds) < 3*p.rounds && len(steadyOf(rounds)) < p.rounds {
		rounds = append(rounds, f.round(t, p))
	}
	return rounds
}

func steadyOf(rounds []round) []round {
	controls := make([]float64, len(rounds))
	for i, r := range rounds {
		controls[i] = r.control
	}
	var kept []round
	for _, i := range steady(controls, tolerance) {
		kept = append(kept, rounds[i])
	}
	return kept
}

func (f *field) round(t *testing.T, p pace) round {
	t.Helper()
	type entry struct {
		candidate candidate
		operation operation
	}
	var entries []entry
	for _, c := range f.candidates {
		for _, o := range operations() {
			entries = append(entries, entry{c, o})
		}
	}
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	r := round{lanes: map[lane]sample{}}
	for _, e := range entries {
		used, err := f.undisturbed(f.patience, func() (err error) {
			r.lanes[lane{e.candidate.name, e.operation.name}], err = measure(t.Context(), e.operation.of(e.candidate), e.candidate.between, p)
			return err
		})
		if err != nil {
			t.Fatalf("%s, %s: %v", e.candidate.name, e.operation.name, err)
		}
		f.patience -= used
		control, err := f.control.mean(t.Context(), p.control)
		if err != nil {
			t.Fatal(err)
		}
		r.control += control / float64(len(entries))
	}
	return r
}

func measure(ctx context.Context, do call, between *process, p pace) (sample, error) {
	runtime.GC() // so that nobody pays for the candidate before
	latencies, err := alone(ctx, do, p.alone)
	if err != nil {
		return sample{}, err
	}
	slices.Sort(latencies)
	s := sample{p50: percentile(latencies, 0.50), p99: percentile(latencies, 0.99)}
	ours, theirs := ownCPU(), between.cpu()
	calls, took, err := together(ctx, do, p.together, p.inFlight)
	if err != nil {
		return sample{}, err
	}
	s.caller = micros(ownCPU()-ours) / float64(calls)
	s.between = micros(between.cpu()-theirs) / float64(calls)
	s.perSecond = float64(calls) / took.Seconds()
	return s, nil
}

// alone calls one after the other for a while and returns how long each took, in µs.
func alone(ctx context.Context, do call, long time.Duration) ([]float64, error) {
	latencies := make([]float64, 0, 1<<14)
	for begin := time.Now(); time.Since(begin) < long; {
		at := time.Now()
		if _, err := do(ctx); err != nil {
			return nil, err
		}
		latencies = append(latencies, micros(time.Since(at)))
	}
	return latencies, nil
}

// together keeps a number of calls in flight for a while and returns how many ended, and in which time.
func together(ctx context.Context, do call, long time.Duration, inFlight int) (calls int64, took time.Duration, err error) {
	var count atomic.Int64
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range inFlight {
		group.Go(func() error {
			for time.Since(begin) < long {
				if _, err := do(ctx); err != nil {
					return err
				}
				count.Add(1)
			}
			return nil
		})
	}
	err = group.Wait()
	return count.Load(), time.Since(begin), err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

const (
	echoBytes   = 64
	echoStreams = 8
)

// echo is the control: bytes that a server in another process sends back over TCP. On many connections at once, since that shows
// how much of the machine is ours; one alone shows how fast an idle processor wakes up, which a busy neighbour makes better.
type echo struct{ conns chan net.Conn }

func newEcho(t *testing.T, address string) *echo {
	t.Helper()
	e := &echo{conns: make(chan net.Conn, echoStreams)}
	for range echoStreams {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		e.conns <- conn
	}
	return e
}

// mean returns how long the machine takes for one there and back, in µs.
func (e *echo) mean(ctx context.Context, long time.Duration) (float64, error) {
	calls, took, err := together(ctx, e.call, long, echoStreams)
	return micros(took) / float64(calls), err
}

func (e *echo) call(context.Context) (any, error) {
	conn := <-e.conns
	defer func() { e.conns <- conn }()
	var buffer [echoBytes]byte
	if _, err := conn.Write(buffer[:]); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(conn, buffer[:])
	return nil, err
}
