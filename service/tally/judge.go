package tally

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tallyd/tallyd/service/apikey"
)

func (x *exchange) newError(kind Kind, outcome Outcome) *Error {
	return &Error{
		Kind: kind, Outcome: outcome,
		Method: x.method.name, Effect: x.method.effect, OnCollection: x.method.collection,
		Attempts: x.attempts, ResourceType: x.method.resource, ResourceID: x.method.resourceID(x.msg),
	}
}

// appliedOutcome is what is known once Tally said yes.
func (x *exchange) appliedOutcome() Outcome {
	if x.method.effect == Read {
		return OutcomeUnknown
	}
	return OutcomeApplied
}

// transportError judges an attempt that brought no usable answer. answer may hold a status whose body could not be read.
func (x *exchange) transportError(ctx context.Context, key apikey.Key, answer *reply, sent *departure, err error) *Error {
	if answer != nil && (answer.status < 200 || answer.status > 299) && !errors.Is(err, errOurLimit) && ctx.Err() == nil {
		// The status is verdict enough.
		return x.statusError(answer, key)
	}
	outcome := OutcomeNotSent
	if sent.left.Load() && !unprocessed(err) {
		outcome = OutcomeUnknown
	}
	e := x.newError(transportKind(ctx, sent, err), outcome)
	e.Err = quiet(key, err)
	if answer != nil {
		e.Status, e.Outcome = answer.status, x.appliedOutcome()
		e.Kind = bodyKind(e.Kind, err)
		if e.Kind == KindTooLarge {
			e.Limit = x.client.config.Limits.Body
		}
	}
	return e
}

// bodyKind judges the body of a success that could not be read.
func bodyKind(kind Kind, err error) Kind {
	switch {
	case kind == KindDeadline, kind == KindCancelled, kind == KindTimeout:
		return kind
	case errors.Is(err, errTooLarge):
		return KindTooLarge
	case errors.Is(err, errEncoding):
		return KindProtocol
	default:
		return KindTruncated
	}
}

func transportKind(ctx context.Context, sent *departure, err error) Kind {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return KindDeadline
	case ctx.Err() != nil:
		return KindCancelled
	case errors.As(err, &dns), errors.Is(err, errPrivateAddress):
		return KindDNS
	case unprocessed(err):
		return KindReset
	case !sent.left.Load() && (sent.noTLS.Load() || isTLS(err)):
		return KindTLS
	case !sent.left.Load():
		return KindConnect
	case errors.Is(err, errOurLimit), errors.As(err, &timeout) && timeout.Timeout():
		return KindTimeout
	default:
		return KindReset
	}
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	if errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &certificate) ||
		errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid) {
		return true
	}
	// net/http and crypto/tls have no type for a handshake that took too long or found no common version.
	return strings.Contains(err.Error(), "TLS handshake") || strings.Contains(err.Error(), "tls: ")
}

// repeatable tells whether the same request may be sent again: always when Tally did not act on it and says so or never saw it,
// a read and a delete also after silence; a create or an update that has left never.
func (e *Error) repeatable() bool {
	idempotent := e.Effect == Read || e.Effect == Delete
	switch e.Kind {
	case KindConnect:
		return true
	case KindReset, KindTruncated:
		return idempotent || e.unprocessed()
	case KindStatus:
		return idempotent && repeatableStatus(e.Status) && e.RetryAfter == 0
	default:
		return false
	}
}

// unprocessed tells that the request left, and that Tally said it did not look at it.
func (e *Error) unprocessed() bool { return e.Kind == KindReset && e.Outcome == OutcomeNotSent }

func repeatableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return (status >= 520 && status <= 527) || status == 530
}

// statusError judges an answer that is no success.
func (x *exchange) statusError(answer *reply, key apikey.Key) *Error {
	e := x.newError(KindStatus, statusOutcome(answer.status))
	e.Status = answer.status
	e.Ray = clip(excerpt(key, answer.header.Get("Cf-Ray")), 64)
	e.RequestID = clip(excerpt(key, answer.header.Get("X-Request-Id")), 64)
	e.RetryAfter = answer.pause
	if e.RetryAfter == 0 {
		e.RetryAfter = retryAfter(answer.header, time.Now())
	}
	if answer.status >= 300 && answer.status < 400 {
		e.Kind = KindRedirect
		if target, err := url.Parse(answer.header.Get("Location")); err == nil {
			e.RedirectHost = excerpt(key, target.Host)
		}
		return e
	}
	x.readErrorBody(e, answer, key)
	switch {
	case isChallenge(answer):
		e.Kind, e.Outcome = KindEdgeChallenge, OutcomeRejected
	case answer.status == http.StatusForbidden && isEdgeBlock(answer):
		e.Kind = KindEdgeBlocked
	case answer.status == http.StatusPaymentRequired:
		e.Kind = KindFeature
	case answer.status == http.StatusUnauthorized:
		e.Kind, e.KeyAlias = KindKeyRejected, key.Alias()
	case answer.status == http.StatusNotFound && !e.JSON:
		// Tally's own says so in JSON: the route is gone, not the resource.
		e.Kind = KindProtocol
	}
	return e
}

// statusOutcome says what a status tells of the request's effect: 4xx and the statuses of an edge that never reached its origin
// are a no; everything else leaves it open.
func statusOutcome(status int) Outcome {
	switch {
	case status >= 400 && status < 500:
		return OutcomeRejected
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return OutcomeRejected
	case status == 521 || status == 523 || status == 525 || status == 526:
		return OutcomeRejected
	default:
		return OutcomeUnknown
	}
}

func isHTML(answer *reply) bool {
	if strings.Contains(answer.header.Get("Content-Type"), "html") {
		return true
	}
	start := strings.ToLower(strings.TrimSpace(string(answer.body[:min(len(answer.body), 64)])))
	return strings.HasPrefix(start, "<!doctype") || strings.HasPrefix(start, "<html")
}

// isChallenge recognises the page that asks for a browser.
func isChallenge(answer *reply) bool {
	switch answer.status {
	case http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable:
	default:
		return false
	}
	if strings.EqualFold(answer.header.Get("Cf-Mitigated"), "challenge") {
		return true
	}
	if !isHTML(answer) {
		return false
	}
	body := strings.ToLower(string(answer.body[:min(len(answer.body), 16<<10)]))
	return strings.Contains(body, "challenge-platform") || strings.Contains(body, "cf_chl") ||
		strings.Contains(body, "just a moment")
}

// isEdgeBlock recognises the edge's own refusal: Tally's is JSON.
func isEdgeBlock(answer *reply) bool {
	body := strings.ToLower(string(answer.body[:min(len(answer.body), 16<<10)]))
	return strings.Contains(body, "error code: 10") || (isHTML(answer) && strings.Contains(body, "cloudflare"))
}

const (
	minRetryAfter = time.Second
	maxRetryAfter = 120 * time.Second
)

// retryAfter reads Retry-After, seconds or a date against the answer's own clock, clamped to 1 to 120 s; 0 when there is none that
// can be read. Of several the longest counts.
func retryAfter(header http.Header, now time.Time) time.Duration {
	var longest time.Duration
	for _, text := range header.Values("Retry-After") {
		var wait time.Duration
		text = strings.TrimSpace(text)
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
			wait = time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second
		} else if date, err := http.ParseTime(text); err == nil {
			if sent, err := http.ParseTime(header.Get("Date")); err == nil {
				now = sent
			}
			wait = date.Sub(now)
		} else {
			continue
		}
		longest = max(longest, min(max(wait, minRetryAfter), maxRetryAfter))
	}
	return longest
}
