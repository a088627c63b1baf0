package service

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tallyd/tallyd/service/tally"
)

// statusCase is one row of the HTTP status table, written out by hand.
type statusCase struct {
	name     string
	statuses []int
	// failure is what the REST side says besides status and effect; its Kind defaults to KindStatus.
	failure tally.Error
	// hears marks the rows in which Tally's Retry-After counts.
	hears bool

	wantRead, wantCreate, wantUpdate, wantDelete codes.Code
	wantReason, wantDomain                       string
	wantReadOutcome, wantOutcome                 tally.Outcome
	wantReadRetry, wantRetry                     time.Duration
	wantReadPushback, wantPushback               string
	wantReadDetails, wantDetails                 []string
}

func (c statusCase) want(effect tally.Effect) seen {
	want := seen{
		Reason: c.wantReason, Domain: c.wantDomain,
		Outcome: c.wantOutcome, Retry: c.wantRetry, Pushback: c.wantPushback, Details: c.wantDetails,
	}
	switch effect {
	case tally.Read:
		want.Code, want.Outcome, want.Retry = c.wantRead, c.wantReadOutcome, c.wantReadRetry
		want.Pushback, want.Details = c.wantReadPushback, c.wantReadDetails
	case tally.Create:
		want.Code = c.wantCreate
	case tally.Update:
		want.Code = c.wantUpdate
	case tally.Delete:
		want.Code = c.wantDelete
	}
	return want
}

// with returns the failure as the REST side would report it, with all that a row might wrongly make use of.
func (c statusCase) with(code int, effect tally.Effect) *tally.Error {
	failure := c.failure
	failure.Status, failure.Effect, failure.Attempts = code, effect, 1
	if failure.Kind == 0 {
		failure.Kind = tally.KindStatus
	}
	if !c.hears {
		failure.RetryAfter = 9 * time.Second
	}
	if !failure.OnCollection {
		failure.ResourceType, failure.ResourceID = "form", "mexJoq"
	}
	return &failure
}

var (
	plainDetails    = []string{"ErrorInfo"}
	retryDetails    = []string{"ErrorInfo", "RetryInfo"}
	resourceDetails = []string{"ErrorInfo", "ResourceInfo"}
	fieldDetails    = []string{"ErrorInfo", "BadRequest"}
	quotaDetails    = []string{"ErrorInfo", "RetryInfo", "QuotaFailure"}
	formFailure     = tally.Error{JSON: true}
	oneField        = []tally.Violation{{Field: "status", Key: "status", Description: `"status" must be one of [BLANK]`}}
	foreignField    = []tally.Violation{{Key: "isTemplate", Description: `"isTemplate" is not allowed`}}
)

// refusal is a row whose columns for reads and writes are the same and whose outcome is rejected.
func refusal(name, reason, domain string, code codes.Code, failure tally.Error, details []string, statuses ...int) statusCase {
	return statusCase{
		name: name, statuses: statuses, failure: failure,
		wantRead: code, wantCreate: code, wantUpdate: code, wantDelete: code,
		wantReason: reason, wantDomain: domain,
		wantReadOutcome: "rejected", wantOutcome: "rejected",
		wantReadDetails: details, wantDetails: details,
	}
}

// breakdown is a row that leaves open what a write did.
func breakdown(name, reason, domain string, read codes.Code, failure tally.Error, statuses ...int) statusCase {
	return statusCase{
		name: name, statuses: statuses, failure: failure,
		wantRead: read, wantCreate: codes.Unknown, wantUpdate: codes.Unknown, wantDelete: codes.Unknown,
		wantReason: reason, wantDomain: domain,
		wantReadOutcome: "unknown", wantOutcome: "unknown", wantPushback: "-1",
		wantReadDetails: plainDetails, wantDetails: plainDetails,
	}
}

// hearing marks a row in which Tally's Retry-After counts.
func hearing(c statusCase) statusCase {
	c.hears = true
	return c
}

// retried adds a RetryInfo to a row, to both columns or to that for reads alone.
func retried(c statusCase, read, write time.Duration) statusCase {
	c.hears = true
	c.wantReadRetry, c.wantRetry = read, write
	if read > 0 {
		c.wantReadDetails = retryDetails
	}
	if write > 0 {
		c.wantDetails = retryDetails
	}
	return c
}

func rateLimited(name string, failure tally.Error, retry time.Duration, pushback string) statusCase {
	c := refusal(name, "TALLY_RATE_LIMITED", "tally.so", codes.ResourceExhausted, failure, quotaDetails, 429)
	c.hears = true
	c.wantReadRetry, c.wantRetry, c.wantReadPushback, c.wantPushback = retry, retry, pushback, pushback
	return c
}

