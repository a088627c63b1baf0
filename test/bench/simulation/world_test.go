package simulation

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

var (
	hours = flag.Float64("hours", 0, "virtual hours of each run; without any, some minutes prove that it works")
	seeds = flag.Int("seeds", 20, "runs of each kind, when there are hours")
)

// scale is how long runs are and how many there are of each kind.
type scale struct {
	length time.Duration
	seeds  int
	long   bool // the figures are worth publishing
}

// scaleFor returns what the flags ask for, or without hours so many minutes.
func scaleFor(minutes int) scale {
	if *hours <= 0 {
		return scale{time.Duration(minutes) * minute, 2, false}
	}
	return scale{time.Duration(*hours * float64(time.Hour)), *seeds, true}
}

// request is what became of one call. Times count from the beginning of the run.
type request struct {
	caller   int // in the order of the run's callers
	asked    time.Duration
	sent     time.Duration
	answered time.Duration // or refused
	refused  bool
}

func (r request) waited() time.Duration { return r.sent - r.asked }

// arrival is when the request reaches Tally.
func (r request) arrival() time.Duration { return r.sent + (r.answered-r.sent)/2 }

// trip is how long the way to Tally and back takes.
type trip struct {
	name string
	of   func(*rand.Rand) time.Duration
}

func always(d time.Duration) trip {
	return trip{d.String(), func(*rand.Rand) time.Duration { return d }}
}

// between is evenly distributed.
func between(low, high time.Duration) trip {
	return trip{low.String() + " to " + high.String(), func(r *rand.Rand) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }}
}

func trips() []trip {
	ms := time.Millisecond
	return []trip{always(20 * ms), always(100 * ms), always(600 * ms), always(1500 * ms), randomTrip()}
}

func randomTrip() trip { return between(20*time.Millisecond, 1500*time.Millisecond) }

// world is one run: callers and the candidate that they ask.
type world struct {
	take    take
	trip    trip
	seed    uint64
	callers []quota.Caller
	begin   time.Time
	length  time.Duration

	calls sync.WaitGroup
	mu    sync.Mutex
	seen  []request // those that were sent or refused
}

// run lets the callers do what demand says for so long, and returns what became of the calls that were sent or refused in that time.
func run(t *testing.T, c candidate, w *world, demand func(context.Context, *world)) []request {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w.begin, w.take = time.Now(), c.start(ctx)
		demand(ctx, w)
		time.Sleep(w.length)
		cancel()
		w.calls.Wait()
	})
	return w.seen
}

// rand returns a source of its own for each index of the run.
func (w *world) rand(index int) *rand.Rand { return rand.New(rand.NewPCG(w.seed, uint64(index))) }

// call makes one call and says whether it was sent.
func (w *world) call(ctx context.Context, caller int, r *rand.Rand) bool {
	done := request{caller: caller, asked: time.Since(w.begin)}
	answered, err := w.take(ctx, w.callers[caller])
	if done.sent = time.Since(w.begin); err != nil {
		done.answered, done.refused = done.sent, true
	} else {
		time.Sleep(w.trip.of(r))
		answered()
		done.answered = time.Since(w.begin)
	}
	if done.sent < w.length {
		w.mu.Lock()
		w.seen = append(w.seen, done)
		w.mu.Unlock()
	}
	return err == nil
}

// saturate keeps so many calls of a caller waiting all the time.
func (w *world) saturate(ctx context.Context, caller, calls int) {
	for i := range calls {
		r := w.rand(1000*(caller+1) + i)
		w.calls.Go(func() {
			// A call that is refused at once takes no time: going on would never end.
			for sent := true; sent && ctx.Err() == nil; {
				sent = w.call(ctx, caller, r)
			}
		})
	}
}

// arrive makes calls at random times, on average so many a minute, each with its own deadline if there is patience.
func (w *world) arrive(ctx context.Context, caller int, aMinute float64, patience time.Duration) {
	r := w.rand(1000 * (caller + 1))
	w.calls.Go(func() {
		for {
			if sleep(ctx, time.Duration(r.ExpFloat64()/aMinute*float64(minute))) != nil {
				return
			}
			own := rand.New(rand.NewPCG(r.Uint64(), 0))
			w.calls.Go(func() {
				ctx, cancel := ctx, func() {}
				if patience > 0 {
					ctx, cancel = context.WithTimeout(ctx, patience)
				}
				defer cancel()
				w.call(ctx, caller, own)
			})
		}
	})
}

// burst makes bunches of calls with silence between them.
func (w *world) burst(ctx context.Context, caller int) {
	r := w.rand(1000 * (caller + 1))
	w.calls.Go(func() {
		for sleep(ctx, time.Duration(r.Int64N(int64(4*minute)))) == nil {
			for range 1 + r.IntN(perMinute) {
				own := rand.New(rand.NewPCG(r.Uint64(), 0))
				w.calls.Go(func() { w.call(ctx, caller, own) })
			}
		}
	})
}
