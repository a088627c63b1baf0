package apikey

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a Keeper that is not running.
var (
	// ErrStopped says that Run has returned, so that nothing can be checked any more.
	ErrStopped = errors.New("key keeper has stopped")
	// ErrRunning says that Run was called twice.
	ErrRunning = errors.New("key keeper was started before")
)

// Keeper holds the key in use. Current, Err and State only read and may be called at any rate from anywhere; all
// that changes the key or the verdict on it happens on the one goroutine of Run, one after the other, so that no
// number of callers makes more than one check at a time.
type Keeper struct {
	source Source
	check  CheckFunc
	log    *slog.Logger
	notify []func(State)

	now      atomic.Pointer[snapshot]
	requests chan request
	started  atomic.Bool
	stopped  chan struct{}
}

// Option changes a Keeper that New makes.
type Option func(*Keeper)

// WithLogger logs to log; without it nothing is logged.
func WithLogger(log *slog.Logger) Option {
	return func(k *Keeper) { k.log = orDiscard(log) }
}

// WithNotify calls f with the state when Run begins and after every check and every change. It runs on Run's
// goroutine and must not block or call Confirm. It may be given several times.
func WithNotify(f func(State)) Option {
	return func(k *Keeper) { k.notify = append(k.notify, f) }
}

// New reads the key for the first time and returns its keeper. It returns the error of source, so that a bad key
// file ends the start of the process.
func New(source Source, check CheckFunc, opts ...Option) (*Keeper, error) {
	key, err := source.Read()
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		source:   source,
		check:    check,
		log:      orDiscard(nil),
		requests: make(chan request),
		stopped:  make(chan struct{}),
	}
	for _, opt := range opts {
		opt(k)
	}
	k.now.Store(&snapshot{key: key, state: State{Alias: key.Alias(), Since: time.Now()}})
	return k, nil
}

// Current returns the key to send with. It may be one that was never checked: when Tally cannot be reached at the
// start, calls go out with it all the same. Take it once for each request and give the same one to Confirm.
func (k *Keeper) Current() Key { return k.now.Load().key }

// Err returns a *RejectedError while the latch is set, else nil. Ask it before each request: under the latch a call
// fails at once and Tally hears nothing of it.
func (k *Keeper) Err() error {
	now := k.now.Load()
	if !now.state.Rejected {
		return nil
	}
	return now.rejected(time.Now())
}

// State returns what is known of the key.
func (k *Keeper) State() State { return k.now.Load().state }

// Run checks the key, follows its source and, under the latch, asks again every 30 s ±20 %. It returns nil when ctx
// has ended and everything that it started is done, or ErrRunning if it was called before.
func (k *Keeper) Run(ctx context.Context) error {
	if !k.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer close(k.stopped)
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { k.watch(ctx, changed) })
	newCustody(k).run(ctx, changed)
	return nil
}

func (k *Keeper) watch(ctx context.Context, changed chan<- struct{}) {
	err := k.source.Watch(ctx, func() {
		select {
		case changed <- struct{}{}:
		default: // a look is due already
		}
	})
	if err != nil && ctx.Err() == nil {
		k.log.Error("key source is no longer watched", "error", err)
	}
}

// request asks the goroutine of Run what a 401 to a request with the key used meant.
type request struct {
	from  context.Context //nolint:containedctx // it travels to the check, which runs on another goroutine
	used  Key
	reply chan<- answer
}

type answer struct {
	verdict Verdict
	err     error
}

// Confirm says what a 401 to a request that was sent with the key used means. It runs a check or joins the one that
// is under way; a good verdict counts for 30 s and a check that could not be made for 10 s. The check goes on when
// ctx ends, for the others that wait for it.
//
// The error is nil for VerdictGood and VerdictSuperseded, a *RejectedError for VerdictRejected, and for
// VerdictUnknown what was in the way: the error of the check, of ctx, or ErrStopped.
func (k *Keeper) Confirm(ctx context.Context, used Key) (Verdict, error) {
	if known, ok := k.now.Load().judge(used, time.Now()); ok {
		return known.verdict, known.err
	}
	reply := make(chan answer, 1)
	select {
	case k.requests <- request{from: ctx, used: used, reply: reply}:
	case <-ctx.Done():
		return VerdictUnknown, context.Cause(ctx)
	case <-k.stopped:
		return VerdictUnknown, ErrStopped
	}
	select {
	case got := <-reply:
		return got.verdict, got.err
	case <-ctx.Done():
		return VerdictUnknown, context.Cause(ctx)
	}
}
