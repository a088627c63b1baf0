package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrRejected is what a CheckFunc returns, wrapped or not, when Tally answered the key itself with 401.
var ErrRejected = errors.New("tally rejects the key")

// Identity is whom a key belongs to, as Tally tells it.
type Identity struct {
	UserID         string
	OrganizationID string
	Plan           string
}

// CheckFunc asks Tally whose key it is, with exactly one request and no retry, since a dead key may cost no more.
// It returns ErrRejected when Tally refuses the key, and any other error when nothing was learnt. It ends with ctx.
type CheckFunc func(ctx context.Context, key Key) (Identity, error)

// Verdict is what a 401 turned out to mean.
type Verdict int

// The four things that a 401 can mean.
const (
	// VerdictUnknown: the check could not be made. Whether the key is dead is not known.
	VerdictUnknown Verdict = iota
	// VerdictGood: the key works. Tally refused this request for its own sake: plan, or a feature never used.
	VerdictGood
	// VerdictRejected: the key is dead and the latch is set.
	VerdictRejected
	// VerdictSuperseded: another key is in use by now. Tally did nothing, so the request may be sent again with it.
	VerdictSuperseded
)

// String returns the name of the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case VerdictGood:
		return "good"
	case VerdictRejected:
		return "rejected"
	case VerdictSuperseded:
		return "superseded"
	}
	return "unknown"
}

// State is what the world may know about the key: for health, metrics and the status page.
type State struct {
	// Alias names the key in use.
	Alias string
	// Rejected says that the latch is set: Tally refuses the key, and calls fail without being sent.
	Rejected bool
	// Since is when Rejected last changed.
	Since time.Time
	// Known says that Tally has told whose key it is; Identity is empty before.
	Known    bool
	Identity Identity
	// Checked is when Tally last gave a verdict on the key, good or bad; zero before the first.
	Checked time.Time
	// Refused is the alias of another key that the source holds and that is not in use, or empty, and Reason says why.
	Refused string
	Reason  string
}

// RejectedError says that the latch is set: Tally refuses the key of this process. errors.Is finds ErrRejected in it.
type RejectedError struct {
	Alias string
	Since time.Time
	// RetryAfter is how long it takes until Tally is asked about the key again.
	RetryAfter time.Duration
}

// Error names the key by its alias and says who can mend it.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("tally rejects the key %s of this server since %s: its operator must supply another",
		e.Alias, e.Since.UTC().Format(time.RFC3339))
}

// Unwrap returns ErrRejected.
func (e *RejectedError) Unwrap() error { return ErrRejected }

// checkError is a check that could not be made. Its text is cleaned: a transport may quote the request that it sent.
type checkError struct {
	text  string
	cause error
}

func newCheckError(key Key, cause error) error {
	return &checkError{text: fmt.Sprintf("check key %s: %s", key.Alias(), key.Redact(cause.Error())), cause: cause}
}

func (e *checkError) Error() string { return e.text }

func (e *checkError) Unwrap() error { return e.cause }
