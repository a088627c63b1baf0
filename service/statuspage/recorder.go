package statuspage

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shownCallers and shownErrors are what the page shows.
	shownCallers = 100
	shownErrors  = 50
	// maxCallers is how many are remembered: more than are shown, so that forgetting is rare work, done for many at once.
	maxCallers = 1024
	// maxName bounds what a caller, a method or a request is remembered by, in bytes.
	maxName = 256
)

// Anonymous is the caller of a call that nobody put a name to.
const Anonymous = "anonymous"

// Call is a finished call.
type Call struct {
	// Time is when it ended.
	Time time.Time
	// Service and Method are its parts of the full name, such as "tallyd.v1.FormService" and "GetForm".
	Service, Method string
	// Caller is who called; empty for Anonymous.
	Caller string
	// RequestID is the call's own id.
	RequestID string
	// Code and Reason say how it ended; both are empty for a success.
	Code, Reason string
}

// Recorder remembers calls, so many and no more. It is safe for concurrent use, and one call costs next to nothing.
type Recorder struct {
	callers sync.Map // of *caller by name: read all the time, written when somebody new comes
	known   atomic.Int64
	pruning sync.Mutex

	mu     sync.Mutex
	errors [shownErrors]Call // a ring
	failed int               // calls that failed, ever
}

// caller counts the calls of one caller.
type caller struct {
	calls, errors atomic.Int64
	last          atomic.Int64 // in nanoseconds since 1970
}

// NewRecorder returns a recorder that remembers nothing yet.
func NewRecorder() *Recorder { return &Recorder{} }

// Observe remembers a call.
func (r *Recorder) Observe(call Call) {
	if call.Caller == "" {
		call.Caller = Anonymous
	}
	call.Caller = call.Caller[:min(len(call.Caller), maxName)]
	c := r.caller(call.Caller, call.Time.UnixNano())
	c.calls.Add(1)
	if call.Code == "" {
		return
	}
	c.errors.Add(1)
	call.RequestID = call.RequestID[:min(len(call.RequestID), maxName)]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors[r.failed%shownErrors] = call
	r.failed++
}

// caller returns the counts of a caller who called just now.
func (r *Recorder) caller(name string, now int64) *caller {
	known, ok := r.callers.Load(name)
	if ok {
		c := known.(*caller)
		c.last.Store(now)
		return c
	}
	fresh := &caller{}
	// Before anybody sees it: who never called is the first to be forgotten.
	fresh.last.Store(now)
	known, ok = r.callers.LoadOrStore(name, fresh)
	if !ok && r.known.Add(1) > maxCallers {
		r.prune()
	}
	return known.(*caller)
}

// prune forgets the half that called longest ago. A call that is being counted at that moment may be lost with its caller.
func (r *Recorder) prune() {
	r.pruning.Lock()
	defer r.pruning.Unlock()
	all := r.all()
	if len(all) <= maxCallers {
		return
	}
	for _, old := range all[maxCallers/2:] {
		r.callers.Delete(old.Name)
	}
	r.known.Store(maxCallers / 2)
}

// callerRow is a caller as the page shows it.
type callerRow struct {
	Name          string
	Calls, Errors int64
	Last          time.Time
}

// all returns every caller, the latest first.
func (r *Recorder) all() []callerRow {
	var rows []callerRow
	r.callers.Range(func(name, value any) bool {
		c := value.(*caller)
		rows = append(rows, callerRow{name.(string), c.calls.Load(), c.errors.Load(), time.Unix(0, c.last.Load())})
		return true
	})
	slices.SortFunc(rows, func(a, b callerRow) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

// recent returns the latest errors, the latest first.
func (r *Recorder) recent() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := make([]Call, 0, shownErrors)
	for i := range min(r.failed, shownErrors) {
		calls = append(calls, r.errors[(r.failed-1-i)%shownErrors])
	}
	return calls
}
