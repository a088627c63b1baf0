package events

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

const (
	// HookPath is where deliveries come in; the form's id follows.
	HookPath = "/hooks/"

	// mostBody bounds the body of a delivery in bytes.
	mostBody = 1 << 20
	// mostDeliveries bounds those whose body is waited for, and with mostBody the memory that strangers can fill; and as many that are
	// signed and on their way into the log.
	mostDeliveries = 256
	// readLimit is how long a body may take; answerLimit leaves an answer well within the 10 s that Tally waits.
	readLimit   = 3 * time.Second
	answerLimit = 8 * time.Second
	// formResponse is the one type of event that Tally is known to deliver.
	formResponse = "FORM_RESPONSE"
)

// Outcomes of a delivery, as metrics name them, beside those of Result.
const (
	outcomeUnsigned  = "unsigned"
	outcomeMalformed = "malformed"
	outcomeTooLarge  = "too_large"
	outcomeTooSlow   = "too_slow"
	outcomeOverload  = "overload"
	outcomeFailed    = "failed"
	outcomeIgnored   = "ignored"
)

// Outcomes returns what can become of a delivery.
func Outcomes() []string {
	return []string{
		Stored.String(), Known.String(), Conflicting.String(), Gone.String(), Stale.String(), outcomeUnsigned, outcomeMalformed, outcomeTooLarge,
		outcomeTooSlow, outcomeOverload, outcomeFailed, outcomeIgnored,
	}
}

// IntakeConfig is what an Intake needs.
type IntakeConfig struct {
	// Log takes what is delivered.
	Log *Log
	// Secrets returns the secrets that may have signed a delivery of a form; none means that no delivery of it is taken. It is asked for
	// fresh ones where none of those at hand signed it.
	Secrets func(ctx context.Context, form string, fresh bool) ([]string, error)
	// Watching is told of each form that something is delivered of, each time; it must be quick for one that it knows. May be nil.
	Watching func(ctx context.Context, form string) error
	// Retention is how long events are kept; a delivery of something older is a replay of one that is forgotten.
	Retention time.Duration
	// Delivered is told what became of each delivery; it must be quick. May be nil.
	Delivered func(outcome string)
	// Logger gets what operators should see.
	Logger *slog.Logger
}

// Intake takes Tally's deliveries over HTTP.
type Intake struct {
	config IntakeConfig
	crowd  *crowd        // before the signature
	places chan struct{} // behind it
}

// NewIntake returns an intake.
func NewIntake(config IntakeConfig) *Intake {
	if config.Delivered == nil {
		config.Delivered = func(string) {}
	}
	return &Intake{config: config, crowd: newCrowd(mostDeliveries), places: make(chan struct{}, mostDeliveries)}
}

// refusal is an answer that is not 200.
type refusal struct {
	status  int
	outcome string
	words   string
}

var (
	refusedMethod    = &refusal{http.StatusMethodNotAllowed, outcomeMalformed, "a delivery is a POST"}
	refusedForm      = &refusal{http.StatusNotFound, outcomeMalformed, "the path must be /hooks/ and the id of a form"}
	refusedEncoding  = &refusal{http.StatusUnsupportedMediaType, outcomeMalformed, "the body must not be compressed: its bytes are what is signed"}
	refusedSize      = &refusal{http.StatusRequestEntityTooLarge, outcomeTooLarge, "the body is larger than 1 MiB"}
	refusedPace      = &refusal{http.StatusRequestTimeout, outcomeTooSlow, "the body did not come in time"}
	refusedSignature = &refusal{http.StatusUnauthorized, outcomeUnsigned, "the signature is missing or wrong"}
	refusedBody      = &refusal{http.StatusBadRequest, outcomeMalformed, "the body is no delivery of this form"}
	refusedLoad      = &refusal{http.StatusServiceUnavailable, outcomeOverload, "too many deliveries are under way"}
	refusedStore     = &refusal{http.StatusServiceUnavailable, outcomeFailed, "the delivery cannot be stored now"}
)

// ServeHTTP answers a delivery: 200 when it is in the log, safely, or was before; 401, 4xx or 503 when it is not.
func (in *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	outcome, refused := in.take(w, r)
	if refused == nil {
		in.config.Delivered(outcome)
		return
	}
	in.config.Delivered(refused.outcome)
	if refused.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "30")
	}
	// What is left of a body is not worth reading, and a connection with the rest of one is of no use.
	w.Header().Set("Connection", "close")
	http.Error(w, refused.words, refused.status)
}

