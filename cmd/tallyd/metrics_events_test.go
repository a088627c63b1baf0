package main

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

// gauges returns the gauges of a registry by name and label.
func gauges(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			if metric.GetGauge() != nil {
				got[name] = metric.GetGauge().GetValue()
			}
		}
	}
	return got
}

// TestFormsAreShown holds that the logs' state reaches the metrics: webhooks by how they are, comparisons that fail, and the oldest one.
func TestFormsAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, states := prometheus.NewRegistry(), []events.FormState(nil)
		showForms(registry, func() []events.FormState { return states })
		want := map[string]float64{
			"tallyd_event_forms ok": 0, "tallyd_event_forms none": 0, "tallyd_event_forms wrong": 0, "tallyd_event_forms unknown": 0,
			"tallyd_event_comparisons_failing": 0, "tallyd_event_comparison_age_seconds": 0,
		}
		time.Sleep(time.Hour)
		if diff := cmp.Diff(want, gauges(t, registry)); diff != "" {
			t.Errorf("without a form (-want +got):\n%s", diff)
		}
		states = []events.FormState{
			{Form: "a", Webhook: "ok", Compared: time.Now().Add(-time.Minute)},
			{Form: "b", Webhook: "none", Compared: time.Now().Add(-10 * time.Minute), Failure: "Tally is down"},
			{Form: "c", Webhook: "missing or wrong", Compared: time.Now(), Failure: "Tally says no"},
			{Form: "d", Webhook: "unknown", Compared: time.Now()},
			{Form: "e", Webhook: "ok", Compared: time.Now()},
		}
		want = map[string]float64{
			"tallyd_event_forms ok": 2, "tallyd_event_forms none": 1, "tallyd_event_forms wrong": 1, "tallyd_event_forms unknown": 1,
			"tallyd_event_comparisons_failing": 2, "tallyd_event_comparison_age_seconds": 600,
		}
		if diff := cmp.Diff(want, gauges(t, registry)); diff != "" {
			t.Errorf("with forms (-want +got):\n%s", diff)
		}
		states = append(states, events.FormState{Form: "f", Webhook: "none"})
		if got := gauges(t, registry)["tallyd_event_comparison_age_seconds"]; got != 3600 {
			t.Errorf("with a form that was never compared the age is %v, want that of the process, 3600", got)
		}
	})
}

// TestWalksAreShown holds that a walk that does not end shows by its age.
func TestWalksAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		seen := showEvents(registry)
		for _, step := range []struct {
			walked bool
			want   float64
		}{{false, 60}, {true, 0}, {false, 60}} {
			if step.walked {
				seen.walked(1, 2)
			} else {
				time.Sleep(time.Minute)
			}
			if got := gauges(t, registry)["tallyd_event_log_walk_age_seconds"]; got != step.want {
				t.Errorf("walk age is %v, want %v", got, step.want)
			}
		}
	})
}

// TestDiskIsShown holds that a full disk is told from other failures, and how much room there is.
func TestDiskIsShown(t *testing.T) {
	tests := []struct {
		name    string
		failure error
		want    float64
	}{
		{"open", nil, 0},
		{"full", fmt.Errorf("append: %w", store.ErrFull), 1},
		{"fails otherwise", errors.Join(store.ErrUnavailable), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			showDisk(registry, t.TempDir(), func() error { return test.failure })
			got := gauges(t, registry)
			if got["tallyd_event_log_full"] != test.want {
				t.Errorf("tallyd_event_log_full = %v, want %v", got["tallyd_event_log_full"], test.want)
			}
			free, all := got["tallyd_event_disk_free_bytes"], got["tallyd_event_disk_bytes"]
			if free <= 0 || all < free || math.IsNaN(all) {
				t.Errorf("%v of %v bytes are free, want some of them", free, all)
			}
		})
	}
	registry := prometheus.NewRegistry()
	showDisk(registry, "", func() error { return nil })
	if got := gauges(t, registry); len(got) != 1 {
		t.Errorf("with a log elsewhere %v are shown, want no room of this machine's", got)
	}
}