func conflictCase() statusCase {
	c := refusal("409", "TALLY_CONFLICT", "tally.so", codes.Aborted, tally.Error{}, plainDetails, 409)
	c.wantCreate = codes.AlreadyExists
	return c
}

// refusalCases are the rows of the table for 4xx and for what the edge refuses.
func refusalCases() []statusCase {
	return []statusCase{
		refusal("400 of a caller's field", "INVALID_FIELD", "tally.so", codes.InvalidArgument,
			tally.Error{JSON: true, Violations: oneField}, fieldDetails, 400),
		refusal("400 of a caller's field and of one of ours", "INVALID_FIELD", "tally.so", codes.InvalidArgument,
			tally.Error{JSON: true, Violations: append(foreignField[:1:1], oneField...)}, fieldDetails, 400),
		refusal("400 of a field that we added", "TALLY_CONTRACT", "tally.so", codes.Internal,
			tally.Error{JSON: true, Violations: foreignField}, plainDetails, 400),
		refusal("400 that names no field", "TALLY_CONTRACT", "tally.so", codes.Internal, tally.Error{JSON: true}, plainDetails, 400),
		refusal("401 confirmed", "TALLY_KEY_REJECTED", "tally.so", codes.Unauthenticated,
			tally.Error{Kind: tally.KindKeyRejected}, plainDetails, 401),
		refusal("401 that nobody looked into", "TALLY_KEY_REJECTED", "tally.so", codes.Unauthenticated, tally.Error{}, plainDetails, 401),
		refusal("401 with a live key", "TALLY_FEATURE_UNAVAILABLE", "tally.so", codes.PermissionDenied,
			tally.Error{Kind: tally.KindFeature}, plainDetails, 401, 402),
		refusal("402", "TALLY_FEATURE_UNAVAILABLE", "tally.so", codes.PermissionDenied, tally.Error{}, plainDetails, 402),
		refusal("403 in Tally's JSON", "TALLY_PERMISSION_DENIED", "tally.so", codes.PermissionDenied, formFailure, resourceDetails, 403),
		refusal("403 in plain text", "TALLY_PERMISSION_DENIED", "tally.so", codes.PermissionDenied, tally.Error{}, resourceDetails, 403),
		refusal("403 on a collection", "TALLY_PERMISSION_DENIED", "tally.so", codes.PermissionDenied,
			tally.Error{JSON: true, OnCollection: true}, plainDetails, 403),
		refusal("403 of the edge", "TALLY_EDGE_BLOCKED", "tally.so", codes.Internal,
			tally.Error{Kind: tally.KindEdgeBlocked}, plainDetails, 403),
		retried(refusal("challenge", "TALLY_EDGE_CHALLENGE", "tally.so", codes.Unavailable,
			tally.Error{Kind: tally.KindEdgeChallenge}, nil, 403, 429, 503), 30*time.Second, 30*time.Second),
		retried(refusal("challenge that asks for less patience", "TALLY_EDGE_CHALLENGE", "tally.so", codes.Unavailable,
			tally.Error{Kind: tally.KindEdgeChallenge, RetryAfter: 29 * time.Second}, nil, 503), 30*time.Second, 30*time.Second),
		retried(refusal("challenge that asks for more patience", "TALLY_EDGE_CHALLENGE", "tally.so", codes.Unavailable,
			tally.Error{Kind: tally.KindEdgeChallenge, RetryAfter: 90 * time.Second}, nil, 429), 90*time.Second, 90*time.Second),
		refusal("404 in Tally's JSON", "RESOURCE_NOT_FOUND", "tally.so", codes.NotFound, formFailure, resourceDetails, 404),
		refusal("404 that is no JSON", "TALLY_PROTOCOL", "tallyd", codes.Internal,
			tally.Error{}, plainDetails, 404),
		refusal("404 on a collection", "TALLY_PROTOCOL", "tallyd", codes.Internal,
			tally.Error{JSON: true, OnCollection: true}, plainDetails, 404),
		refusal("404 that the REST side judged", "TALLY_PROTOCOL", "tallyd", codes.Internal,
			tally.Error{Kind: tally.KindProtocol}, plainDetails, 404),
		refusal("bad request of ours", "TALLY_CONTRACT", "tally.so", codes.Internal, tally.Error{}, plainDetails,
			405, 406, 411, 414, 415, 431, 501, 505),
		refusal("not processed", "TALLY_NOT_PROCESSED", "tally.so", codes.Unavailable, tally.Error{}, plainDetails, 408, 421, 425),
		conflictCase(),
		refusal("410", "RESOURCE_GONE", "tally.so", codes.NotFound, formFailure, resourceDetails, 410),
		refusal("412", "ETAG_MISMATCH", "tally.so", codes.Aborted, tally.Error{}, plainDetails, 412),
		refusal("413", "REQUEST_TOO_LARGE", "tally.so", codes.InvalidArgument, tally.Error{}, plainDetails, 413),
		refusal("422 with a field", "INVALID_FIELD", "tally.so", codes.InvalidArgument,
			tally.Error{JSON: true, Violations: oneField}, fieldDetails, 422),
		refusal("422 that names no field", "INVALID_FIELD", "tally.so", codes.InvalidArgument, tally.Error{JSON: true}, plainDetails, 422),
		refusal("422 of a field that we added", "TALLY_CONTRACT", "tally.so", codes.Internal,
			tally.Error{JSON: true, Violations: foreignField}, plainDetails, 422),
		refusal("423", "RESOURCE_LOCKED", "tally.so", codes.FailedPrecondition, tally.Error{}, plainDetails, 423),
		rateLimited("429 without a word", tally.Error{}, 60*time.Second, "60000"),
		rateLimited("429 that says when", tally.Error{RetryAfter: 7 * time.Second}, 7*time.Second, "7000"),
		rateLimited("429 that says long", tally.Error{RetryAfter: 120 * time.Second}, 120*time.Second, "120000"),
		refusal("451", "TALLY_LEGAL_BLOCK", "tally.so", codes.FailedPrecondition, tally.Error{}, plainDetails, 451),
		refusal("other 4xx", "TALLY_UNEXPECTED_STATUS", "tally.so", codes.Internal, tally.Error{}, plainDetails,
			407, 416, 417, 418, 419, 420, 424, 426, 427, 428, 430, 432, 450, 452, 499),
	}
}

