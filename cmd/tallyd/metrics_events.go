package main

import (
	"github.com/prometheus/client_golang/prometheus"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

// eventsSeen counts what becomes of events.
type eventsSeen struct {
	deliveries, logged *prometheus.CounterVec
	gaps               prometheus.Counter
	reconciled         *prometheus.CounterVec
	entries, bytes     prometheus.Gauge
	unavailable        func(on bool)
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
	// From zero on, so that the first of a kind is an increase too.
	for _, outcome := range events.Outcomes() {
		s.deliveries.WithLabelValues(outcome)
	}
	s.logged.WithLabelValues(sourceName(logv1.Source_SOURCE_DELIVERY), events.Conflicting.String())
	s.reconciled.WithLabelValues("missing")
	s.reconciled.WithLabelValues("deleted")
	return s
}

// showWatches shows how many watches are open.
func showWatches(registry *prometheus.Registry, count func() int64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tallyd_watches", Help: "Watches that are open; --max-watches bounds them.",
	}, func() float64 { return float64(count()) }))
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
	s.entries.Set(float64(entries))
	s.bytes.Set(float64(bytes))
}

func (s *eventsSeen) delivered(outcome string) { s.deliveries.WithLabelValues(outcome).Inc() }

func (s *eventsSeen) found(_ string, missing, deleted int) {
	s.reconciled.WithLabelValues("missing").Add(float64(missing))
	s.reconciled.WithLabelValues("deleted").Add(float64(deleted))
}
