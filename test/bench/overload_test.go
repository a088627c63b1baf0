package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/statuspage"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	// slots and slotTime are a Tally that works on so many requests at once: at most 800 a second.
	slots    = 16
	slotTime = 20 * time.Millisecond
	// overloadCap is four times what that Tally works on, so that it never waits for us, and a call at most 80 ms for it.
	overloadCap = 64
	// overloadDeadline is how long a caller waits.
	overloadDeadline = 250 * time.Millisecond
	overloadConns    = 8
)

// slow is a Tally with a few slots; who finds none waits.
type slow struct {
	fixed

	free chan struct{}
}

func (s slow) Call(ctx context.Context, req, resp proto.Message, options ...tally.Option) error {
	select {
	case s.free <- struct{}{}:
		defer func() { <-s.free }()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(slotTime):
		return s.fixed.Call(ctx, req, resp, options...)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func serveCapped(listener net.Listener) error   { return serveSlow(listener, overloadCap) }
func serveUncapped(listener net.Listener) error { return serveSlow(listener, 1<<40) }

// serveSlow is tallyd's chain in front of the slow Tally.
func serveSlow(listener net.Listener, limit int) error {
	answers, err := newFixed()
	if err != nil {
		return err
	}
	config := service.DefaultConfig()
	config.MaxInFlight, config.Log = limit, slog.New(slog.NewJSONHandler(forget{}, nil))
	config.Meter, config.Observe = meter(), statuspage.NewRecorder().Observe
	return service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, slow{answers, make(chan struct{}, slots)}, service.HandlerConfig{})
	}).Serve(listener)
}

// shower is what became of calls that came at a given pace, whatever became of those before.
type shower struct {
	offered float64         // calls a second
	good    float64         // successes a second
	odd     []string        // ends that are neither a success, a refusal nor the deadline
	late    int             // calls that ran into their deadline
	refused []time.Duration // from the moment at which the call was to start
	alone   []time.Duration // from the moment at which it did
	cpu     float64         // µs of the server's for a call
}

// pour offers calls at a pace for a while. The generator never waits for answers, so that a slow server is not spared.
func pour(ctx context.Context, conns []*grpc.ClientConn, server *process, perSecond float64, during time.Duration) shower {
	var mu sync.Mutex
	result, good := shower{offered: perSecond}, 0
	one := func(intended time.Time, conn *grpc.ClientConn) {
		within, cancel := context.WithTimeout(ctx, overloadDeadline)
		defer cancel()
		var trailer metadata.MD
		sent := time.Now()
		_, err := tallydv1.NewFormServiceClient(conn).GetForm(within, &tallydv1.GetFormRequest{FormId: "f1"}, grpc.Trailer(&trailer))
		end := time.Now()
		mu.Lock()
		defer mu.Unlock()
		switch code := status.Code(err); {
		case err == nil:
			good++
		case code == codes.Unavailable && slices.Equal(trailer.Get("tallyd-reason"), []string{"SERVER_OVERLOADED"}):
			result.refused = append(result.refused, end.Sub(intended))
			result.alone = append(result.alone, end.Sub(sent))
		case code == codes.DeadlineExceeded:
			result.late++
		default:
			result.odd = append(result.odd, err.Error())
		}
	}
	total := int(perSecond * during.Seconds())
	before, begin := server.cpu(), time.Now()
	var running sync.WaitGroup
	for i := range total {
		intended := begin.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		if wait := time.Until(intended); wait > 0 {
			<-time.After(wait)
		}
		running.Go(func() { one(intended, conns[i%len(conns)]) })
	}
	running.Wait()
	result.good = float64(good) / max(during, time.Since(begin)-overloadDeadline).Seconds()
	result.cpu = micros(server.cpu()-before) / float64(total)
	slices.Sort(result.refused)
	slices.Sort(result.alone)
	return result
}

// TestOverloadSideBySide covers row 87: it offers what Tally can take, and ten times that, to tallyd with its cap on the work in flight
// and without. Without rounds it proves that it works: what is refused is refused as it should be.
func TestOverloadSideBySide(t *testing.T) {
	during, turns := 300*time.Millisecond, 1
	output := io.Discard
	if *rounds > 0 {
		during, turns, output = 3*time.Second, min(*rounds, 5), io.Writer(os.Stdout)
	}
	const peak = slots * float64(time.Second) / float64(slotTime)
	fmt.Fprintf(output, "%s\n\nTally can take %.0f calls a second; a caller waits %v.\n\n", machine(), peak, overloadDeadline)
	fmt.Fprint(output, "| server | offered/s | good/s | of its peak | late | refused | refusal p50 ms | p99 ms | from its own start p50 | p99 | CPU µs/call |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for range turns {
		for _, role := range []string{"capped", "uncapped"} {
			server := start(t, self(t, role))
			conns := dialAll(t, server.address)
			pour(t.Context(), conns, server, peak/2, during/3) // opens the connections; of no account
			best := 0.0
			for _, load := range []float64{1, 1.5, 10} {
				s := pour(t.Context(), conns, server, load*peak, during)
				best = max(best, s.good)
				s.write(output, role, best)
				s.check(t, role, load)
			}
			server.stop()
		}
	}
}

func (s shower) write(w io.Writer, role string, best float64) {
	fmt.Fprintf(w, "| %s | %.0f | %.0f | %.1f %% | %d | %d | %s | %s | %s | %s | %.0f |\n", role, s.offered, s.good, 100*s.good/best, s.late, len(s.refused),
		millis(s.refused, 0.5), millis(s.refused, 0.99), millis(s.alone, 0.5), millis(s.alone, 0.99), s.cpu)
}

func millis(sorted []time.Duration, share float64) string {
	if len(sorted) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", micros(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))])/1e3)
}

// check demands the ends that are due: under ten times the load some succeed and most are refused, and nothing else happens.
func (s shower) check(t *testing.T, role string, load float64) {
	t.Helper()
	if len(s.odd) > 0 {
		t.Errorf("%s under %.1f times the load: %d odd ends, such as %s", role, load, len(s.odd), s.odd[0])
	}
	if role == "capped" && load == 10 && (s.good == 0 || len(s.refused) == 0) {
		t.Errorf("%s under %.1f times the load: %.0f good a second, %d refused, want both", role, load, s.good, len(s.refused))
	}
}

func dialAll(t *testing.T, address string) []*grpc.ClientConn {
	t.Helper()
	var conns []*grpc.ClientConn
	for range overloadConns {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
	}
	return conns
}
