package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

// Store is where the log lies; *store.Store is the one.
type Store interface {
	Append(ctx context.Context, drafts []store.Draft) ([]uint64, error)
	AppendAll(ctx context.Context, drafts []store.Draft) ([]uint64, error)
	Last(ctx context.Context, filter string) (store.Message, bool, error)
	Read(ctx context.Context, q store.Query) (messages []store.Message, more bool, err error)
	Follow(ctx context.Context, filter string, from uint64, handle func(store.Message) error) error
	Subjects(ctx context.Context, filter string) ([]string, error)
	Erase(ctx context.Context, position uint64) error
	Purge(ctx context.Context, filter string, before uint64) error
	State(ctx context.Context) (store.State, error)
	Identity() string
	Room() error
	Get(ctx context.Context, key string) (store.Record, error)
	Put(ctx context.Context, r store.Record) (store.Record, error)
	Remove(ctx context.Context, key string) error
	Keys(ctx context.Context, filter string) ([]string, error)
}

// Result is what became of something that was to be logged.
type Result int

const (
	// Stored says that it is in the log, safely.
	Stored Result = iota
	// Known says that the log had it already.
	Known
	// Conflicting says that the log has the submission, and not as it is now told: the first stays, the other is kept aside.
	Conflicting
	// Gone says that the submission was deleted before.
	Gone
	// Stale says that it is older than what the log keeps: whether the log had it once nobody knows.
	Stale
)

// String names the result as metrics do.
func (r Result) String() string {
	return [...]string{"stored", "known", "conflicting", "gone", "stale"}[r]
}

// News is something to log.
type News struct {
	Form, Submission string
	Source           logv1.Source
	// Time is when it happened; zero where nobody says.
	Time time.Time
	// Delivery, Reconciled and Deleted say what it is: the body of a delivery, a submission as it was read, or that it was deleted.
	Delivery, Reconciled []byte
	Deleted              bool
}

// pending is news on its way into the log.
type pending struct {
	News

	done   chan struct{}
	result Result
	err    error
}

func (p *pending) finish(result Result, err error) {
	p.result, p.err = result, err
	close(p.done)
}

const (
	// mostWaiting bounds the news that wait; each is at most as large as a delivery may be.
	mostWaiting = 256
	// mostTries bounds how often news are tried again because another replica wrote first.
	mostTries = 16
)

// Log writes and reads the logs of all forms. It is safe for concurrent use.
type Log struct {
	store Store
	log   *slog.Logger
	seen  Observer

	queue   chan *pending
	running sync.WaitGroup
	stop    context.CancelFunc

	lasts   lasts
	cuts    atomic.Pointer[[]uint64]                       // where the end of the log was lost, oldest first
	told    sync.Map                                       // what was told as lost
	floors  sync.Map                                       // by form, up to where retention took it
	cleared sync.Map                                       // by form, the position up to which this process took away what retention took
	taken   atomic.Pointer[func(form string, upTo uint64)] // is told what retention takes
	owed    atomic.Bool                                    // something that was deleted may not be erased yet
	takings atomic.Uint64                                  // counts what was erased or taken away
	secrets sync.Map                                       // of forms, as they were read last
	seal    atomic.Pointer[Seal]                           // once it was read
	shrunk  atomic.Pointer[func()]                         // is told when the end of the log was lost
	written atomic.Uint64                                  // the last position that this process wrote

	// Of the writer alone: the ends of the forms' logs, and that of all. What they say holds as long as nobody else writes.
	tails   map[string]*tail
	listing sync.Mutex // one form after another
	last    uint64
	known   bool // last is
}

// Observer is told of what happens; each must be quick. The zero value tells nobody.
type Observer struct {
	// Logged is told of everything that was to be logged.
	Logged func(source logv1.Source, result Result)
	// Gap is told of entries that are lost.
	Gap func(form string, first, last uint64)
}

// OpenLog returns the log in a store.
func OpenLog(s Store, log *slog.Logger, seen Observer) *Log {
	if seen.Logged == nil {
		seen.Logged = func(logv1.Source, Result) {}
	}
	if seen.Gap == nil {
		seen.Gap = func(string, uint64, uint64) {}
	}
	l := &Log{store: s, log: log, seen: seen, queue: make(chan *pending, mostWaiting), tails: map[string]*tail{}}
	l.owed.Store(true) // by the process before
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.running.Go(func() { l.write(ctx) })
	return l
}

// Close ends the log's work. What waits to be logged fails.
func (l *Log) Close() {
	l.stop()
	l.running.Wait()
}

// Add logs news and returns when they are safe, or with the error of the store: whoever has told them must tell them again.
func (l *Log) Add(ctx context.Context, news News) (Result, error) {
	p := &pending{News: news, done: make(chan struct{})}
	select {
	case l.queue <- p:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return 0, ctx.Err() // it may still be stored: told again, it is known
	}
	if p.err == nil {
		l.seen.Logged(news.Source, p.result)
	}
	return p.result, p.err
}