// failureCases are the rows for redirects, 5xx and statuses that do not exist.
func failureCases() []statusCase {
	notReached := hearing(refusal("the edge did not reach its origin", "TALLY_UNAVAILABLE", "tally.so", codes.Unavailable,
		tally.Error{}, plainDetails, 521, 523, 525, 526))
	notReachedSoon := retried(refusal("the edge says when", "TALLY_UNAVAILABLE", "tally.so", codes.Unavailable,
		tally.Error{RetryAfter: 11 * time.Second}, nil, 521, 523, 525, 526), 11*time.Second, 11*time.Second)
	return []statusCase{
		breakdown("redirect", "TALLY_REDIRECT", "tallyd", codes.Internal, tally.Error{Kind: tally.KindRedirect}, 300, 301, 302, 307, 308, 399),
		breakdown("redirect that nobody judged", "TALLY_REDIRECT", "tallyd", codes.Internal, tally.Error{}, 300, 304, 399),
		breakdown("500", "TALLY_ERROR", "tally.so", codes.Unavailable, tally.Error{}, 500),
		hearing(breakdown("down", "TALLY_UNAVAILABLE", "tally.so", codes.Unavailable, tally.Error{},
			502, 503, 504, 520, 522, 524, 527, 530)),
		retried(breakdown("down and says when", "TALLY_UNAVAILABLE", "tally.so", codes.Unavailable,
			tally.Error{RetryAfter: 5 * time.Second}, 502, 503, 504, 520, 522, 524, 527, 530), 5*time.Second, 0),
		notReached, notReachedSoon,
		breakdown("no known status", "TALLY_UNEXPECTED_STATUS", "tally.so", codes.Unavailable, tally.Error{},
			100, 101, 103, 199, 506, 507, 508, 510, 511, 519, 528, 529, 531, 599, 600, 700, 999, 1000),
	}
}

// answerCases are the rows for successes that are of no use.
func answerCases() []statusCase {
	protocol := breakdown("unusable", "TALLY_PROTOCOL", "tallyd", codes.Internal, tally.Error{Kind: tally.KindProtocol}, 200, 201, 204, 206)
	protocol.wantOutcome = "applied"
	unjudged := breakdown("2xx that nobody judged", "TALLY_PROTOCOL", "tallyd", codes.Internal, tally.Error{}, 200, 299)
	unjudged.wantOutcome = "applied"
	large := breakdown("too large", "TALLY_RESPONSE_TOO_LARGE", "tallyd", codes.ResourceExhausted,
		tally.Error{Kind: tally.KindTooLarge, Limit: 1 << 20}, 200, 201)
	large.wantOutcome, large.wantReadPushback = "applied", "-1"
	item := breakdown("item too large", "RESPONSE_TOO_LARGE", "tallyd", codes.ResourceExhausted,
		tally.Error{Kind: tally.KindItemTooLarge, Size: 5 << 20, Limit: 7 << 19}, 200, 201)
	item.wantOutcome, item.wantReadPushback = "applied", "-1"
	return []statusCase{
		protocol, unjudged, large, item,
		breakdown("cut", "TALLY_TRUNCATED", "tallyd", codes.Unavailable, tally.Error{Kind: tally.KindTruncated}, 200, 201),
	}
}

