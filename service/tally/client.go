package tally

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/cache"
	"github.com/tallyd/tallyd/service/quota"
)

// Keys is what the client needs of the key's custodian.
type Keys interface {
	// Current returns the key to send with.
	Current() apikey.Key
	// Err returns an *apikey.RejectedError while Tally is known to refuse the key.
	Err() error
	// Confirm says what a 401 to a request with this key means.
	Confirm(ctx context.Context, used apikey.Key) (apikey.Verdict, error)
}

// Config is what a Client needs.
type Config struct {
	// URL is Tally's address, without a path.
	URL *url.URL
	// Version is sent as tally-version with every request, since answers otherwise depend on the key's age.
	Version string
	// UserAgent is sent with every request; Tally's edge refuses the defaults of HTTP libraries.
	UserAgent string
	// Keys supplies the key.
	Keys Keys
	// Cache shares reads; nil makes each call ask Tally.
	Cache *cache.Store
	// Quota hands out the right to make a request; nil for any number of them.
	Quota *quota.Scheduler
	// Limits bound each request.
	Limits Limits
	// Drift is told of what an answer holds and the contract does not; it must be quick. May be nil.
	Drift func(path, kind string)
	// Watch is told of each request before it leaves: its verb, its path as the contract has it, without an id, and how many went
	// before it in the same call. The request goes on with the context that it returns; what else it returns is told the status, 0
	// without an answer, and in one of few words what went wrong, empty for nothing. It must be quick. May be nil.
	Watch func(ctx context.Context, verb, template string, before int) (context.Context, func(status int, failure string))
	// Circuit is told when requests are suspended because Tally fails, and when they are resumed; it must be quick. May be nil.
	Circuit func(open bool)
	// Log gets what no caller hears of. May be nil.
	Log *slog.Logger
	// TLS replaces the system's certificate pool; nil for the default.
	TLS *tls.Config
	// Resolver finds Tally's address, for an owner with a name server of his own; nil for the system's.
	Resolver *net.Resolver
}

// Client makes the requests that the contract describes. It is safe for concurrent use.
type Client struct {
	contract *Contract
	config   Config
	http     http.RoundTripper
	hangUp   func()
	retries  retryBudget
	breaker  *breaker
	running  sync.WaitGroup
}

// New returns a client for the RPCs of contract.
func New(contract *Contract, config Config) *Client {
	if config.Drift == nil {
		config.Drift = func(string, string) {}
	}
	if config.Watch == nil {
		config.Watch = func(ctx context.Context, _, _ string, _ int) (context.Context, func(int, string)) {
			return ctx, func(int, string) {}
		}
	}
	if config.Circuit == nil {
		config.Circuit = func(bool) {}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	transport, hangUp := newTransport(config)
	return &Client{
		contract: contract,
		config:   config,
		http:     keyTransport{next: transport},
		hangUp:   hangUp,
		breaker:  newBreaker(config.Circuit, config.Log),
	}
}

// lateAtClose bounds how long Close waits for writes that outlived their callers: their outcome is for the log alone, and whoever
// stops the process has little patience left after the drain.
const lateAtClose = 3 * time.Second

// Close waits a little for writes that outlived their callers and closes all connections. Calls must have ended before.
func (c *Client) Close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.running.Wait()
	}()
	select {
	case <-done:
	case <-time.After(lateAtClose):
	}
	c.hangUp()
}

// callOptions are what a handler says about one call beyond the request.
type callOptions struct {
	parts   map[string]jsontext.Value
	capture map[string]*jsontext.Value
	key     *apikey.Key
	finish  func(resp proto.Message)
	opaque  bool
}

// Option changes one call.
type Option func(*callOptions)

// WithPart merges the body's object under key into an object that Tally sent before, so that no key of it is lost. Should Tally
// refuse keys of it that the caller did not set, they are dropped and the request is sent once more.
func WithPart(key string, before jsontext.Value) Option {
	return func(o *callOptions) { o.parts = with(o.parts, key, before) }
}

// Capture stores the value under a top-level key of the answer, exactly as Tally sent it.
func Capture(key string, into *jsontext.Value) Option {
	return func(o *callOptions) { o.capture = with(o.capture, key, into) }
}

