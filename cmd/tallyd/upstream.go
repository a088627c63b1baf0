package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/cache"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/sandbox"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	// tallyVersion pins the shapes of Tally's answers, which otherwise depend on the age of the key.
	tallyVersion = "2026-08-04"
	keyVariable  = "TALLY_API_KEY"
	defaultURL   = "https://api.tally.so"
)

// upstreamFlags say where Tally is and with which key to speak to it.
type upstreamFlags struct {
	TallyURL     string `default:"${tally_url}" placeholder:"URL" help:"Tally's address; plain http only for loopback."`
	TallyVersion string `default:"${tally_version}" placeholder:"DATE" help:"Sent as tally-version with every request."`
	KeyFile      string `placeholder:"PATH" help:"File holding the Tally key, re-read on change; else the environment variable TALLY_API_KEY."`
}

// base returns Tally's address.
func (f upstreamFlags) base() (*url.URL, error) {
	base, err := url.Parse(f.TallyURL)
	if err != nil || base.Hostname() == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, usagef("--tally-url must be an https address, such as https://api.tally.so")
	}
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return nil, usagef("--tally-url must be https, since the key would travel in clear; plain http is for loopback alone")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "" {
		return nil, usagef("--tally-url must not have a user, a path, a query or a fragment")
	}
	return base, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

// source returns where the key comes from, or nil when nothing names one.
func (f upstreamFlags) source(log *slog.Logger) apikey.Source {
	if f.KeyFile != "" {
		return apikey.FromFile(f.KeyFile, log)
	}
	if os.Getenv(keyVariable) != "" {
		return apikey.FromEnv(keyVariable)
	}
	return nil
}

func (f upstreamFlags) checkVersion() error {
	if _, err := time.Parse(time.DateOnly, f.TallyVersion); err == nil {
		return nil
	}
	return usagef("--tally-version must be a date such as %s", tallyVersion)
}

// newContract compiles the contract's bindings.
func newContract() (*tally.Contract, error) {
	contract, err := tally.NewContract(
		tallydv1.File_tallyd_v1_user_service_proto,
		tallydv1.File_tallyd_v1_organization_service_proto,
		tallydv1.File_tallyd_v1_workspace_service_proto,
		tallydv1.File_tallyd_v1_form_service_proto,
		tallydv1.File_tallyd_v1_submission_service_proto,
		tallydv1.File_tallyd_v1_analytics_service_proto,
		tallydv1.File_tallyd_v1_webhook_service_proto,
	)
	if err != nil {
		return nil, fmt.Errorf("compile the contract: %w", err)
	}
	return contract, nil
}

// upstream is Tally, real or pretended, with the key to it.
type upstream struct {
	client  *tally.Client
	keeper  *apikey.Keeper
	server  *service.Server
	policy  *policy.Keeper // nil without one
	metrics *prometheus.Registry
	seen    *observation
	page    http.Handler
	drift   func(path, kind string)
	quota   *quota.Scheduler // nil without one
	cache   *cache.Store
	events  *eventLog                      // nil without one
	live    atomic.Pointer[service.Server] // once it is made, for those who tell it of the log
	showing sync.Mutex                     // one at a time says what the health names say
	open    atomic.Bool                    // the circuit
	close   func()
}

func (s serveCmd) upstream(ctx context.Context, log *slog.Logger) (*upstream, error) {
	base, source, stop, err := s.place(ctx, log)
	if err != nil {
		return nil, err
	}
	contract, err := newContract()
	if err != nil {
		return nil, err
	}
	up := &upstream{metrics: newRegistry(), cache: cache.New(s.CacheBytes)}
	if up.seen, err = newObservation(ctx, up.metrics, log); err != nil {
		stop()
		return nil, usageError{err}
	}
	up.close = func() {
		if up.client != nil {
			up.client.Close()
		}
		up.cache.Close()
		up.seen.Stop(ctx)
		stop()
	}
	up.drift, up.seen.drifted = countDrift(up.metrics, log, up.hide)
	if err := up.keep(source, log); err != nil {
		up.close()
		return nil, usageError{err}
	}
	if up.quota, err = s.newQuota(up.seen, log); err != nil {
		up.close()
		return nil, err
	}
	showQuota(up.metrics, up.quota)
	showCache(up.metrics, up.cache)
	up.client = tally.New(contract, tally.Config{ //nolint:contextcheck // its connections live as long as it does
		URL: base, Version: s.TallyVersion, UserAgent: userAgent(), Keys: up.keeper, Quota: up.quota, Cache: up.cache,
		Limits: tally.DefaultLimits(), Drift: up.drift, Watch: up.seen.Watch(base), Circuit: up.circuit(), Log: log,
	})
	up.page = up.seen.page(base, up.keeper.State, up.show)
	return up, nil
}

// keep gives the key to its custodian, and tells what becomes of it.
func (u *upstream) keep(source apikey.Source, log *slog.Logger) (err error) {
	check := func(ctx context.Context, key apikey.Key) (apikey.Identity, error) {
		return service.CheckKey(ctx, u.client, key)
	}
	rejected := keyGauge(u.metrics)
	notify := func(state apikey.State) {
		rejected(state.Rejected)
		if u.server != nil {
			u.server.SetTally(healthOf(state))
		}
	}
	u.keeper, err = apikey.New(source, check, apikey.WithLogger(log), apikey.WithNotify(notify))
	return err
}

// hide keeps the key out of the names that Tally uses, among which may be an echo of it.
func (u *upstream) hide(text string) string { return u.keeper.Current().Redact(text) }

// showEvents says with the health name "events" whether the log can be used.
func (u *upstream) showEvents() {
	u.showing.Lock() // what was true first must not be said last
	defer u.showing.Unlock()
	server := u.live.Load()
	if server == nil {
		return
	}
	status := healthpb.HealthCheckResponse_SERVING
	if u.events.store.Err() != nil {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	server.SetEvents(status)
}

// healthOf is what the health name "tally" says of the key.
func healthOf(state apikey.State) healthpb.HealthCheckResponse_ServingStatus {
	switch {
	case state.Rejected:
		return healthpb.HealthCheckResponse_NOT_SERVING
	case state.Known:
		return healthpb.HealthCheckResponse_SERVING
	default:
		return healthpb.HealthCheckResponse_UNKNOWN
	}
}

// place returns where Tally is and where its key comes from, and starts the pretend one when asked to.
func (s serveCmd) place(ctx context.Context, log *slog.Logger) (*url.URL, apikey.Source, func(), error) {
	if s.Sandbox {
		address, stop, err := startSandbox(ctx, "127.0.0.1:0", sandbox.WithRate(s.SandboxRate), sandbox.WithLogger(log))
		return address, fixedSource{}, stop, err
	}
	base, err := s.base()
	if err != nil {
		return nil, nil, nil, err
	}
	source := s.source(log)
	if source == nil {
		return nil, nil, nil, usagef("no Tally key: set %s, give --key-file=PATH, or try --sandbox", keyVariable)
	}
	return base, source, func() {}, nil
}

// userAgent names this program to Tally's edge, which refuses the defaults of HTTP libraries.
func userAgent() string { return "tallyd/" + version + " (+https://github.com/tallyd/tallyd)" }
