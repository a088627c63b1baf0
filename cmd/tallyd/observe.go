package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/statuspage"
	"github.com/tallyd/tallyd/service/telemetry"
)

// observation is what the process shows of itself: metrics, traces and the status page.
type observation struct {
	*telemetry.Telemetry

	started time.Time
	calls   *statuspage.Recorder
	failed  func(reason string)
	decided func(decision string)
	read    func(ok bool) // the policy's file, anew
	lost    func(error)   // a record of the audit trail
	drifted func() int64
	waited  func(quota.Caller, time.Duration)
}

// newObservation starts what the variables OTEL_* ask for; registry holds the metrics of our own.
func newObservation(ctx context.Context, registry *prometheus.Registry, log *slog.Logger) (*observation, error) {
	sent, err := telemetry.Start(ctx, telemetry.Config{Version: version, Own: registry, Log: log})
	if err != nil {
		return nil, err
	}
	return &observation{
		Telemetry: sent, started: time.Now(), calls: statuspage.NewRecorder(),
		failed: countErrors(registry), decided: countDecisions(registry),
		waited: quotaWaits(registry),
		read:   policyGauge(registry), lost: countAuditFailures(registry, log), drifted: func() int64 { return 0 },
	}, nil
}

// apply makes a server show its calls.
func (o *observation) apply(config *service.Config) {
	config.Meter, config.Tracer, config.Observe = o.Meter, o.Tracer, o.observe
}

// observe takes in a finished call.
func (o *observation) observe(call statuspage.Call) {
	o.calls.Observe(call)
	if call.Code != "" {
		o.failed(call.Reason)
	}
}

// page is the status page.
func (o *observation) page(tally *url.URL, key func() apikey.State, more func(*statuspage.Facts)) http.Handler {
	return statuspage.Handler(o.calls, func() statuspage.Facts {
		facts := statuspage.Facts{
			Version: version, Revision: revision(), Started: o.started, TallyHost: tally.Host, KeyState: "unknown", Drift: o.drifted(),
		}
		state := key()
		facts.KeyAlias = state.Alias
		switch {
		case state.Rejected:
			facts.KeyState, facts.KeySince = "rejected", state.Since
		case state.Known:
			facts.KeyState, facts.KeySince = "good", state.Since
		}
		more(&facts)
		return facts
	})
}
