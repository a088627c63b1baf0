package events_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/events"
)

// hook is the intake of a process.
type hook struct {
	t      *testing.T
	intake http.Handler
}

func newHook(t *testing.T, log *events.Log) hook {
	return hook{t, events.NewIntake(events.IntakeConfig{
		Log: log, Secrets: log.KnownSecrets, Retention: time.Hour, Logger: slog.New(slog.DiscardHandler),
	}).Handler()}
}

// deliver delivers a submission of form f that a secret signed, and demands an answer.
func (h hook) deliver(submission, secret string, want int) {
	h.t.Helper()
	body := delivery("f", submission, "x")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	r := httptest.NewRequest(http.MethodPost, "/hooks/f", bytes.NewReader(body))
	r.Header.Set("Tally-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	answer := httptest.NewRecorder()
	if h.intake.ServeHTTP(answer, r); answer.Code != want {
		h.t.Errorf("%s signed with %q is answered with %d, want %d", submission, secret, answer.Code, want)
	}
}

// setSecrets makes these the secrets of form f.
func setSecrets(t *testing.T, log *events.Log, secrets ...string) {
	t.Helper()
	_, err := log.UpdateForm(t.Context(), "f", func(f *logv1.Form) bool {
		f.Webhook = &logv1.Webhook{}
		for _, secret := range secrets {
			f.Webhook.Secrets = append(f.Webhook.Secrets, &logv1.Secret{Value: secret})
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Row 72: what this process does to the secrets of a form counts at once. A new one that another process made counts with the first
// delivery that it signed.
func TestSecretsCountAtOnce(t *testing.T) {
	w := newWorld(t, embedded)
	h := newHook(t, w.log)
	h.deliver("a", "old", http.StatusUnauthorized)
	setSecrets(t, w.log, "old")
	h.deliver("a", "old", http.StatusOK)
	setSecrets(t, w.log, "new", "old")
	h.deliver("b", "new", http.StatusOK)
	h.deliver("c", "old", http.StatusOK)
	setSecrets(t, w.log, "new")
	h.deliver("d", "old", http.StatusUnauthorized)
	h.deliver("d", "", http.StatusUnauthorized)

	other := events.OpenLog(w.store, slog.New(slog.DiscardHandler), events.Observer{})
	defer other.Close()
	setSecrets(t, other, "newer", "new")
	h.deliver("d", "newer", http.StatusOK)
	h.deliver("e", "new", http.StatusOK)
	setSecrets(t, w.log)
	h.deliver("f", "newer", http.StatusUnauthorized)
}
