package apikey

import "time"

const (
	// goodFor spares a plan-gated call its second request.
	goodFor = 30 * time.Second
	// unknownFor keeps a storm of 401s from becoming a storm of checks while Tally cannot be reached.
	unknownFor = 10 * time.Second
)

// snapshot is what the goroutine of Run last published. It never changes.
type snapshot struct {
	key   Key
	state State
	last  outcome
	// next is when Tally is asked again; zero when nothing calls for it.
	next time.Time
}

// outcome is how the last check of the key in use ended.
type outcome struct {
	verdict Verdict
	err     error
	at      time.Time // zero before the first check
}

// fresh reports whether the outcome still answers for a check that would be made at the time now.
func (o outcome) fresh(now time.Time) bool {
	if o.at.IsZero() {
		return false
	}
	switch o.verdict {
	case VerdictGood:
		return now.Sub(o.at) < goodFor
	case VerdictUnknown:
		return now.Sub(o.at) < unknownFor
	case VerdictRejected, VerdictSuperseded:
		// The latch speaks for the one; the other is no outcome of a check.
	}
	return false
}

// judge answers a Confirm from what is known, or reports that a check is needed.
func (s *snapshot) judge(used Key, now time.Time) (answer, bool) {
	switch {
	case !used.Equal(s.key):
		return answer{verdict: VerdictSuperseded}, true
	case s.state.Rejected:
		return answer{verdict: VerdictRejected, err: s.rejected(now)}, true
	case s.last.fresh(now):
		return answer{verdict: s.last.verdict, err: s.last.err}, true
	}
	return answer{}, false
}

func (s *snapshot) rejected(now time.Time) *RejectedError {
	// A check that is under way or just due still takes a moment: zero would invite a busy loop.
	wait := max(s.next.Sub(now), time.Second)
	return &RejectedError{Alias: s.state.Alias, Since: s.state.Since, RetryAfter: wait}
}
