package tally

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// tripAfter is how many failures of Tally in a row suspend all requests.
	tripAfter = 5
	// openFor is how long they are suspended before one is let through to try.
	openFor = 10 * time.Second
	// trialHint is what a caller is told to wait while that one is under way: nobody knows how long it takes.
	trialHint = time.Second
)

// breaker keeps requests from a Tally that fails, so that an outage costs it and our callers next to nothing.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	told    func(open bool)
	log     *slog.Logger
	until   atomic.Int64 // when the open time ends, in nanoseconds since 1970

	mu   sync.Mutex // held while a verdict is told
	last verdict    // the one being told
}

// verdict is what an attempt says of Tally. It is an error because the breaker's library wants one.
type verdict struct {
	word    word
	failure *Error
}

type word int

const (
	neutral word = iota
	answered
	failed
	hopeless // no number of tries would help
)

// Error names the failure for the breaker's library; nobody reads it.
func (v verdict) Error() string { return v.failure.Kind.String() }

// newBreaker returns a breaker that lets everything through; told and log hear when that changes.
func newBreaker(told func(open bool), log *slog.Logger) *breaker {
	b := &breaker{told: told, log: log}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       openFor,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter || b.last.word == hopeless },
		OnStateChange: b.changed,
		IsSuccessful:  func(err error) bool { return wordOf(err) == answered },
		IsExcluded:    func(err error) bool { return wordOf(err) == neutral },
	})
	return b
}

func wordOf(err error) word {
	if v, ok := errors.AsType[verdict](err); ok {
		return v.word
	}
	return answered
}

// refuses returns how long to wait when a request has no hope of being let through now, else 0. It holds no place: admit does.
func (b *breaker) refuses() time.Duration {
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return b.rest()
	case gobreaker.StateHalfOpen:
		if c := b.circuit.Counts(); c.Requests > c.TotalExclusions {
			return trialHint
		}
	}
	return 0
}

// rest is what is left of the open time.
func (b *breaker) rest() time.Duration {
	return max(time.Until(time.Unix(0, b.until.Load())), trialHint)
}

// admit lets a request through or says how long to wait. Whoever is let through must call tell once.
func (b *breaker) admit() (tell func(verdict), wait time.Duration) {
	done, err := b.circuit.Allow()
	switch {
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, trialHint
	case err != nil:
		return nil, b.rest()
	}
	return func(v verdict) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.last = v
		if v.word == answered {
			done(nil)
			return
		}
		done(v)
	}, 0
}

// changed notes a change of state. To open it comes from tell alone, which holds the lock.
func (b *breaker) changed(_ string, from, to gobreaker.State) {
	switch to {
	case gobreaker.StateOpen:
		b.until.Store(time.Now().Add(openFor).UnixNano())
		attrs := []any{slog.Duration("for", openFor)}
		if e := b.last.failure; e != nil {
			attrs = append(attrs, slog.String("failure", e.Kind.String()), slog.Int("status", e.Status))
		}
		b.log.Warn("calls to tally suspended", attrs...)
		if from == gobreaker.StateClosed {
			b.told(true)
		}
	case gobreaker.StateHalfOpen:
		b.log.Info("one call to tally tried")
	case gobreaker.StateClosed:
		b.log.Info("calls to tally resumed")
		b.told(false)
	}
}

// judge says what the end of an attempt tells of Tally. Whatever Tally answered short of a failure of its own shows that it is there:
// a refusal, a redirect and an answer that makes no sense cost it little and are no cure for waiting. What the caller did, or Tally
// turned away when it renewed a connection, tells nothing.
func judge(e *Error) verdict {
	v := verdict{failure: e}
	switch {
	case e == nil:
		v.word = answered
	case e.Kind == KindDeadline, e.Kind == KindCancelled, e.unprocessed():
		v.word = neutral
	case e.Kind == KindEdgeChallenge, e.Kind == KindTLS && isCertificate(e.Err):
		v.word = hopeless
	case e.Kind == KindStatus && isFailure(e.Status):
		v.word = failed
	case e.Status == 0, e.Kind == KindTimeout, e.Kind == KindTruncated:
		v.word = failed
	default:
		v.word = answered
	}
	return v
}

// isFailure tells a status by which Tally or its edge says that it failed from those that say that we did.
func isFailure(status int) bool {
	switch status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status < 200 || status >= 500
}

// isCertificate tells a certificate that cannot be trusted from a handshake that broke.
func isCertificate(err error) bool {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}