// with adds to a map that few calls need.
func with[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// WithKey makes exactly one request with the given key, whatever is known of it. It is how a key is checked.
func WithKey(key apikey.Key) Option {
	return func(o *callOptions) { o.key = &key }
}

// Finish runs f on the decoded response before it is measured, cut to size and shared.
func Finish(f func(resp proto.Message)) Option {
	return func(o *callOptions) { o.finish = f }
}

// Opaque leaves a single answer encoded: resp carries it as bytes, which travel on as they are, and shows no field of it.
func Opaque() Option {
	return func(o *callOptions) { o.opaque = true }
}

// Call makes the request that req stands for and fills resp with the answer. Of an update with a non-empty update_mask only the
// fields that the mask names travel, as they are set or as null. It returns nil or an *Error.
func (c *Client) Call(ctx context.Context, req, resp proto.Message, opts ...Option) error {
	x, failure := c.newExchange(ctx, req, opts)
	if failure != nil {
		return failure
	}
	keep := keepFrom(ctx)
	gathered := keep != nil && x.method.list != nil
	var s *sharing
	if !gathered {
		if s = c.sharing(ctx, x.method, req, &x.options); s != nil && !s.alone {
			if answer, found, err := c.config.Cache.Lookup(s.key, s.fresh); found && err == nil {
				return x.deliver(answer, resp)
			}
		}
	}
	if failure := x.bind(); failure != nil {
		return failure
	}
	switch {
	case gathered:
		return c.gather(ctx, x, resp, keep)
	case s != nil:
		return c.share(ctx, x, s, resp)
	}
	answer, failure := x.send(ctx)
	if failure == nil {
		failure = x.finish(answer, resp)
	}
	if failure == nil {
		return nil
	}
	return x.newCensor().clean(failure)
}

// Check reports what is wrong with a request, without making it: for a handler that must read before it writes. It returns nil or
// an *Error.
func (c *Client) Check(req proto.Message) error {
	x, failure := c.newExchange(context.Background(), req, nil)
	if failure == nil {
		failure = x.bind()
	}
	if failure != nil {
		return failure
	}
	return nil
}

func (c *Client) newExchange(ctx context.Context, req proto.Message, opts []Option) (*exchange, *Error) {
	m, err := c.contract.binding(req)
	if err != nil {
		return nil, &Error{Kind: KindContract, Outcome: OutcomeNotSent, Err: err}
	}
	x := &exchange{client: c, method: m, call: FromContext(ctx), msg: req.ProtoReflect()}
	for _, option := range opts {
		option(&x.options)
	}
	return x, nil
}

// bind makes the request that Tally will get, or says what is wrong with the caller's.
func (x *exchange) bind() *Error {
	if err := x.prepare(); err != nil {
		return x.refused(err)
	}
	return nil
}

// refused turns an error of our own about the request into what the caller reads.
func (x *exchange) refused(err error) *Error {
	e := x.newError(KindContract, OutcomeNotSent)
	e.Err = err
	var rule *fieldRuleError
	switch {
	case errors.Is(err, errPageToken):
		e.Kind, e.Message = KindPageToken, errPageToken.Error()
		e.Violations = []Violation{{Field: "page_token", Description: "is not one that this list handed out for this request"}}
	case errors.As(err, &rule):
		e.Kind = KindInvalid
		e.Violations = []Violation{{Field: rule.path, Description: rule.rule}}
	}
	return e
}

// finish decodes an answer into resp, lets the handler complete it and cuts it to what an answer may hold.
func (x *exchange) finish(answer *reply, resp proto.Message) *Error {
	fail := func(kind Kind, err error) *Error {
		e := x.newError(kind, x.appliedOutcome())
		e.Status, e.Err = answer.status, quiet(x.key, err)
		return e
	}
	var env envelope
	if x.method.expectsBody() {
		var err error
		drift := func(path, kind string) { x.client.config.Drift(path, kind) }
		if env, err = x.method.decodeAnswer(answer.body, resp, drift, x.options.opaque && x.options.finish == nil); err != nil {
			return fail(KindProtocol, err)
		}
	}
	if err := x.captureParts(answer.body); err != nil {
		return fail(KindProtocol, err)
	}
	if x.options.finish != nil {
		x.options.finish(resp)
	}
	limit := x.client.config.Limits.Answer
	err := x.fit(resp, env, limit)
	if size, ok := errors.AsType[*itemSizeError](err); ok {
		e := fail(KindItemTooLarge, nil)
		e.Size, e.Limit = size.size, size.limit
		return e
	}
	if err != nil {
		return fail(KindProtocol, err)
	}
	return nil
}

func (x *exchange) fit(resp proto.Message, env envelope, limit int) error {
	if x.page != nil {
		return x.page.cut(resp.ProtoReflect(), env, limit)
	}
	if size := proto.Size(resp); size > limit {
		return &itemSizeError{size: int64(size), limit: int64(limit)}
	}
	return nil
}

func (x *exchange) captureParts(body []byte) error {
	if len(x.options.capture) == 0 {
		return nil
	}
	return eachMember(body, func(key string, value jsontext.Value) error {
		if into := x.options.capture[key]; into != nil {
			*into = value.Clone()
		}
		return nil
	})
}

// expectsBody tells whether the response says anything that Tally must have sent.
func (m *method) expectsBody() bool { return m.answer != nil || len(m.response.byKey) > 0 }

// url returns the request's address.
func (x *exchange) url(query url.Values) (string, error) {
	path, err := x.method.path(x.msg)
	if err != nil {
		return "", err
	}
	address := strings.TrimSuffix(x.client.config.URL.String(), "/") + path
	if encoded := query.Encode(); encoded != "" {
		address += "?" + encoded
	}
	return address, nil
}

// retryBudget lets at most one in ten requests be a repetition, with a few in reserve for quiet times.
type retryBudget struct {
	mu     sync.Mutex
	tokens float64
	last   time.Time
}

const (
	retryShare   = 0.1
	retryReserve = 3.0
)

// earn notes a first try.
func (b *retryBudget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.tokens, b.last = retryReserve, time.Now()
	}
	b.tokens = min(b.tokens+retryShare, retryReserve)
}

// spend reports whether a repetition is within the share.
func (b *retryBudget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
