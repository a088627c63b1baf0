package simulation

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/tallyd/tallyd/service/quota"
)

// take waits until a request of the caller may leave. When its response came, the caller says so with what take returned.
type take func(ctx context.Context, c quota.Caller) (answered func(), err error)

// candidate is one way to keep to a rate.
type candidate struct {
	name string
	// start begins anew. Timers that it starts end with the context.
	start func(context.Context) take
}

// tallyd is ours; it comes first in every table.
func tallyd() candidate {
	return candidate{"tallyd", func(context.Context) take {
		s := quota.New(quota.Config{Rate: perMinute})
		return func(ctx context.Context, c quota.Caller) (func(), error) {
			slot, err := s.Take(quota.NewContext(ctx, c))
			if err != nil {
				return nil, err
			}
			return slot.Done, nil
		}
	}}
}

// limiting is golang.org/x/time/rate as its documentation shows it. It refuses calls whose deadline is too short.
func limiting(burst int) func(context.Context) take {
	return func(context.Context) take {
		l := rate.NewLimiter(rate.Every(minute/perMinute), burst)
		return func(ctx context.Context, _ quota.Caller) (func(), error) { return func() {}, l.Wait(ctx) }
	}
}

func bucketOfMany() candidate { return candidate{"x/time/rate, burst 100", limiting(perMinute)} }

func bucketOfOne() candidate { return candidate{"x/time/rate, burst 1", limiting(1)} }

// ticking lets a request leave with each tick.
func ticking() candidate {
	return candidate{"ticker, 600 ms", func(ctx context.Context) take {
		ticker := time.NewTicker(minute / perMinute)
		context.AfterFunc(ctx, ticker.Stop)
		return func(ctx context.Context, _ quota.Caller) (func(), error) {
			select {
			case <-ticker.C:
				return func() {}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}}
}

// counting lets so many requests leave in each minute that begins with a request.
func counting() candidate {
	return candidate{"counter per minute", func(context.Context) take {
		var mu sync.Mutex
		var until time.Time
		left := 0
		return func(ctx context.Context, _ quota.Caller) (func(), error) {
			mu.Lock()
			if !until.After(time.Now()) {
				until, left = time.Now().Add(minute), perMinute
			}
			if left == 0 {
				until, left = until.Add(minute), perMinute
			}
			left--
			begins := until.Add(-minute)
			mu.Unlock()
			return func() {}, sleep(ctx, time.Until(begins))
		}
	}}
}

// queueing holds as many slots as tallyd, as long as tallyd does, and hands them out in the order in which calls came.
func queueing() candidate { return candidate{"one queue, first come first served", heldQueue(false)} }

// queueingBlindly is queueing for calls that stay in the queue and are sent even when nobody waits for the answer any more.
func queueingBlindly() candidate { return candidate{"one queue, blind to deadlines", heldQueue(true)} }

func heldQueue(blind bool) func(context.Context) take {
	return func(all context.Context) take {
		slots := semaphore.NewWeighted(perMinute)
		return func(ctx context.Context, _ quota.Caller) (func(), error) {
			if blind {
				ctx = all
			}
			if err := slots.Acquire(ctx, 1); err != nil {
				return nil, err
			}
			return func() { time.AfterFunc(minute, func() { slots.Release(1) }) }, nil
		}
	}
}

// splitting gives each caller a bucket of its own with its part of the rate, which is what a limiter by caller comes to.
func splitting(callers []quota.Caller) candidate {
	return candidate{"a bucket for each caller", func(context.Context) take {
		weights := 0
		for _, c := range callers {
			weights += c.Weight
		}
		buckets := map[string]*rate.Limiter{}
		for _, c := range callers {
			part := float64(perMinute*c.Weight) / float64(weights)
			buckets[c.Name] = rate.NewLimiter(rate.Limit(part/minute.Seconds()), max(int(part), 1))
		}
		return func(ctx context.Context, c quota.Caller) (func(), error) { return func() {}, buckets[c.Name].Wait(ctx) }
	}}
}

// even is what can be had at best when every round trip is known and equal: slots of equal length, people first, and for batch calls
// what is left, but at least each tenth. With other round trips it breaks the rate.
func even(trip time.Duration) candidate {
	return candidate{"even slots for a known round trip", func(ctx context.Context) take {
		ticker := time.NewTicker((minute + trip) / perMinute)
		context.AfterFunc(ctx, ticker.Stop)
		forPeople, forBatch := make(chan struct{}), make(chan struct{})
		go func() {
			for since := 0; receive(ctx, ticker.C); since++ {
				if since >= batchPart-1 && offer(forBatch) || !offer(forPeople) && offer(forBatch) {
					since = -1
				}
			}
		}()
		return func(ctx context.Context, c quota.Caller) (func(), error) {
			slots := forPeople
			if c.Batch {
				slots = forBatch
			}
			if !receive(ctx, slots) {
				return nil, ctx.Err()
			}
			return func() {}, nil
		}
	}}
}

// batchPart is the part of the slots that batch calls get whoever waits: one in so many.
const batchPart = 10

// offer hands something to who waits for it, if anybody does.
func offer(c chan<- struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	default:
		return false
	}
}

func receive[T any](ctx context.Context, c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleep waits unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
