package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// transportCase is one row of the transport table: an event on the REST side without a status.
type transportCase struct {
	name        string
	kind        tally.Kind
	outcome     tally.Outcome
	wantRead    codes.Code
	wantWrite   codes.Code
	wantReason  string
	wantOutcome tally.Outcome
	wantPush    string
	wantRetry   time.Duration
	wantDetails []string
}

func transportCases() []transportCase {
	const (
		unavailable, unknown = codes.Unavailable, codes.Unknown
		invalid, internal    = codes.InvalidArgument, codes.Internal
		exhausted            = codes.ResourceExhausted
	)
	return []transportCase{
		{"no name", tally.KindDNS, "not_sent", unavailable, unavailable, "TALLY_DNS", "not_sent", "", 0, plainDetails},
		{"no name, outcome unsaid", tally.KindDNS, "", unavailable, unavailable, "TALLY_DNS", "not_sent", "", 0, plainDetails},
		{"no connection", tally.KindConnect, "not_sent", unavailable, unavailable, "TALLY_CONNECT", "not_sent", "", 0, plainDetails},
		{"no connection, outcome unsaid", tally.KindConnect, "", unavailable, unavailable, "TALLY_CONNECT", "not_sent", "", 0, plainDetails},
		{"no trust", tally.KindTLS, "not_sent", unavailable, unavailable, "TALLY_TLS", "not_sent", "", 30 * time.Second, retryDetails},
		{"no trust, outcome unsaid", tally.KindTLS, "", unavailable, unavailable, "TALLY_TLS", "not_sent", "", 30 * time.Second, retryDetails},
		{"reset", tally.KindReset, "unknown", unavailable, unknown, "TALLY_RESET", "unknown", "-1", 0, plainDetails},
		{"reset, outcome unsaid", tally.KindReset, "", unavailable, unknown, "TALLY_RESET", "unknown", "-1", 0, plainDetails},
		{"stream refused", tally.KindReset, "not_sent", unavailable, unavailable, "TALLY_RESET", "not_sent", "", 0, plainDetails},
		{"our limit", tally.KindTimeout, "unknown", unavailable, unknown, "TALLY_TIMEOUT", "unknown", "-1", 0, plainDetails},
		{"our limit, outcome unsaid", tally.KindTimeout, "", unavailable, unknown, "TALLY_TIMEOUT", "unknown", "-1", 0, plainDetails},
		{"cut, outcome unsaid", tally.KindTruncated, "", unavailable, unknown, "TALLY_TRUNCATED", "unknown", "-1", 0, plainDetails},
		{"breaker open", tally.KindCircuitOpen, "not_sent", unavailable, unavailable, "TALLY_CIRCUIT_OPEN", "not_sent", "", time.Second, retryDetails},
		{"deadline too short", tally.KindDeadlineTooShort, "", codes.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_TOO_SHORT", "not_sent", "", 0, plainDetails},
		{"deadline in flight", tally.KindDeadline, "unknown", codes.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT", "unknown", "-1", 0, plainDetails},
		{"deadline, outcome unsaid", tally.KindDeadline, "", codes.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT", "unknown", "-1", 0, plainDetails},
		{"deadline before sending", tally.KindDeadline, "not_sent", codes.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT", "not_sent", "", 0, plainDetails},
		{"cancelled in flight", tally.KindCancelled, "unknown", codes.Canceled, codes.Canceled, "CALLER_CANCELLED", "unknown", "-1", 0, plainDetails},
		{"cancelled, outcome unsaid", tally.KindCancelled, "", codes.Canceled, codes.Canceled, "CALLER_CANCELLED", "unknown", "-1", 0, plainDetails},
		{"cancelled before sending", tally.KindCancelled, "not_sent", codes.Canceled, codes.Canceled, "CALLER_CANCELLED", "not_sent", "", 0, plainDetails},
		{"invalid", tally.KindInvalid, "", invalid, invalid, "INVALID_FIELD", "not_sent", "", 0, plainDetails},
		{"no name after a first try", tally.KindDNS, "unknown", unavailable, unknown, "TALLY_DNS", "unknown", "-1", 0, plainDetails},
		{"no connection after a first try", tally.KindConnect, "unknown", unavailable, unknown, "TALLY_CONNECT", "unknown", "-1", 0, plainDetails},
		{"no time after a first try", tally.KindDeadlineTooShort, "unknown", codes.DeadlineExceeded, unknown, "DEADLINE_TOO_SHORT", "unknown", "-1", 0, plainDetails},
		{"invalid after a first try", tally.KindInvalid, "unknown", invalid, unknown, "INVALID_FIELD", "unknown", "-1", 0, plainDetails},
		{"page token after a first try", tally.KindPageToken, "unknown", invalid, unknown, "PAGE_TOKEN_INVALID", "unknown", "-1", 0, plainDetails},
		{"precondition after a first try", tally.KindPrecondition, "unknown", codes.Aborted, unknown, "ETAG_MISMATCH", "unknown", "-1", 0, plainDetails},
		{"contract after a first try", tally.KindContract, "unknown", internal, unknown, "TALLY_CONTRACT", "unknown", "-1", 0, plainDetails},
		{"page token", tally.KindPageToken, "", invalid, invalid, "PAGE_TOKEN_INVALID", "not_sent", "", 0, plainDetails},
		{"precondition", tally.KindPrecondition, "", codes.Aborted, codes.Aborted, "ETAG_MISMATCH", "not_sent", "", 0, plainDetails},
		{"missing from a list", tally.KindMissing, "not_sent", codes.NotFound, codes.NotFound, "RESOURCE_NOT_FOUND", "not_sent", "", 0, []string{"ErrorInfo", "ResourceInfo"}},
		{"no slot in time", tally.KindQuotaWait, "not_sent", exhausted, exhausted, "QUOTA_WAIT_EXCEEDS_DEADLINE", "not_sent", "", time.Second, quotaDetails},
		{"too many wait", tally.KindQuotaFull, "not_sent", exhausted, exhausted, "QUOTA_QUEUE_FULL", "not_sent", "", time.Second, quotaDetails},
		{"contract", tally.KindContract, "", internal, internal, "TALLY_CONTRACT", "not_sent", "", 0, plainDetails},
		{"a kind that has no row", tally.Kind(99), "", internal, internal, "INTERNAL", "unknown", "-1", 0, plainDetails},
	}
}

func TestToStatusOfTransport(t *testing.T) {
	for _, test := range transportCases() {
		for effect, name := range effectNames {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				failure := &tally.Error{Kind: test.kind, Effect: effect, Outcome: test.outcome, RetryAfter: time.Second, ResourceType: "form"}
				want := seen{
					Code: test.wantWrite, Reason: test.wantReason, Domain: "tallyd", Outcome: test.wantOutcome,
					Pushback: test.wantPush, Retry: test.wantRetry, Details: test.wantDetails,
				}
				if effect == tally.Read {
					want.Code, want.Pushback = test.wantRead, ""
				}
				checkSeen(t, failure.Error(), see(t, toStatus(failure)), want)
			})
		}
	}
}

// localCase is one row of what tallyd itself refuses or breaks.
type localCase struct {
	reason      tallydv1.ErrorReason
	effect      tally.Effect
	wantCode    codes.Code
	wantReason  string
	wantOutcome tally.Outcome
	wantPush    string
	wantRetry   time.Duration
	wantDetails []string
}

func localCases() []localCase {
	const (
		inFlight  = tallydv1.ErrorReason_ERROR_REASON_DEADLINE_IN_FLIGHT
		cancelled = tallydv1.ErrorReason_ERROR_REASON_CALLER_CANCELLED
		panicked  = tallydv1.ErrorReason_ERROR_REASON_PANIC
	)
	return []localCase{
		{tallydv1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT, tally.Create, codes.DeadlineExceeded, "DEADLINE_TOO_SHORT", "not_sent", "", 0, plainDetails},
		{inFlight, tally.Read, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT", "unknown", "", 0, plainDetails},
		{inFlight, tally.Create, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT", "unknown", "-1", 0, plainDetails},
		{inFlight, 0, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT", "unknown", "", 0, plainDetails},
		{cancelled, tally.Read, codes.Canceled, "CALLER_CANCELLED", "unknown", "", 0, plainDetails},
		{cancelled, tally.Delete, codes.Canceled, "CALLER_CANCELLED", "unknown", "-1", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_SERVER_OVERLOADED, tally.Create, codes.Unavailable, "SERVER_OVERLOADED", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_SERVER_DRAINING, tally.Create, codes.Unavailable, "SERVER_DRAINING", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED, 0, codes.Unauthenticated, "CALLER_UNAUTHENTICATED", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED, 0, codes.PermissionDenied, "CALLER_NOT_ALLOWED", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID, tally.Read, codes.InvalidArgument, "RESUME_TOKEN_INVALID", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED, tally.Read, codes.OutOfRange, "RESUME_TOKEN_EXPIRED", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_GAP, tally.Read, codes.DataLoss, "EVENT_LOG_GAP", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_UNAVAILABLE, tally.Read, codes.Unavailable, "EVENT_LOG_UNAVAILABLE", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_FULL, tally.Read, codes.Unavailable, "EVENT_LOG_FULL", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_OFF, tally.Read, codes.FailedPrecondition, "EVENT_LOG_OFF", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED, tally.Create, codes.InvalidArgument, "REQUEST_ID_REUSED", "not_sent", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_REQUEST_OUTCOME_UNKNOWN, tally.Create, codes.Unknown, "REQUEST_OUTCOME_UNKNOWN", "unknown", "-1", 0, plainDetails},
		{panicked, 0, codes.Internal, "PANIC", "unknown", "", 0, plainDetails},
		{panicked, tally.Read, codes.Internal, "PANIC", "unknown", "", 0, plainDetails},
		{panicked, tally.Create, codes.Internal, "PANIC", "unknown", "-1", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_UNSPECIFIED, 0, codes.Internal, "INTERNAL", "unknown", "", 0, plainDetails},
		{tallydv1.ErrorReason_ERROR_REASON_TALLY_KEY_REJECTED, 0, codes.Internal, "INTERNAL", "unknown", "", 0, plainDetails},
	}
}

func TestToStatusOfLocalErrors(t *testing.T) {
	for i, test := range localCases() {
		t.Run(fmt.Sprintf("%d %v", i, test.reason), func(t *testing.T) {
			err := &localError{reason: test.reason, effect: test.effect, err: errors.New("marker")}
			want := seen{
				Code: test.wantCode, Reason: test.wantReason, Domain: "tallyd", Outcome: test.wantOutcome,
				Pushback: test.wantPush, Retry: test.wantRetry, Details: test.wantDetails,
			}
			m := toStatus(fmt.Errorf("wrapped: %w", err))
			checkSeen(t, err.Error(), see(t, m), want)
			if strings.Contains(m.status.String(), "marker") {
				t.Errorf("toStatus(%v) = %v, want a status without the cause", err, m.status)
			}
		})
	}
}

// Every reason of the contract has a row here; a reason that nothing can produce would be a promise to callers that nobody keeps.
func TestToStatusProducesEveryReason(t *testing.T) {
	produced := map[string]bool{}
	for _, c := range statusCases() {
		produced[c.wantReason] = true
	}
	for _, c := range transportCases() {
		produced[c.wantReason] = true
	}
	for _, c := range localCases() {
		produced[c.wantReason] = true
	}
	for number, name := range tallydv1.ErrorReason_name {
		name = strings.TrimPrefix(name, "ERROR_REASON_")
		if want := number != 0; produced[name] != want {
			t.Errorf("reason %s produced by a tested row = %v, want %v", name, produced[name], want)
		}
		delete(produced, name)
	}
	if len(produced) > 0 {
		t.Errorf("reasons %v are tested, want only those of the contract", produced)
	}
}

func TestAttribute(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithTimeout(t.Context(), -time.Second)
	defer stop()
	alive := t.Context()
	judged := &tally.Error{Kind: tally.KindReset, Effect: tally.Read, Err: context.Canceled}
	tests := []struct {
		name       string
		ctx        context.Context
		err        error
		wantCode   codes.Code
		wantReason string
	}{
		{"the caller cancelled", gone, context.Canceled, codes.Canceled, "CALLER_CANCELLED"},
		{"the caller cancelled, wrapped", gone, fmt.Errorf("wait: %w", context.Canceled), codes.Canceled, "CALLER_CANCELLED"},
		{"the caller's time is up", late, context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_IN_FLIGHT"},
		{"another context was cancelled", alive, context.Canceled, codes.Internal, "INTERNAL"},
		{"another context's time is up", alive, context.DeadlineExceeded, codes.Internal, "INTERNAL"},
		{"another context was cancelled, the caller's time is up", late, context.Canceled, codes.Internal, "INTERNAL"},
		{"another context's time is up, the caller cancelled", gone, context.DeadlineExceeded, codes.Internal, "INTERNAL"},
		{"another failure, the caller cancelled", gone, errors.New("boom"), codes.Internal, "INTERNAL"},
		{"a failure that was judged", gone, judged, codes.Unavailable, "TALLY_RESET"},
		{"a refusal that was judged", gone, &localError{reason: rowDraining.reason, err: context.Canceled}, codes.Unavailable, "SERVER_DRAINING"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := see(t, toStatus(attribute(test.ctx, tally.Read, test.err)))
			if got.Code != test.wantCode || got.Reason != test.wantReason {
				t.Errorf("toStatus(attribute(%v)) = %v, %s, want %v, %s", test.err, got.Code, got.Reason, test.wantCode, test.wantReason)
			}
		})
	}
}

func TestAttributeKeepsEffectAndCause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := attribute(ctx, tally.Create, context.Canceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("attribute(context.Canceled) = %v, want an error that wraps it", err)
	}
	if got := toStatus(err).pushback; got >= 0 {
		t.Errorf("pushback of a write that its caller left = %v, want less than 0", got)
	}
	if got := attribute(t.Context(), tally.Create, nil); got != nil {
		t.Errorf("attribute(nil) = %v, want nil", got)
	}
	if got := attribute(ctx, tally.Create, nil); got != nil {
		t.Errorf("attribute(nil) under a context that ended = %v, want nil", got)
	}
}

func TestLocalErrorText(t *testing.T) {
	cause := errors.New("queue of 100")
	tests := []struct {
		name string
		err  *localError
		want string
	}{
		{"with a cause", &localError{reason: rowOverloaded.reason, err: cause}, "SERVER_OVERLOADED: queue of 100"},
		{"without", &localError{reason: rowDraining.reason}, "SERVER_DRAINING"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.err.Error(); got != test.want {
				t.Errorf("Error() = %q, want %q", got, test.want)
			}
		})
	}
	if !errors.Is(tests[0].err, cause) {
		t.Errorf("errors.Is(%v, %v) = false, want true", tests[0].err, cause)
	}
}

func TestToStatusOfUnclassifiedErrors(t *testing.T) {
	var nothing *tally.Error
	tests := []struct {
		name string
		err  error
	}{
		{"any error", errors.New("marker")},
		{"a wrapped one", fmt.Errorf("marker: %w", errors.New("marker"))},
		{"a typed nil", nothing},
		{"a rule that does not compile", fmt.Errorf("marker: %w", &protovalidate.CompilationError{})},
		{"a bare cancellation", fmt.Errorf("marker: %w", context.Canceled)},
		{"a bare deadline", context.DeadlineExceeded},
	}
	want := seen{Code: codes.Internal, Reason: "INTERNAL", Domain: "tallyd", Outcome: "unknown", Details: plainDetails}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := toStatus(test.err)
			checkSeen(t, test.name, see(t, m), want)
			if got := m.status.Message(); got != rowInternal.message || strings.Contains(got, "marker") {
				t.Errorf("message = %q, want the constant %q", got, rowInternal.message)
			}
		})
	}
}

func TestToStatusOfNothing(t *testing.T) {
	m := toStatus(nil)
	if m.status.Code() != codes.OK || m.status.Err() != nil {
		t.Errorf("toStatus(nil) = %v, want OK", m.status)
	}
	if got := m.trailer(); len(got) != 0 {
		t.Errorf("trailer() = %v, want none", got)
	}
}
