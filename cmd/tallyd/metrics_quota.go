package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tallyd/tallyd/service/cache"
	"github.com/tallyd/tallyd/service/quota"
)

// quotaWaits returns how to say how long a call waited for its request.
func quotaWaits(registry *prometheus.Registry) func(quota.Caller, time.Duration) {
	waits := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tallyd_quota_wait_seconds",
		Help:    "How long requests to Tally waited for their slot, by priority: interactive or batch.",
		Buckets: []float64{0.001, 0.01, 0.1, 0.6, 1.2, 3, 6, 12, 30, 60, 120, 300},
	}, []string{"priority"})
	registry.MustRegister(waits)
	interactive, batch := waits.WithLabelValues("interactive"), waits.WithLabelValues("batch")
	return func(c quota.Caller, wait time.Duration) {
		if c.Batch {
			batch.Observe(wait.Seconds())
			return
		}
		interactive.Observe(wait.Seconds())
	}
}

// showQuota shows how things are with the quota at every scrape.
func showQuota(registry *prometheus.Registry, q *quota.Scheduler) {
	if q == nil {
		return
	}
	gauge := func(name, help string, value func(quota.Standing) float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return value(q.Standing()) }))
	}
	gauge("tallyd_quota_limit", "Requests a minute that Tally grants the key.", func(s quota.Standing) float64 { return float64(s.Rate) })
	gauge("tallyd_quota_margin", "How many of them are left to others who use the same key, as 429s told.",
		func(s quota.Standing) float64 { return float64(s.Margin) })
	gauge("tallyd_quota_used", "Requests of the current minute.", func(s quota.Standing) float64 { return float64(s.Used) })
	gauge("tallyd_quota_waiting", "Calls that wait for a request.", func(s quota.Standing) float64 { return float64(s.Waiting) })
	gauge("tallyd_quota_paused", "1 while nothing is sent since Tally answered 429; else 0.",
		func(s quota.Standing) float64 { return number(!s.PausedUntil.IsZero()) })
}

// showCache shows what the cache did at every scrape.
func showCache(registry *prometheus.Registry, store *cache.Store) {
	answers := func(source string, value func(cache.Stats) int64) {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tallyd_cache_reads_total", Help: "Reads that may be shared, by source: stored, shared with a call under way, or fetched.",
			ConstLabels: prometheus.Labels{"source": source},
		}, func() float64 { return float64(value(store.Stats())) }))
	}
	answers("stored", func(s cache.Stats) int64 { return s.Hits })
	answers("shared", func(s cache.Stats) int64 { return s.Shared })
	answers("fetched", func(s cache.Stats) int64 { return s.Misses })
	registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "tallyd_cache_bytes", Help: "Memory that stored answers take."},
		func() float64 { return float64(store.Stats().Bytes) }))
}
