package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// localError is a refusal or failure of tallyd itself, which never got as far as Tally. Its reason needs a row in localRows.
type localError struct {
	reason tallydv1.ErrorReason
	// effect is what the RPC does at Tally; 0 where nobody knows, which counts as a write.
	effect tally.Effect
	// hint tells the caller more than the row's message; it holds no foreign text.
	hint string
	// facts are metadata for the caller's program.
	facts map[string]string
	// err is the cause for the log; it never reaches a caller.
	err error
}

// Error describes the failure for a log. It is not what a caller reads.
func (e *localError) Error() string {
	if e.err == nil {
		return reasonName(e.reason)
	}
	return fmt.Sprintf("%s: %v", reasonName(e.reason), e.err)
}

// Unwrap returns the cause.
func (e *localError) Unwrap() error { return e.err }

// attribute turns the bare end of a context into the caller's own, if it is the caller's: ctx is the one that the RPC came with. The
// bare end of any other context stays what it is, a defect: as CANCELLED it would be replayed by proxies. An error of our own learns
// what the RPC does at Tally, which was not known where it arose.
func attribute(ctx context.Context, effect tally.Effect, err error) error {
	if own, ok := errors.AsType[*localError](err); ok && own.effect == 0 {
		own.effect = effect
	}
	if classified(err) || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	reason := tallydv1.ErrorReason_ERROR_REASON_CALLER_CANCELLED
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		reason = tallydv1.ErrorReason_ERROR_REASON_DEADLINE_IN_FLIGHT
	}
	return &localError{reason: reason, effect: effect, err: err}
}

// classified tells whether somebody who knew more has judged an error already.
func classified(err error) bool {
	_, own := errors.AsType[*localError](err)
	_, failure := errors.AsType[*tally.Error](err)
	_, foreign := errors.AsType[grpcError](err)
	return own || failure || foreign
}

// grpcError is an error that brings its status along, as the grpc library's do.
type grpcError interface {
	error
	GRPCStatus() *status.Status
}

// mapped is an error as its caller sees it.
type mapped struct {
	status   *status.Status
	reason   string
	outcome  tally.Outcome
	pushback time.Duration // <0: never
}

// toStatus is the one map from errors to statuses. The text of an error that nobody classified stays out of the status.
func toStatus(err error) mapped {
	if err == nil {
		return mapped{status: status.New(codes.OK, "")}
	}
	failure, judged := errors.AsType[*tally.Error](err)
	if judged && failure == nil {
		// A nil pointer in an error's clothes: looking further would call its methods, out of reach of the panic handler.
		return conclude(rowInternal, &tally.Error{})
	}
	if own, ok := errors.AsType[*localError](err); ok {
		r := localRow(own.reason)
		r.facts = own.facts
		return conclude(r, &tally.Error{Effect: own.effect, Message: own.hint})
	}
	if judged {
		return conclude(tallyRow(failure), failure)
	}
	if invalid, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		failure := &tally.Error{Kind: tally.KindInvalid, Violations: ownViolations(invalid)}
		return conclude(tallyRow(failure), failure)
	}
	if foreign, ok := errors.AsType[grpcError](err); ok && foreign.GRPCStatus().Code() != codes.OK {
		return adopt(foreign.GRPCStatus())
	}
	return conclude(rowInternal, &tally.Error{})
}

// conclude applies a row to a failure.
func conclude(r row, e *tally.Error) mapped {
	outcome := settle(r, e)
	code := r.code
	// An effect that nobody named may be a write.
	if open(outcome) && e.Effect != tally.Read && !r.fixed {
		code = codes.Unknown
	}
	after := r.delay(e, outcome)
	m := mapped{reason: reasonName(r.reason), outcome: outcome}
	switch {
	case r.never, code == codes.Unknown, open(outcome) && writes(e.Effect):
		m.pushback = -1
	case r.pushback:
		m.pushback = after
	}
	m.status = describe(r, e, code, outcome, after).status()
	return m
}

// settle says what is known of the effect. A status is Tally's own word; without one the REST side knows best whether bytes left.
func settle(r row, e *tally.Error) tally.Outcome {
	answered := e.Status != 0
	// What the first try of a repeated delete did stays open, whatever the second one brought.
	repeated := e.Effect == tally.Delete && e.Attempts > 1
	switch {
	case e.Outcome == tally.OutcomeNotSent && (!answered || e.LookUp):
		return tally.OutcomeNotSent
	case answered && r.outcome == tally.OutcomeNotSent:
		return tally.OutcomeUnknown
	case open(e.Outcome) && (open(r.outcome) || !answered || repeated):
		return e.Outcome
	case r.outcome == tally.OutcomeApplied && e.Effect == tally.Read:
		return tally.OutcomeUnknown
	default:
		return r.outcome
	}
}

// open tells whether a write may have had its effect.
func open(outcome tally.Outcome) bool {
	return outcome == tally.OutcomeUnknown || outcome == tally.OutcomeApplied
}

// writes includes deletes, for this map: we may repeat one, once, but a caller or proxy that is invited to by UNAVAILABLE would read
// NOT_FOUND for a deletion that worked. So an open outcome ends in UNKNOWN for it as for a create.
func writes(effect tally.Effect) bool {
	return effect == tally.Create || effect == tally.Update || effect == tally.Delete
}

// trailer returns what a caller in any language and a proxy's access log can read without decoding details.
func (m mapped) trailer() metadata.MD {
	if m.status.Code() == codes.OK {
		return nil
	}
	md := metadata.Pairs("tallyd-reason", m.reason, "tallyd-outcome", string(m.outcome))
	switch {
	case m.pushback < 0:
		md.Set("grpc-retry-pushback-ms", "-1")
	case m.pushback > 0:
		md.Set("grpc-retry-pushback-ms", strconv.FormatInt(m.pushback.Milliseconds(), 10))
	}
	return md
}

// within tells clients to wait only if the call lasts that long. grpc-java waits whatever its policy says of the code, and its caller
// would hear of the deadline alone.
func (m mapped) within(ctx context.Context) mapped {
	if deadline, ok := ctx.Deadline(); ok && m.pushback > 0 && m.pushback >= time.Until(deadline) {
		m.pushback = -1
	}
	return m
}

// level is warn for what the caller did and error for what we did; which is which is OpenTelemetry's rule for servers.
func level(code codes.Code) slog.Level {
	switch code {
	case codes.OK:
		return slog.LevelInfo
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return slog.LevelError
	default:
		return slog.LevelWarn
	}
}

// reasonName is a reason as it travels.
func reasonName(reason tallydv1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// Status returns the status with which a call that failed with err would end; for commands that speak to people.
func Status(err error) *status.Status { return toStatus(err).status }
