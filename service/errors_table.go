package service

import (
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// The two domains of google.rpc.ErrorInfo: whose verdict an error is.
const (
	tallySays = "tally.so"
	weSay     = "tallyd"
)

// row is one event and what becomes of it. Reads and writes share the code: an open outcome alone makes UNKNOWN of it for a write.
type row struct {
	reason tallydv1.ErrorReason
	code   codes.Code
	// outcome is what the event tells of a write's effect.
	outcome tally.Outcome
	domain  string
	// fixed keeps the code although the outcome is open: the caller's own clock and hand, and our defects.
	fixed bool
	retry retry
	// resource, quota: ResourceInfo, QuotaFailure.
	resource, quota bool
	// pushback tells grpc clients to wait as long as RetryInfo says; never tells them not to try again.
	pushback, never bool
	message         string
	// facts are more metadata, of this failure.
	facts map[string]string
}

// retry says when another try is worth it.
type retry struct {
	// told honours what Tally or a room of ours says; usual is the time when nothing was said, least the shortest.
	told         bool
	usual, least time.Duration
}

// delay returns 0 where no RetryInfo is due. An open outcome has none: it would invite to repeat.
func (r row) delay(e *tally.Error, outcome tally.Outcome) time.Duration {
	if open(outcome) && e.Effect != tally.Read {
		return 0
	}
	if r.retry.told && e.RetryAfter > 0 {
		return max(e.RetryAfter, r.retry.least)
	}
	return r.retry.usual
}

// tallyRow picks the row of a failure on the REST side.
func tallyRow(e *tally.Error) row {
	if e.Kind == tally.KindStatus {
		return statusRow(e)
	}
	// A lost route is judged by the REST side under the same kind as an unusable success.
	if e.Kind == tally.KindProtocol && e.Status == http.StatusNotFound {
		return rowNoRoute
	}
	if r, ok := kindRows[e.Kind]; ok {
		return r
	}
	return rowInternal
}

// kindRows are the kinds that need no look at the status.
var kindRows = map[tally.Kind]row{
	tally.KindKeyRejected:      rowKeyRejected,
	tally.KindFeature:          rowFeature,
	tally.KindEdgeBlocked:      rowEdgeBlocked,
	tally.KindEdgeChallenge:    rowEdgeChallenge,
	tally.KindRedirect:         rowRedirect,
	tally.KindProtocol:         rowProtocol,
	tally.KindTruncated:        rowTruncated,
	tally.KindTooLarge:         rowTooLarge,
	tally.KindDNS:              rowDNS,
	tally.KindConnect:          rowConnect,
	tally.KindTLS:              rowTLS,
	tally.KindReset:            rowReset,
	tally.KindTimeout:          rowTimeout,
	tally.KindCircuitOpen:      rowCircuitOpen,
	tally.KindDeadlineTooShort: rowDeadlineTooShort,
	tally.KindDeadline:         rowDeadline,
	tally.KindCancelled:        rowCancelled,
	tally.KindInvalid:          rowOwnInvalid,
	tally.KindPageToken:        rowPageToken,
	tally.KindPrecondition:     rowPrecondition,
	tally.KindMissing:          rowMissing,
	tally.KindItemTooLarge:     rowItemTooLarge,
	tally.KindQuotaWait:        rowQuotaWait,
	tally.KindQuotaFull:        rowQuotaFull,
	tally.KindContract:         rowOwnContract,
}

// localRows are the reasons that a localError may have.
var localRows = map[tallydv1.ErrorReason]row{
	rowDeadlineTooShort.reason:      rowDeadlineTooShort,
	rowDeadline.reason:              rowDeadline,
	rowCancelled.reason:             rowCancelled,
	rowOverloaded.reason:            rowOverloaded,
	rowDraining.reason:              rowDraining,
	rowResumeToken.reason:           rowResumeToken,
	rowResumeExpired.reason:         rowResumeExpired,
	rowEventGap.reason:              rowEventGap,
	rowEventLogUnavailable.reason:   rowEventLogUnavailable,
	rowEventLogFull.reason:          rowEventLogFull,
	rowEventLogOff.reason:           rowEventLogOff,
	rowRequestIDReused.reason:       rowRequestIDReused,
	rowOutcomeUnknown.reason:        rowOutcomeUnknown,
	rowCallerUnauthenticated.reason: rowCallerUnauthenticated,
	rowCallerNotAllowed.reason:      rowCallerNotAllowed,
	rowPanic.reason:                 rowPanic,
}

func localRow(reason tallydv1.ErrorReason) row {
	if r, ok := localRows[reason]; ok {
		return r
	}
	return rowInternal
}

// statusRow picks the row of an HTTP status. Never by grpc's own table: that one is for a client behind a foreign proxy.
func statusRow(e *tally.Error) row {
	switch e.Status / 100 {
	case 2:
		return rowProtocol
	case 3:
		return rowRedirect
	case 4:
		return clientErrorRow(e)
	case 5:
		return serverErrorRow(e.Status)
	default:
		return rowUnexpected
	}
}

func clientErrorRow(e *tally.Error) row {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return invalidRow(e)
	case http.StatusUnauthorized:
		return rowKeyRejected
	case http.StatusPaymentRequired:
		return rowFeature
	case http.StatusForbidden:
		return rowForbidden
	case http.StatusNotFound:
		if !e.JSON || e.OnCollection {
			return rowNoRoute
		}
		return rowNotFound
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusLengthRequired, http.StatusRequestURITooLong,
		http.StatusUnsupportedMediaType, http.StatusRequestHeaderFieldsTooLarge:
		return rowContract
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly:
		return rowNotProcessed
	case http.StatusConflict:
		if e.Effect == tally.Create {
			return rowAlreadyExists
		}
		return rowConflict
	case http.StatusGone:
		return rowGone
	case http.StatusPreconditionFailed:
		return rowPreconditionFailed
	case http.StatusRequestEntityTooLarge:
		return rowRequestTooLarge
	case http.StatusLocked:
		return rowLocked
	case http.StatusTooManyRequests:
		return rowRateLimited
	case http.StatusUnavailableForLegalReasons:
		return rowLegalBlock
	default:
		return rowUnexpectedRefusal
	}
}

// invalidRow decides whose field it is. What the caller did not set is ours; a 422 that names no field is about the content, which is
// the caller's, while a 400 that names none is about the form, which is ours.
func invalidRow(e *tally.Error) row {
	callers := slices.ContainsFunc(e.Violations, func(v tally.Violation) bool { return v.Field != "" })
	if callers || (e.Status == http.StatusUnprocessableEntity && len(e.Violations) == 0) {
		return rowInvalid
	}
	return rowContract
}

func serverErrorRow(status int) row {
	switch status {
	case 500:
		return rowError
	case 501, 505:
		return rowContract
	case 521, 523, 525, 526:
		return rowNotReached
	case 502, 503, 504, 520, 522, 524, 527, 530:
		return rowUnavailable
	default:
		return rowUnexpected
	}
}