// take stores a delivery and returns what became of it, or why it is refused.
func (in *Intake) take(w http.ResponseWriter, r *http.Request) (string, *refusal) {
	form := r.PathValue("form")
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return "", refusedMethod
	case !isID(form):
		return "", refusedForm
	case r.Header.Get("Content-Encoding") != "":
		return "", refusedEncoding
	case r.ContentLength > mostBody:
		return "", refusedSize
	}
	signature, ok := signatureOf(r.Header)
	if !ok {
		return "", refusedSignature // before a byte of the body is read
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
	defer cancel()
	secrets, err := in.config.Secrets(ctx, form, false)
	if err != nil {
		return "", in.failed(form, err)
	}
	if len(secrets) == 0 {
		return "", refusedSignature
	}
	body, refused := in.readBody(w, r)
	if refused != nil {
		return "", refused
	}
	if refused := in.check(ctx, form, body, signature, secrets); refused != nil {
		return "", refused
	}
	return in.store(ctx, form, body)
}

// check refuses a body that none of a form's secrets signed. Where none of those at hand did, there may be others by now.
func (in *Intake) check(ctx context.Context, form string, body, signature []byte, secrets []string) *refusal {
	if signed(body, signature, secrets) {
		return nil
	}
	secrets, err := in.config.Secrets(ctx, form, true)
	switch {
	case err != nil:
		return in.failed(form, err)
	case !signed(body, signature, secrets):
		return refusedSignature
	}
	return nil
}

// readBody reads the body within its limits.
func (in *Intake) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	control := http.NewResponseController(w)
	// A server without deadlines, such as a test's, reads all the same.
	_ = control.SetReadDeadline(time.Now().Add(readLimit))
	leave := in.crowd.enter(control)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	leave()
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return nil, refusedSize
	case err != nil:
		return nil, refusedPace
	}
	return body, nil
}

// signatureOf returns the signature of a delivery. Two are none: who sends two hopes that another one is looked at.
func signatureOf(header http.Header) ([]byte, bool) {
	values := header.Values("Tally-Signature")
	if len(values) != 1 {
		return nil, false
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(values[0])
	return signature, err == nil && len(signature) == sha256.Size
}

// signed tells whether one of the secrets signed the body. All are tried, so that the time says nothing of which.
func signed(body, signature []byte, secrets []string) bool {
	found := false
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), signature) && secret != "" {
			found = true
		}
	}
	return found
}

// store logs a delivery whose signature is right.
func (in *Intake) store(ctx context.Context, form string, body []byte) (string, *refusal) {
	d, err := parseDelivery(body)
	switch {
	case err != nil || d.form != form || !isID(d.submission):
		in.config.Logger.Warn("a signed delivery is none of this form", slog.String("form", form))
		return "", refusedBody
	case d.eventType != formResponse:
		in.config.Logger.Warn("a delivery is of a type that this version does not know", slog.String("form", form))
		return outcomeIgnored, nil
	case !d.created.IsZero() && time.Since(d.created) > in.config.Retention:
		return Stale.String(), nil
	}
	select {
	case in.places <- struct{}{}:
		defer func() { <-in.places }()
	default:
		return "", refusedLoad
	}
	if in.config.Watching != nil {
		if err := in.config.Watching(ctx, form); err != nil {
			return "", in.failed(form, err)
		}
	}
	result, err := in.config.Log.Add(ctx, News{Form: form, Submission: d.submission, Source: logv1.Source_SOURCE_DELIVERY, Time: d.created, Delivery: body})
	if err != nil {
		return "", in.failed(form, err)
	}
	return result.String(), nil
}

func (in *Intake) failed(form string, err error) *refusal {
	in.config.Logger.Error("a delivery is not stored", slog.String("form", form), slog.String("error", err.Error()),
		slog.Bool("disk_full", errors.Is(err, store.ErrFull)))
	return refusedStore
}

// Handler returns the intake at its path, and nothing else.
func (in *Intake) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(HookPath+"{form}", in)
	return mux
}

// NewServer returns a server for the intake with the limits that a public port needs.
func (in *Intake) NewServer() *http.Server {
	return &http.Server{
		Handler: in.Handler(), ReadHeaderTimeout: readLimit, ReadTimeout: 2 * readLimit, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(in.config.Logger.Handler(), slog.LevelDebug),
	}
}