func statusCases() []statusCase {
	return append(append(refusalCases(), failureCases()...), answerCases()...)
}

func TestToStatusOfHTTPStatuses(t *testing.T) {
	for _, test := range statusCases() {
		for _, code := range test.statuses {
			for effect, name := range effectNames {
				t.Run(fmt.Sprintf("%s/%d/%s", test.name, code, name), func(t *testing.T) {
					failure := test.with(code, effect)
					checkSeen(t, failure.Error(), see(t, toStatus(failure)), test.want(effect))
				})
			}
		}
	}
}

// A delete may be repeated. What its first try did stays open, whatever the second one brought.
func TestToStatusOfRepeatedDeletes(t *testing.T) {
	for _, test := range statusCases() {
		for _, code := range test.statuses {
			failure := test.with(code, tally.Delete)
			failure.Attempts, failure.Outcome = 2, tally.OutcomeUnknown
			got := see(t, toStatus(failure))
			if got.Code != codes.Unknown || got.Outcome != "unknown" || got.Pushback != "-1" || got.Retry != 0 {
				t.Errorf("toStatus(%v) = %+v, want UNKNOWN, unknown, push-back -1 and no RetryInfo", failure, got)
			}
		}
	}
}

// The REST side's own word for the outcome must not move a row whose status says it all, nor be lost where the status does not.
func TestToStatusWeighsOutcomes(t *testing.T) {
	tests := []struct {
		name        string
		failure     tally.Error
		wantCode    codes.Code
		wantOutcome tally.Outcome
	}{
		{"a status needs no second opinion", tally.Error{Kind: tally.KindStatus, Status: 501, Effect: tally.Create, Outcome: "unknown"}, codes.Internal, "rejected"},
		{"even after a dial that failed", tally.Error{Kind: tally.KindStatus, Status: 404, JSON: true, Effect: tally.Update, Outcome: "unknown", Attempts: 2}, codes.NotFound, "rejected"},
		{"a failure is no refusal", tally.Error{Kind: tally.KindStatus, Status: 500, Effect: tally.Create, Outcome: "rejected"}, codes.Unknown, "unknown"},
		{"an answer was sent for", tally.Error{Kind: tally.KindStatus, Status: 503, Effect: tally.Create, Outcome: "not_sent"}, codes.Unknown, "unknown"},
		{"an answer needs a connection", tally.Error{Kind: tally.KindConnect, Status: 200, Effect: tally.Create, Outcome: "not_sent"}, codes.Unknown, "unknown"},
		{"a repeated delete stays open", tally.Error{Kind: tally.KindStatus, Status: 521, Effect: tally.Delete, Outcome: "unknown", Attempts: 2}, codes.Unknown, "unknown"},
		{"a delete that was tried once does not", tally.Error{Kind: tally.KindStatus, Status: 521, Effect: tally.Delete, Outcome: "unknown", Attempts: 1}, codes.Unavailable, "rejected"},
		{"a write that was cut after its yes", tally.Error{Kind: tally.KindTruncated, Status: 200, Effect: tally.Create, Outcome: "applied"}, codes.Unknown, "applied"},
		{"a read that was cut after its yes", tally.Error{Kind: tally.KindTruncated, Status: 200, Effect: tally.Read, Outcome: "unknown"}, codes.Unavailable, "unknown"},
		{"the server refused the stream unseen", tally.Error{Kind: tally.KindReset, Effect: tally.Create, Outcome: "not_sent"}, codes.Unavailable, "not_sent"},
		{"a dial after a silent delete", tally.Error{Kind: tally.KindConnect, Effect: tally.Delete, Outcome: "unknown", Attempts: 2}, codes.Unknown, "unknown"},
		{"no trust after a silent delete", tally.Error{Kind: tally.KindTLS, Effect: tally.Delete, Outcome: "unknown", Attempts: 2}, codes.Unknown, "unknown"},
		{"the latch lets nothing out", tally.Error{Kind: tally.KindKeyRejected, Effect: tally.Create, Outcome: "not_sent"}, codes.Unauthenticated, "not_sent"},
		{"an effect that nobody named may be a write", tally.Error{Kind: tally.KindReset, Outcome: "unknown"}, codes.Unknown, "unknown"},
		{"a deadline after the yes", tally.Error{Kind: tally.KindDeadline, Status: 200, Effect: tally.Create, Outcome: "applied"}, codes.DeadlineExceeded, "applied"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := see(t, toStatus(&test.failure))
			if got.Code != test.wantCode || got.Outcome != test.wantOutcome {
				t.Errorf("toStatus(%v) = %v, %q, want %v, %q", &test.failure, got.Code, got.Outcome, test.wantCode, test.wantOutcome)
			}
		})
	}
}
