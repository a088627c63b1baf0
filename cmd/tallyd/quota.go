package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tallyd/tallyd/service/quota"
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
