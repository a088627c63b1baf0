package service

import (
	"time"

	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// The way to Tally.
var (
	rowDNS = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_DNS, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "this service cannot resolve Tally's name: the caller may try again, the operator should look if it lasts",
	}
	rowConnect = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_CONNECT, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "this service has no connection to Tally: the caller may try again, the operator should look if it lasts",
	}
	rowTLS = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_TLS, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay, retry: retry{usual: 30 * time.Second},
		message: "this service cannot trust the connection to Tally: the operator of this service should look",
	}
	rowReset = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_RESET, code: codes.Unavailable,
		outcome: tally.OutcomeUnknown, domain: weSay,
		message: "the connection to Tally broke after the request had left",
	}
	rowTimeout = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_TIMEOUT, code: codes.Unavailable,
		outcome: tally.OutcomeUnknown, domain: weSay,
		message: "Tally took longer than this service waits",
	}
	rowCircuitOpen = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_CIRCUIT_OPEN, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay, retry: retry{told: true, usual: 30 * time.Second},
		message: "calls to Tally are suspended after repeated failures of Tally: the caller may try again later",
	}
)

// The caller's request, clock and hand.
var (
	rowOwnInvalid = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_INVALID_FIELD, code: codes.InvalidArgument,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the request breaks a rule of the contract: the caller must change it",
	}
	rowPageToken = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID, code: codes.InvalidArgument,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the page token is not one that this list handed out for this request: the caller must start the list again",
	}
	rowResumeToken = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID, code: codes.InvalidArgument,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the resume token is not one of a stream with these fields: the caller must begin anew or restore the request",
	}
	rowPrecondition = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_ETAG_MISMATCH, code: codes.Aborted,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the resource is not as the caller expects: the caller should read it again and decide anew",
	}
	rowMissing = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESOURCE_NOT_FOUND, code: codes.NotFound,
		outcome: tally.OutcomeNotSent, domain: weSay, resource: true,
		message: "Tally's list holds no such resource, or this service's key does not see it: the caller should check the id",
	}
	rowDeadlineTooShort = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT, code: codes.DeadlineExceeded,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the deadline is shorter than a request to Tally can take: the caller must allow more time",
	}
	rowDeadline = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_DEADLINE_IN_FLIGHT, code: codes.DeadlineExceeded,
		outcome: tally.OutcomeUnknown, domain: weSay, fixed: true,
		message: "the deadline of the call, the caller's or this service's own, passed while Tally worked",
	}
	rowCancelled = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_CALLER_CANCELLED, code: codes.Canceled,
		outcome: tally.OutcomeUnknown, domain: weSay, fixed: true,
		message: "the caller cancelled",
	}
	rowCallerUnauthenticated = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED, code: codes.Unauthenticated,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "this service does not know the caller: the caller must identify itself",
	}
	rowCallerNotAllowed = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED, code: codes.PermissionDenied,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the policy of this service does not allow this call: whoever grants access must decide otherwise",
	}
)

// This process and its budget.
var (
	rowQuotaWait = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_QUOTA_WAIT_EXCEEDS_DEADLINE, code: codes.ResourceExhausted,
		outcome: tally.OutcomeNotSent, domain: weSay, quota: true, retry: retry{told: true, usual: time.Second},
		message: "the wait for a request to Tally would outlast the deadline: the caller should allow more time or try later",
	}
	rowQuotaFull = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_QUOTA_QUEUE_FULL, code: codes.ResourceExhausted,
		outcome: tally.OutcomeNotSent, domain: weSay, quota: true, retry: retry{told: true, usual: time.Second},
		message: "too many calls of this caller wait for a request to Tally: the caller should send fewer at once",
	}
	rowOverloaded = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_SERVER_OVERLOADED, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "this process has all the work it can hold: another replica may take the call",
	}
	rowDraining = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_SERVER_DRAINING, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "this process is stopping: another replica may take the call",
	}
)

// Our own defects: constant messages, what happened is in the log.
var (
	rowOwnContract = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_CONTRACT, code: codes.Internal,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "tallyd cannot build this request from its contract: a defect of tallyd, which its operator should report",
	}
	rowPanic = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_PANIC, code: codes.Internal,
		outcome: tally.OutcomeUnknown, domain: weSay, fixed: true,
		message: "a defect of tallyd: its operator finds it in the log under the request id",
	}
	rowInternal = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_INTERNAL, code: codes.Internal,
		outcome: tally.OutcomeUnknown, domain: weSay, fixed: true,
		message: "a defect of tallyd that nobody foresaw: its operator finds it in the log under the request id",
	}
)

// The log of events.
var (
	rowResumeExpired = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED, code: codes.OutOfRange,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "events behind the resume token are older than what the log keeps: the caller has missed some, and can go on with oldest_resume_token",
	}
	rowEventGap = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_GAP, code: codes.DataLoss,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the log has lost events: this service asks Tally for what they were about, and the caller can replay from behind last_sequence",
	}
	rowEventLogUnavailable = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_UNAVAILABLE, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the log of events cannot be used now: the caller may try again, the operator of this service should look if it lasts",
	}
	rowEventLogFull = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_FULL, code: codes.Unavailable,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "the disk of the log of events is full: the operator of this service must make room",
	}
	rowEventLogOff = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_OFF, code: codes.FailedPrecondition,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "this service keeps no log of events: its operator must set --events=on and --data-dir, or --nats-url",
	}
)

// The ledger of writes.
var (
	rowRequestIDReused = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED, code: codes.InvalidArgument,
		outcome: tally.OutcomeNotSent, domain: weSay,
		message: "request_id was used for a request with other fields: the caller must give each request an id of its own",
	}
	rowOutcomeUnknown = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_REQUEST_OUTCOME_UNKNOWN, code: codes.Unknown,
		outcome: tally.OutcomeUnknown, domain: weSay,
		message: "an earlier request with this request_id left, and nobody knows what became of it: the caller should look before it sends another",
	}
)
