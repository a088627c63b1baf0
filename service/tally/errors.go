package tally

import (
	"fmt"
	"time"
)

// Kind says what went wrong with a call. Each kind has its row in the table of service/errors.go.
type Kind int

// The kinds of errors. A call fails with exactly one.
const (
	// KindStatus is an HTTP status that no other kind covers; Status holds it.
	KindStatus Kind = iota + 1
	// KindKeyRejected is a 401 that the key check confirmed, or a call under the key's latch.
	KindKeyRejected
	// KindFeature is a 401 although the key check was good, or a 402.
	KindFeature
	// KindEdgeBlocked is a refusal by Tally's edge ("error code: 10xx").
	KindEdgeBlocked
	// KindEdgeChallenge is a browser challenge by Tally's edge.
	KindEdgeChallenge
	// KindRedirect is any 3xx; RedirectHost holds where it led.
	KindRedirect
	// KindProtocol is a 2xx whose body is not what the contract says, or a 404 that is not Tally's.
	KindProtocol
	// KindTruncated is a 2xx whose body ended early.
	KindTruncated
	// KindTooLarge is an answer over the size limit; Limit holds it.
	KindTooLarge
	// KindDNS is a name that could not be resolved, or not to a public address.
	KindDNS
	// KindConnect is a connection that could not be made, or died before a byte left.
	KindConnect
	// KindTLS is a failed handshake or certificate.
	KindTLS
	// KindReset is a connection that broke after bytes had left.
	KindReset
	// KindTimeout is Tally taking longer than our own limit.
	KindTimeout
	// KindCircuitOpen is a request held back since Tally failed too often just before.
	KindCircuitOpen
	// KindDeadlineTooShort is a caller's deadline below the minimum useful time.
	KindDeadlineTooShort
	// KindDeadline is a caller's deadline that passed while Tally worked.
	KindDeadline
	// KindCancelled is a caller that went away.
	KindCancelled
	// KindInvalid is a request that breaks a rule before it is sent; Violations say which.
	KindInvalid
	// KindPageToken is a page token that this list did not hand out.
	KindPageToken
	// KindPrecondition is an expected_update_time that is not the resource's.
	KindPrecondition
	// KindMissing is a resource that Tally's list of them does not hold, found out before a write.
	KindMissing
	// KindItemTooLarge is a single item over what a unary answer may hold; Size and Limit hold both.
	KindItemTooLarge
	// KindQuotaWait is a call whose turn to make a request would come after its deadline; RetryAfter says when it would.
	KindQuotaWait
	// KindQuotaFull is a call of a caller of whom too many wait already; RetryAfter says when its turn would come.
	KindQuotaFull
	// KindContract is a request that tallyd could not build from its own contract.
	KindContract
)

// kindNames are for logs.
var kindNames = [...]string{
	KindStatus:           "status",
	KindKeyRejected:      "key rejected",
	KindFeature:          "feature",
	KindEdgeBlocked:      "edge blocked",
	KindEdgeChallenge:    "edge challenge",
	KindRedirect:         "redirect",
	KindProtocol:         "protocol",
	KindTruncated:        "truncated",
	KindTooLarge:         "too large",
	KindDNS:              "DNS",
	KindConnect:          "connect",
	KindTLS:              "TLS",
	KindReset:            "reset",
	KindTimeout:          "timeout",
	KindCircuitOpen:      "circuit open",
	KindDeadlineTooShort: "deadline too short",
	KindDeadline:         "deadline",
	KindCancelled:        "cancelled",
	KindInvalid:          "invalid",
	KindPageToken:        "page token",
	KindPrecondition:     "precondition",
	KindMissing:          "missing",
	KindItemTooLarge:     "item too large",
	KindQuotaWait:        "quota wait",
	KindQuotaFull:        "quota full",
	KindContract:         "contract",
}

// String returns the name of the kind, for a log.
func (k Kind) String() string {
	if k <= 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Outcome is what is known of a request's effect at Tally.
type Outcome string

// The four outcomes; callers branch on them.
const (
	// OutcomeNotSent means that no byte left, or that Tally vouches for not having looked at what did.
	OutcomeNotSent Outcome = "not_sent"
	// OutcomeRejected means that Tally said no.
	OutcomeRejected Outcome = "rejected"
	// OutcomeUnknown means that bytes left and no usable verdict came.
	OutcomeUnknown Outcome = "unknown"
	// OutcomeApplied means that Tally said yes and its answer is unusable.
	OutcomeApplied Outcome = "applied"
)

// Effect is what an RPC does at Tally.
type Effect int

// The effects. Only a read may be repeated freely; a delete may be repeated once.
const (
	// Read changes nothing.
	Read Effect = iota + 1
	// Create is a POST.
	Create
	// Update is a PATCH or a PUT.
	Update
	// Delete is a DELETE.
	Delete
)

// Violation is one rule that a field of the request breaks.
type Violation struct {
	// Field is the proto path of the field, such as "blocks[1].type"; empty when the rule is about a key that the caller did not set.
	Field string
	// Key is Tally's own path of the field, for comparison alone: it may repeat a secret of the request.
	Key string
	// Code is Tally's own name for the rule, such as "any.required"; may be empty.
	Code string
	// Description is one sentence that says the rule, sanitised.
	Description string
}

// Error is a call that did not succeed. It never holds the key, HTML, or more than 200 sanitised characters of what Tally said.
type Error struct {
	// Kind says what went wrong.
	Kind Kind
	// Method is the full name of the RPC, such as "tallyd.v1.FormService.GetForm".
	Method string
	// Effect is what the RPC does at Tally.
	Effect Effect
	// Outcome is what is known of the request's effect.
	Outcome Outcome
	// Status is the HTTP status; 0 without an answer.
	Status int
	// LookUp tells that the request was made to decide about another one, which has not left: then Outcome is that one's.
	LookUp bool
	// OnCollection is true when the route names no resource, so that a 404 cannot be about one.
	OnCollection bool
	// JSON is true when the error's body was Tally's own JSON.
	JSON bool
	// Attempts counts the requests that left.
	Attempts int
	// Message is what Tally said, sanitised; may be empty.
	Message string
	// Violations are the rules that the request breaks.
	Violations []Violation
	// RetryAfter is when Tally, the key's latch, or the breaker wants to be asked again; 0 when not told.
	RetryAfter time.Duration
	// ResourceType and ResourceID name the last resource of the route, such as "form" and "mexJoq".
	ResourceType, ResourceID string
	// Caller is whose share of the quota is spent; may be empty.
	Caller string
	// KeyAlias tells keys apart without revealing them; set for KindKeyRejected.
	KeyAlias string
	// KeySince is when the key's latch was set; zero without one.
	KeySince time.Time
	// RedirectHost is the host that a redirect led to, without path and query.
	RedirectHost string
	// Ray and RequestID are the edge's and Tally's ids of the request, for a support case; may be empty.
	Ray, RequestID string
	// Size and Limit are in bytes, where a limit was passed.
	Size, Limit int64
	// Err is the cause for the log; it never reaches a caller.
	Err error

	superseded bool // the key was replaced while the request was under way
}

// Error describes the failure for a log. It is not what a caller reads.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s, outcome %s, status %d", e.Kind, e.Outcome, e.Status)
	if e.Method != "" {
		text = e.Method + ": " + text
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
