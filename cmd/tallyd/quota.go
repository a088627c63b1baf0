package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/statuspage"
)

// slotLog is the file of the data directory that tells which requests the last minute saw.
const slotLog = "slots.log"

// newQuota returns the scheduler of the key's requests, or nil where Tally grants any number.
func (s serveCmd) newQuota(seen *observation, log *slog.Logger) (*quota.Scheduler, error) {
	if s.TallyRate == 0 {
		return nil, nil //nolint:nilnil // without a limit there is nothing to share
	}
	// A pretend Tally that starts with this process has seen nothing yet.
	config := quota.Config{Rate: s.TallyRate, Unused: s.Sandbox, Waited: seen.waited}
	if s.DataDir != "" {
		if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
			return nil, usagef("--data-dir: %w", err)
		}
		failed := func(err error) { log.Error("slots are not kept over a restart", slog.String("error", err.Error())) }
		var err error
		if config.Log, err = quota.OpenLog(filepath.Join(s.DataDir, slotLog), failed); err != nil {
			return nil, usagef("--data-dir: %w", err)
		}
	}
	return quota.New(config), nil
}

// circuit returns how to say whether requests are suspended.
func (u *upstream) circuit() func(open bool) {
	gauge := circuitGauge(u.metrics)
	return func(open bool) {
		u.open.Store(open)
		gauge(open)
	}
}

// show tells the status page how things are between here and Tally.
func (u *upstream) show(facts *statuspage.Facts) {
	facts.CircuitOpen = u.open.Load()
	if u.server != nil {
		facts.InFlight = u.server.InFlight()
	}
	stats := u.cache.Stats()
	facts.Memory = statuspage.Memory{Entries: stats.Entries, Bytes: stats.Bytes, Stored: stats.Hits, Shared: stats.Shared, Fetched: stats.Misses}
	facts.Events = u.events.show()
	if u.quota == nil {
		return
	}
	now := u.quota.Standing()
	q := &statuspage.Quota{
		Limit: now.Rate, Margin: now.Margin, Used: now.Used, Waiting: now.Waiting, BatchWaiting: now.BatchWaiting, PausedUntil: now.PausedUntil,
	}
	for _, c := range now.Callers {
		q.Shares = append(q.Shares, statuspage.Share{Name: c.Name, Batch: c.Batch, Weight: max(c.Weight, 1), Used: c.Used, Waiting: c.Waiting})
	}
	facts.Quota = q
}
