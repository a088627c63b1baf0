package sandbox

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Plan is a subscription plan of an organization.
type Plan string

// The plans Tally sells; the gated routes need Pro or Business.
const (
	Free     Plan = "FREE"
	Pro      Plan = "PRO"
	Business Plan = "BUSINESS"
)

// SettingsPatch says what PATCH /forms/{formId} does to the settings that the
// request leaves out.
type SettingsPatch int

// Nobody knows which of the two Tally does.
const (
	// Merge keeps the settings the request does not name.
	Merge SettingsPatch = iota
	// Replace drops them.
	Replace
)

type options struct {
	key           string
	rate          int
	retryAfter    bool
	plan          Plan
	seedFile      string
	faults        *Script
	retryScale    float64
	settingsPatch SettingsPatch
	revokedStatus int
	trashedStatus int
	choiceIDs     bool
	clock         func() time.Time
	logger        *slog.Logger
	transport     http.RoundTripper
}

func defaultOptions() options {
	return options{
		key:           "tly-sandbox",
		rate:          100,
		retryScale:    1,
		revokedStatus: http.StatusUnauthorized,
		trashedStatus: http.StatusNotFound,
		clock:         time.Now,
		logger:        slog.New(slog.DiscardHandler),
		transport:     loopbackTransport(),
	}
}

func (o *options) check() error {
	switch {
	case o.key == "":
		return fmt.Errorf("sandbox key must not be empty")
	case o.rate < 0:
		return fmt.Errorf("sandbox rate must not be negative, got %d", o.rate)
	case o.retryScale < 0:
		return fmt.Errorf("sandbox retry scale must not be negative, got %v", o.retryScale)
	case !known(o.plan) && o.plan != "":
		return fmt.Errorf("sandbox plan must be FREE, PRO or BUSINESS, got %q", o.plan)
	case !goneStatus(o.revokedStatus), !goneStatus(o.trashedStatus):
		return fmt.Errorf("sandbox status for a revoked key or a trashed form must be 401, 403 or 404")
	}
	return nil
}

func known(p Plan) bool { return p == Free || p == Pro || p == Business }

func goneStatus(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound
}

// Option changes how a Sandbox behaves.
type Option func(*options)

// WithKey sets the bearer key of the organization's creator, tly-sandbox
// unless set.
func WithKey(key string) Option { return func(o *options) { o.key = key } }

// WithRate sets how many requests a key may make in a minute, 100 unless set;
// 0 lifts the limit.
func WithRate(perMinute int) Option { return func(o *options) { o.rate = perMinute } }

// WithRetryAfter makes a 429 carry a Retry-After header. Nobody knows whether
// Tally's does; unless set it does not.
func WithRetryAfter() Option { return func(o *options) { o.retryAfter = true } }

// WithPlan sets the plan of the first organization, overriding the seed's.
func WithPlan(p Plan) Option { return func(o *options) { o.plan = p } }

// WithSeedFile reads the seed from a JSON file instead of the built-in
// company. The format is that of seed.json, described in SEED.md.
func WithSeedFile(path string) Option { return func(o *options) { o.seedFile = path } }

// WithFaults plays a fault script.
func WithFaults(s *Script) Option { return func(o *options) { o.faults = s } }

// WithRetryScale multiplies the waits of Tally's webhook retries: 5 minutes,
// 30 minutes, 1 hour, 6 hours and 1 day at scale 1.
func WithRetryScale(scale float64) Option { return func(o *options) { o.retryScale = scale } }

// WithSettingsPatch chooses what a PATCH does to unnamed settings; Merge
// unless set.
func WithSettingsPatch(p SettingsPatch) Option { return func(o *options) { o.settingsPatch = p } }

// WithRevokedKeyStatus chooses the answer to a revoked key: 401 (unless set),
// 403 or 404.
func WithRevokedKeyStatus(status int) Option { return func(o *options) { o.revokedStatus = status } }

// WithTrashedFormStatus chooses the answer to reading a form in the trash:
// 401, 403 or 404 (unless set).
func WithTrashedFormStatus(status int) Option { return func(o *options) { o.trashedStatus = status } }

// WithChoiceIDs makes REST answers to choice questions carry option ids
// instead of labels: the sources contradict each other.
func WithChoiceIDs() Option { return func(o *options) { o.choiceIDs = true } }

// WithClock replaces time.Now for dates and for the rate limit.
func WithClock(now func() time.Time) Option { return func(o *options) { o.clock = now } }

// WithLogger logs each request and delivery at debug level; silent unless set.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }
