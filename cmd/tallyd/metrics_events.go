package main

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

// eventsSeen counts what becomes of events.
type eventsSeen struct {
	deliveries, logged *prometheus.CounterVec
	gaps               prometheus.Counter
	reconciled         *prometheus.CounterVec
	entries, bytes     prometheus.Gauge
	unavailable        func(on bool)
	walkTime           atomic.Int64 // when the last walk through the log ended, or when the process began
}

// showEvents registers the counters of events. No label holds a form's id: their number has no end.
func showEvents(registry *prometheus.Registry) *eventsSeen {
	s := &eventsSeen{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tallyd_webhook_deliveries_total", Help: "Deliveries that came in, by what became of them.",
		}, []string{"outcome"}),
		logged: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tallyd_events_total", Help: "Events that were to be logged, by source and by what became of them.",
		}, []string{"source", "result"}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tallyd_event_gaps_total", Help: "Ranges of lost events that readers of the log met.",
		}),
		reconciled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tallyd_events_reconciled_total", Help: "What comparing logs with Tally's lists found, by kind: missing or deleted.",
		}, []string{"kind"}),
	}
	s.entries = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tallyd_event_log_entries", Help: "Entries of the log of events when it was last walked through."})
	s.bytes = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tallyd_event_log_bytes", Help: "What the entries of the log of events hold, in bytes."})
	s.unavailable = onOff(registry, "tallyd_event_log_unavailable", "1 while the log of events cannot be used, so that deliveries are refused; else 0.")
	registry.MustRegister(s.deliveries, s.logged, s.gaps, s.reconciled, s.entries, s.bytes)
	s.walkTime.Store(time.Now().UnixNano())
	showNumber(registry, "tallyd_event_log_walk_age_seconds",
		"How long ago the log of events was last walked through; counted from the start where it never was.",
		func() float64 { return time.Since(time.Unix(0, s.walkTime.Load())).Seconds() })
	// From zero on, so that the first of a kind is an increase too.
	for _, outcome := range events.Outcomes() {
		s.deliveries.WithLabelValues(outcome)
	}
	s.logged.WithLabelValues(sourceName(logv1.Source_SOURCE_DELIVERY), events.Conflicting.String())
	s.reconciled.WithLabelValues("missing")
	s.reconciled.WithLabelValues("deleted")
	return s
}

// showNumber shows what a function says when somebody asks.
func showNumber(registry *prometheus.Registry, name, help string, value func() float64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// showWatches shows how many watches are open.
func showWatches(registry *prometheus.Registry, count func() int64) {
	showNumber(registry, "tallyd_watches", "Watches that are open; --max-watches bounds them.", func() float64 { return float64(count()) })
}

// hookWords are what a form's webhook at Tally can be, as metrics say it.
var hookWords = []string{"ok", "none", "wrong", "unknown"}

// hookWord is the word for what a keeper says of a webhook.
func hookWord(webhook string) string {
	switch webhook {
	case "ok", "none", "unknown":
		return webhook
	default:
		return "wrong"
	}
}

// showForms shows how things are with the logs of all forms together.
func showForms(registry *prometheus.Registry, states func() []events.FormState) {
	for _, word := range hookWords {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tallyd_event_forms", Help: "Forms with a log, by how their webhook at Tally is.",
			ConstLabels: prometheus.Labels{"webhook": word},
		}, countForms(states, func(s events.FormState) bool { return hookWord(s.Webhook) == word })))
	}
	showNumber(registry, "tallyd_event_comparisons_failing", "Forms whose log could not be compared with Tally's list when it was last tried.",
		countForms(states, func(s events.FormState) bool { return s.Failure != "" }))
	started := time.Now()
	showNumber(registry, "tallyd_event_comparison_age_seconds",
		"How long ago the log was compared with Tally's list whose turn is longest ago; counted from the start where it never was.",
		func() float64 { return comparisonAge(states(), started).Seconds() })
}

func countForms(states func() []events.FormState, counts func(events.FormState) bool) func() float64 {
	return func() (n float64) {
		for _, s := range states() {
			n += number(counts(s))
		}
		return n
	}
}

// comparisonAge returns how old the oldest comparison is; 0 where there is nothing to compare.
func comparisonAge(states []events.FormState, started time.Time) (oldest time.Duration) {
	for _, s := range states {
		at := s.Compared
		if at.IsZero() {
			at = started
		}
		oldest = max(oldest, time.Since(at))
	}
	return oldest
}

// showDisk shows whether the log's disk is full, and how far it is from that; dir is empty where the log is not in this process's files.
func showDisk(registry *prometheus.Registry, dir string, failure func() error) {
	showNumber(registry, "tallyd_event_log_full", "1 while the log of events cannot be used since its disk is full; else 0.",
		func() float64 { return number(errors.Is(failure(), store.ErrFull)) })
	if dir == "" {
		return
	}
	for _, shown := range []struct {
		name, help string
		value      func(free, all float64) float64
	}{
		{"tallyd_event_disk_free_bytes", "Room that is left on the disk with the log of events.", func(free, _ float64) float64 { return free }},
		{"tallyd_event_disk_bytes", "Size of the disk with the log of events.", func(_, all float64) float64 { return all }},
	} {
		showNumber(registry, shown.name, shown.help, func() float64 {
			free, all, err := diskRoom(dir)
			if err != nil {
				return math.NaN()
			}
			return shown.value(free, all)
		})
	}
}

func sourceName(source logv1.Source) string {
	switch source {
	case logv1.Source_SOURCE_DELIVERY:
		return "webhook"
	case logv1.Source_SOURCE_RECONCILED:
		return "reconciled"
	case logv1.Source_SOURCE_CALLER:
		return "caller"
	default:
		return otherWord
	}
}

// observer counts what a log tells of; check is asked to look after a form that has lost something.
func (s *eventsSeen) observer(check func(form string)) events.Observer {
	return events.Observer{
		Logged: func(source logv1.Source, result events.Result) {
			s.logged.WithLabelValues(sourceName(source), result.String()).Inc()
		},
		Gap: func(form string, _, _ uint64) {
			s.gaps.Inc()
			check(form)
		},
	}
}

func (s *eventsSeen) walked(entries, bytes int64) {
	s.walkTime.Store(time.Now().UnixNano())
	s.entries.Set(float64(entries))
	s.bytes.Set(float64(bytes))
}

func (s *eventsSeen) delivered(outcome string) { s.deliveries.WithLabelValues(outcome).Inc() }

func (s *eventsSeen) found(_ string, missing, deleted int) {
	s.reconciled.WithLabelValues("missing").Add(float64(missing))
	s.reconciled.WithLabelValues("deleted").Add(float64(deleted))
}
