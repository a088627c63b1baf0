package sandbox

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestOptionErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  Option
		want string
	}{
		{"empty key", WithKey(""), "sandbox key must not be empty"},
		{"negative rate", WithRate(-1), "sandbox rate must not be negative, got -1"},
		{"negative scale", WithRetryScale(-0.5), "sandbox retry scale must not be negative, got -0.5"},
		{"unknown plan", WithPlan("GOLD"), `sandbox plan must be FREE, PRO or BUSINESS, got "GOLD"`},
		{"revoked status", WithRevokedKeyStatus(200), "sandbox status for a revoked key or a trashed form must be 401, 403 or 404"},
		{"trashed status", WithTrashedFormStatus(500), "sandbox status for a revoked key or a trashed form must be 401, 403 or 404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.opt); err == nil || err.Error() != tc.want {
				t.Errorf("New() = %v, want %s", err, tc.want)
			}
		})
	}
}

func TestLoggerSeesNoSecrets(t *testing.T) {
	var log bytes.Buffer
	b := start(t, WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	b.do("GET /forms/Raffle").want(200)
	b.do("GET /webhooks").want(200)
	b.s.Close()
	for _, secret := range []string{"tly-sandbox", "tin-2026", "saltmarsh-crm-secret"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("log holds %q", secret)
		}
	}
	if !strings.Contains(log.String(), "route=\"GET /forms/{formId}\" status=200") {
		t.Errorf("log = %s, want a line for the request", log.String())
	}
}

func TestCloseTwice(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v, want no error", err)
		}
	}
}

func TestSetPlan(t *testing.T) {
	s := start(t).s
	for _, tc := range []struct {
		name, org string
		plan      Plan
		wantErr   bool
	}{
		{"first", "", Free, false},
		{"by id", "orgElt", Business, false},
		{"unknown organization", "nobody", Pro, true},
		{"unknown plan", "", "GOLD", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := s.SetPlan(tc.org, tc.plan); (err != nil) != tc.wantErr {
				t.Errorf("SetPlan(%q, %q) = %v, want error: %v", tc.org, tc.plan, err, tc.wantErr)
			}
		})
	}
}

// Readers and writers at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	b := start(t, WithRate(0))
	done := make(chan int)
	calls := []string{
		"GET /forms", "GET /forms/Feedbk/submissions?limit=5", "PATCH /workspaces/wsCust", "POST /_sandbox/forms/Feedbk/submissions",
		"GET /users/me?timezone=Europe/Lisbon", "GET /workspaces", "POST /_sandbox/reset", "GET /webhooks/whkNps/events",
	}
	for i, call := range calls {
		go func() {
			last := 0
			for range 8 {
				a, err := b.try(call, `{}`)
				if i == 2 {
					a, err = b.try(call, `{"name":"x"}`)
				}
				if err != nil {
					last = -1
					break
				}
				last = a.status
			}
			done <- last
		}()
	}
	for range calls {
		if got := <-done; got != http.StatusOK && got != http.StatusCreated && got != http.StatusNoContent {
			t.Errorf("a call ended with %d, want success", got)
		}
	}
}