// write takes whatever waits, writes it together and takes the next: one alone waits for nobody, and many share one sync.
func (l *Log) write(ctx context.Context) {
	for {
		select {
		case p := <-l.queue:
			group := []*pending{p}
			for len(l.queue) > 0 && len(group) < mostWaiting {
				group = append(group, <-l.queue)
			}
			l.writeGroup(ctx, group)
		case <-ctx.Done():
			l.refuse()
			return
		}
	}
}

// refuse fails what still waits.
func (l *Log) refuse() {
	for {
		select {
		case p := <-l.queue:
			p.finish(0, store.ErrUnavailable)
		default:
			return
		}
	}
}

// writeGroup writes news until each is in the log or has failed.
func (l *Log) writeGroup(ctx context.Context, group []*pending) {
	for try := 0; len(group) > 0; try++ {
		var err error
		if group, err = l.writeOnce(ctx, group); err == nil {
			continue
		}
		if conflict, ok := errors.AsType[*store.ConflictError](err); ok && try < mostTries {
			if err = l.overtaken(ctx, conflict.Last); err == nil {
				continue
			}
		}
		for _, p := range group {
			p.finish(0, err)
		}
		return
	}
}

// overtaken makes the next write begin behind what somebody else wrote, up to a position; 0 where the engine names none, and what came in
// between is read.
func (l *Log) overtaken(ctx context.Context, last uint64) error {
	if last == 0 {
		l.known = false
		return nil
	}
	if last < l.last {
		if _, err := l.settlePositions(ctx, l.last); err != nil {
			return err
		}
	}
	// The engine knows best, also where damage made it of two minds.
	l.forget()
	l.last, l.known = last, true
	return nil
}

// writeOnce writes what can be written together and returns what is left, with why.
func (l *Log) writeOnce(ctx context.Context, group []*pending) ([]*pending, error) {
	var (
		ready []*pending
		plans []plan
		later []*pending
	)
	if err := l.begin(ctx); err != nil {
		return group, err
	}
	inGroup := map[string]bool{}
	for i, p := range group {
		subject := eventSubject(p.Form, p.Submission)
		if inGroup[subject] {
			later = append(later, p) // what becomes of it depends on the one before
			continue
		}
		next, done, err := l.plan(ctx, p)
		if err != nil {
			l.forget()
			return append(append(ready, group[i:]...), later...), err
		}
		if done {
			continue
		}
		inGroup[subject] = true
		ready, plans = append(ready, p), append(plans, next)
	}
	n, err := l.carryOut(ctx, plans)
	for _, p := range ready[:n] {
		p.finish(Stored, nil)
	}
	switch {
	case errors.Is(err, store.ErrConflict):
		for _, next := range slices.Backward(plans[n:]) {
			next.undo()
		}
	case err != nil:
		l.forget() // whether it was written nobody knows
	}
	return append(ready[n:], later...), err
}

// begin learns where the log ends, before it learns where those of the forms do: what somebody else writes in between fails the next
// write. Where the end was lost, that is noted before anything new takes its place.
func (l *Log) begin(ctx context.Context) error {
	if l.known {
		return nil
	}
	state, err := l.store.State(ctx)
	if err == nil && (l.last == 0 || state.Last < l.last) {
		state.Last, err = l.settlePositions(ctx, l.last)
	}
	if err == nil {
		err = l.catchUp(ctx, state.Last)
	}
	if err != nil {
		l.forget()
		return err
	}
	l.last, l.known = state.Last, true
	return nil
}

// mostBehind is how many positions the writer catches up on. Behind more it learns the ends of the forms' logs anew.
const mostBehind = 4096

// catchUp moves the ends of the forms' logs to what somebody else wrote, up to a position at least. To learn them anew takes long, and
// whoever writes meanwhile makes that vain.
func (l *Log) catchUp(ctx context.Context, upTo uint64) error {
	if upTo < l.last || upTo > l.last+mostBehind {
		clear(l.tails)
	}
	for from, more := l.last+1, true; more && from <= upTo && len(l.tails) > 0; {
		var messages []store.Message
		var err error
		if messages, more, err = l.store.Read(ctx, store.Query{Filter: allForms, From: from}); err != nil {
			return err
		}
		for _, m := range messages {
			l.follow(m)
			from = m.Position + 1
		}
	}
	return nil
}

// follow moves the end of a form's log to an entry that somebody else wrote, or forgets it where that is not the next one.
func (l *Log) follow(m store.Message) {
	form := formOf(m.Subject)
	t := l.tails[form]
	if t == nil {
		return
	}
	e, err := l.decode(m)
	if err != nil || e.GetSequence() != t.sequence+1 {
		delete(l.tails, form)
		return
	}
	t.sequence, t.checksum = e.GetSequence(), e.Checksum
	t.known.add(e.GetSubmissionId())
}

// forget lets all that the writer knows be read again.
func (l *Log) forget() {
	l.known = false
	clear(l.tails)
}
