package service

import (
	"time"

	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// operator ends a message about what no caller can mend.
const operator = "the operator of this service must act, nothing that the caller sends can mend it"

// Tally's refusals, in the order of their statuses.
var (
	rowInvalid = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_INVALID_FIELD, code: codes.InvalidArgument,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally refuses the request's content: the caller must change it",
	}
	rowContract = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_CONTRACT, code: codes.Internal,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally refuses what tallyd built of the request: a defect of tallyd, which its operator should report",
	}
	rowKeyRejected = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_KEY_REJECTED, code: codes.Unauthenticated,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally refuses the key that this service holds: " + operator,
	}
	rowFeature = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_FEATURE_UNAVAILABLE, code: codes.PermissionDenied,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "this service's key is alive but may not make this call, since the plan does not include it or " +
			"the account never used the feature: " + operator,
	}
	rowForbidden = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_PERMISSION_DENIED, code: codes.PermissionDenied,
		outcome: tally.OutcomeRejected, domain: tallySays, resource: true,
		message: "the Tally user of this service's key lacks the right to this resource: the caller may check the id; else " + operator,
	}
	rowEdgeBlocked = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_EDGE_BLOCKED, code: codes.Internal,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally's edge blocked this service before Tally saw the request: " + operator,
	}
	rowEdgeChallenge = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_EDGE_CHALLENGE, code: codes.Unavailable,
		outcome: tally.OutcomeRejected, domain: tallySays,
		retry:   retry{told: true, usual: 30 * time.Second, least: 30 * time.Second},
		message: "Tally's edge asked for a browser and did not pass the request on: the caller may try again later",
	}
	rowNotFound = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESOURCE_NOT_FOUND, code: codes.NotFound,
		outcome: tally.OutcomeRejected, domain: tallySays, resource: true,
		message: "Tally has no such resource, or this service's key does not see it: the caller should check the id",
	}
	rowNoRoute = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_PROTOCOL, code: codes.Internal,
		outcome: tally.OutcomeRejected, domain: weSay,
		message: "Tally does not know the route, so its address is wrong or the route is gone: " + operator,
	}
	rowNotProcessed = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_NOT_PROCESSED, code: codes.Unavailable,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally did not process the request: the caller may try again",
	}
	rowConflict = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_CONFLICT, code: codes.Aborted,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "the request conflicts with the resource's state at Tally: the caller should read it again and decide anew",
	}
	rowAlreadyExists = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_CONFLICT, code: codes.AlreadyExists,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally already has such a resource: the caller should use that one or another name",
	}
	rowGone = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESOURCE_GONE, code: codes.NotFound,
		outcome: tally.OutcomeRejected, domain: tallySays, resource: true,
		message: "the resource is gone from Tally for good: the caller should forget the id",
	}
	rowPreconditionFailed = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_ETAG_MISMATCH, code: codes.Aborted,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "the resource changed since the caller read it: the caller should read it again and decide anew",
	}
	rowRequestTooLarge = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_REQUEST_TOO_LARGE, code: codes.InvalidArgument,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "the request is larger than Tally accepts: the caller must send less",
	}
	rowLocked = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESOURCE_LOCKED, code: codes.FailedPrecondition,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "the resource is locked at Tally: whoever locked it must release it before the caller tries again",
	}
	rowRateLimited = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_RATE_LIMITED, code: codes.ResourceExhausted,
		outcome: tally.OutcomeRejected, domain: tallySays, quota: true, pushback: true,
		// Tally's window is a minute, so without a word of Tally's that long is enough.
		retry:   retry{told: true, usual: 60 * time.Second},
		message: "the requests that Tally grants this service's key are spent: the caller should try again later",
	}
	rowLegalBlock = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_LEGAL_BLOCK, code: codes.FailedPrecondition,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally refuses for legal reasons: " + operator,
	}
	rowUnexpectedRefusal = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_UNEXPECTED_STATUS, code: codes.Internal,
		outcome: tally.OutcomeRejected, domain: tallySays,
		message: "Tally refuses with a status that tallyd does not know: a gap of tallyd, which its operator should report",
	}
)

// Tally's failures: what a write did is open, except where the edge says that it never got through.
var (
	rowError = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_ERROR, code: codes.Unavailable,
		outcome: tally.OutcomeUnknown, domain: tallySays,
		message: "Tally failed, which is Tally's fault",
	}
	rowUnavailable = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_UNAVAILABLE, code: codes.Unavailable,
		outcome: tally.OutcomeUnknown, domain: tallySays, retry: retry{told: true},
		message: "Tally or its edge is down, which is Tally's fault",
	}
	rowNotReached = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_UNAVAILABLE, code: codes.Unavailable,
		outcome: tally.OutcomeRejected, domain: tallySays, retry: retry{told: true},
		message: "Tally's edge did not reach Tally, which is Tally's fault: the caller may try again",
	}
	rowUnexpected = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_UNEXPECTED_STATUS, code: codes.Unavailable,
		outcome: tally.OutcomeUnknown, domain: tallySays,
		message: "Tally answers with a status that tallyd does not know",
	}
)

// Answers that are of no use: Tally spoke, the verdict is ours.
var (
	rowProtocol = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_PROTOCOL, code: codes.Internal,
		outcome: tally.OutcomeApplied, domain: weSay,
		message: "Tally's answer is not what its contract says: the operator of this service should report it",
	}
	rowTruncated = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_TRUNCATED, code: codes.Unavailable,
		outcome: tally.OutcomeUnknown, domain: weSay,
		message: "the connection to Tally ended in the middle of the answer",
	}
	rowTooLarge = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_RESPONSE_TOO_LARGE, code: codes.ResourceExhausted,
		outcome: tally.OutcomeApplied, domain: weSay, never: true,
		message: "Tally's answer is larger than this service reads: the caller should ask for a smaller page",
	}
	rowItemTooLarge = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESPONSE_TOO_LARGE, code: codes.ResourceExhausted,
		outcome: tally.OutcomeApplied, domain: weSay, never: true,
		message: "a single item is larger than one answer may be: the caller should ask for less of it",
	}
	rowRedirect = row{
		reason: tallydv1.ErrorReason_ERROR_REASON_TALLY_REDIRECT, code: codes.Internal,
		outcome: tally.OutcomeUnknown, domain: weSay,
		message: "Tally answers with a redirect, which is never followed: the operator of this service must check its address",
	}
)
