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
	"sync"
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
	// Secrets returns the secrets that may have signed a delivery of a form; none means that no delivery of it is taken. What it returns
	// counts for a minute, unless a signature does not match.
	Secrets func(ctx context.Context, form string) ([]string, error)
	// Watching is told once of each form that something is delivered of. May be nil.
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
	known  sync.Map      // forms that Watching was told of
	keys   sync.Map      // by form, the secrets of which one signed a delivery not long ago
}

// keysFor is how long secrets count that were read once: reading them costs as much as all else but the log.
const keysFor = time.Minute

type keys struct {
	secrets []string
	read    time.Time
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
	found, err := in.keysOf(ctx, form)
	if err != nil {
		return "", in.failed(form, err)
	}
	if len(found.secrets) == 0 {
		return "", refusedSignature
	}
	body, refused := in.readBody(w, r)
	if refused != nil {
		return "", refused
	}
	ok, err = in.signed(ctx, form, found, body, signature)
	switch {
	case err != nil:
		return "", in.failed(form, err)
	case !ok:
		return "", refusedSignature
	}
	return in.store(ctx, form, body)
}

// keysOf returns the secrets of a form.
func (in *Intake) keysOf(ctx context.Context, form string) (keys, error) {
	if known, found := in.keys.Load(form); found && time.Since(known.(keys).read) < keysFor {
		return known.(keys), nil
	}
	return in.readKeys(ctx, form)
}

func (in *Intake) readKeys(ctx context.Context, form string) (keys, error) {
	now := time.Now()
	secrets, err := in.config.Secrets(ctx, form)
	return keys{secrets, now}, err
}

// signed tells whether one of a form's secrets signed the body. Where none of those that were remembered did, there may be others by now.
func (in *Intake) signed(ctx context.Context, form string, found keys, body, signature []byte) (bool, error) {
	known, _ := in.keys.Load(form)
	remembered, _ := known.(keys)
	isKnown := remembered.read.Equal(found.read)
	ok := signed(body, signature, found.secrets)
	if !ok && isKnown {
		var err error
		if found, err = in.readKeys(ctx, form); err != nil {
			return false, err
		}
		ok, isKnown = signed(body, signature, found.secrets), false
	}
	if ok && !isKnown { // what signed nothing is not remembered, else strangers could fill the memory
		in.keys.Store(form, found)
	}
	return ok, nil
}

// readBody reads the body within its limits.
func (in *Intake) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	control := http.NewResponseController(w)
	// A server without deadlines, such as a test's, reads all the same.
	_ = control.SetReadDeadline(time.Now().Add(readLimit))
	defer in.crowd.enter(control)()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
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
	if err := in.watching(ctx, form); err != nil {
		return "", in.failed(form, err)
	}
	result, err := in.config.Log.Add(ctx, News{Form: form, Submission: d.submission, Source: logv1.Source_SOURCE_DELIVERY, Time: d.created, Delivery: body})
	if err != nil {
		return "", in.failed(form, err)
	}
	return result.String(), nil
}

// watching tells of a form, once.
func (in *Intake) watching(ctx context.Context, form string) error {
	if _, known := in.known.Load(form); known || in.config.Watching == nil {
		return nil
	}
	if err := in.config.Watching(ctx, form); err != nil {
		return err
	}
	in.known.Store(form, nil)
	return nil
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
