package events_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/events"
)

// hook is an intake whose secrets the test sets.
type hook struct {
	t       *testing.T
	intake  http.Handler
	secrets []string
	reads   int
}

func newHook(w *world) *hook {
	h := &hook{t: w.t}
	h.intake = events.NewIntake(events.IntakeConfig{
		Log: w.log, Retention: time.Hour, Logger: slog.New(slog.DiscardHandler),
		Secrets: func(context.Context, string) ([]string, error) {
			h.reads++
			return h.secrets, nil
		},
	}).Handler()
	return h
}

// deliver delivers a submission that a secret signed, and demands an answer and how often secrets were read for it.
func (h *hook) deliver(submission, secret string, status, reads int) {
	h.t.Helper()
	body := delivery("f", submission, "x")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	r := httptest.NewRequest(http.MethodPost, "/hooks/f", bytes.NewReader(body))
	r.Header.Set("Tally-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	answer, before := httptest.NewRecorder(), h.reads
	h.intake.ServeHTTP(answer, r)
	if answer.Code != status || h.reads-before != reads {
		h.t.Errorf("%s signed with %s: %d after %d reads, want %d after %d", submission, secret, answer.Code, h.reads-before, status, reads)
	}
}

// Row 72: secrets are read once for many deliveries, and anew when none of those at hand fits: a new one counts at once, and with it one
// that was taken away counts no more.
func TestSecretsAreReadOnce(t *testing.T) {
	h := newHook(newWorld(t, embedded))
	h.secrets = []string{"old"}
	h.deliver("a", "forged", http.StatusUnauthorized, 1)
	h.deliver("a", "forged", http.StatusUnauthorized, 1) // what did not sign anything is not remembered
	h.deliver("a", "old", http.StatusOK, 1)
	h.deliver("b", "old", http.StatusOK, 0)
	h.secrets = []string{"new", "old"}
	h.deliver("c", "new", http.StatusOK, 1)
	h.deliver("d", "old", http.StatusOK, 0)
	h.secrets = []string{"newer"}
	h.deliver("e", "forged", http.StatusUnauthorized, 1)
	h.deliver("e", "newer", http.StatusOK, 1)
	h.deliver("f", "old", http.StatusUnauthorized, 1)
}
