package main

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	return registry
}

// onOff returns how to set a gauge that is 1 or 0.
func onOff(registry *prometheus.Registry, name, help string) func(on bool) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	registry.MustRegister(gauge)
	return func(on bool) { gauge.Set(number(on)) }
}

func number(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// keyGauge returns how to say whether Tally refuses the key: the one thing of which somebody must be woken.
func keyGauge(registry *prometheus.Registry) func(rejected bool) {
	return onOff(registry, "tallyd_key_rejected", "1 while Tally refuses the key, so that calls fail without being sent; else 0.")
}

// circuitGauge returns how to say whether requests to Tally are suspended.
func circuitGauge(registry *prometheus.Registry) func(open bool) {
	return onOff(registry, "tallyd_circuit_open",
		"1 while requests to Tally are suspended since it failed, but for one in 10 s that is tried; else 0.")
}

// showInFlight shows how much work the process holds.
func showInFlight(registry *prometheus.Registry, count func() int64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tallyd_in_flight", Help: "Calls of the contract's methods under way, streams among them; --max-in-flight bounds them.",
	}, func() float64 { return float64(count()) }))
}

// countDrift counts by kind alone, since the paths come from Tally and have no end; each path is logged once, up to a bound,
// and without what hide hides. It also returns how to ask for the sum.
func countDrift(registry *prometheus.Registry, log *slog.Logger, hide func(string) string) (note func(path, kind string), sum func() int64) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tallyd_drift_total", Help: "Values in Tally's answers that the contract does not know, by kind.",
	}, []string{"kind"})
	registry.MustRegister(counter)
	once := newOnceLog(log, hide)
	var total atomic.Int64
	return func(path, kind string) {
		counter.WithLabelValues(kind).Inc()
		total.Add(1)
		once.note(path, kind)
	}, total.Load
}

// otherWord stands for a word that is not among those that a label may have.
const otherWord = "OTHER"

// countErrors returns how to count a call that failed. The reasons are those of the contract, so that their number is known.
func countErrors(registry *prometheus.Registry) func(reason string) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tallyd_call_errors_total", Help: "Calls of the contract's methods that failed, by the reason that their callers read.",
	}, []string{"reason"})
	registry.MustRegister(counter)
	// From zero on, so that the first of a kind is an increase too.
	counter.WithLabelValues(otherWord)
	for name := range tallydv1.ErrorReason_value {
		if reason := strings.TrimPrefix(name, "ERROR_REASON_"); reason != "UNSPECIFIED" {
			counter.WithLabelValues(reason)
		}
	}
	return func(reason string) {
		if _, known := tallydv1.ErrorReason_value["ERROR_REASON_"+reason]; !known {
			reason = otherWord
		}
		counter.WithLabelValues(reason).Inc()
	}
}

// countDecisions returns how to count what the policy decides. Why a call was denied is a reason of tallyd_call_errors_total.
func countDecisions(registry *prometheus.Registry) func(decision string) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tallyd_policy_decisions_total",
		Help: "Decisions of the policy: allowed, denied, or shadow for what only a policy in shadow lets through.",
	}, []string{"decision"})
	registry.MustRegister(counter)
	for _, decision := range []string{"allowed", "denied", "shadow"} {
		counter.WithLabelValues(decision)
	}
	return func(decision string) { counter.WithLabelValues(decision).Inc() }
}

const (
	// maxDriftPaths and maxDriftPath bound the memory and the log of what Tally may invent.
	maxDriftPaths = 1000
	maxDriftPath  = 200
)

// onceLog logs each path of a drift once.
type onceLog struct {
	log  *slog.Logger
	hide func(string) string
	mu   sync.Mutex
	seen map[string]bool
}

func newOnceLog(log *slog.Logger, hide func(string) string) *onceLog {
	return &onceLog{log: log, hide: hide, seen: map[string]bool{}}
}

func (o *onceLog) note(path, kind string) {
	path = path[:min(len(path), maxDriftPath)]
	o.mu.Lock()
	known := o.seen[kind+path] || len(o.seen) >= maxDriftPaths
	if !known {
		o.seen[kind+path] = true
	}
	o.mu.Unlock()
	if !known {
		o.log.Info("tally's answer holds what the contract does not know",
			slog.String("path", o.hide(path)), slog.String("kind", kind))
	}
}

// policyGauge returns how to say whether the policy's file, as it is now, counts.
func policyGauge(registry *prometheus.Registry) func(ok bool) {
	failed := onOff(registry, "tallyd_policy_reload_failed",
		"1 while the policy's file cannot be used and the last good one stays in force; else 0.")
	return func(ok bool) { failed(!ok) }
}

// countAuditFailures returns how to say that a record of the audit trail is lost.
func countAuditFailures(registry *prometheus.Registry, log *slog.Logger) func(error) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tallyd_audit_failures_total", Help: "Records of the audit trail that could not be written.",
	})
	registry.MustRegister(counter)
	return func(err error) {
		counter.Inc()
		log.Error("a record of the audit trail is lost", slog.String("error", err.Error()))
	}
}
