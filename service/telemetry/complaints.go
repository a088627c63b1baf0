package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// complainEvery keeps a receiver that is down from filling the log.
	complainEvery = time.Minute
	// maxComplaint bounds what a receiver can put into the log, in bytes.
	maxComplaint = 300
)

// complaints logs what OpenTelemetry's libraries report, at most once a minute, and counts the rest.
type complaints struct {
	log *slog.Logger

	mu   sync.Mutex
	next time.Time
	held int
}

// Handle logs an error, or counts it.
func (c *complaints) Handle(err error) { c.note(err.Error()) }

func (c *complaints) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.next) {
		c.held++
		return
	}
	c.log.Warn("telemetry fails", slog.String("error", clip(text)), slog.Int("more_before", c.held))
	c.next, c.held = now.Add(complainEvery), 0
}

func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxComplaint)], "") }

// complaintHandler takes the errors that the libraries print. It keeps the message and the error alone: what else they add may be a
// header with a token.
type complaintHandler struct{ to *complaints }

// Enabled leaves everything but errors out.
func (complaintHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

// Handle notes one message and returns nil.
func (h complaintHandler) Handle(_ context.Context, record slog.Record) error {
	text := record.Message
	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "err" {
			text += ": " + attr.Value.String()
		}
		return true
	})
	h.to.note(text)
	return nil
}

// WithAttrs adds nothing.
func (h complaintHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup adds nothing.
func (h complaintHandler) WithGroup(string) slog.Handler { return h }
