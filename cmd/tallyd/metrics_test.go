package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestKeyGauge asks the admin port whether Tally takes the key.
func TestKeyGauge(t *testing.T) {
	tests := []struct {
		name, key string
		want      string
	}{
		{"good", sandboxKey, "tallyd_key_rejected 0"},
		{"dead", "tly-dead", "tallyd_key_rejected 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			file := keyFile(t, test.key)
			address, log := startLogged(t, "--admin-listen", "127.0.0.1:0", "--tally-url", pretend(t), "--key-file", file)
			// A call waits for the key's check, whatever comes of it.
			_, _ = tallydv1.NewWebhookServiceClient(connect(t, address)).ListWebhooks(t.Context(), &tallydv1.ListWebhooksRequest{})
			// The verdict is in force a moment before it is told around.
			for !strings.Contains(scrape(t, log), "\n"+test.want+"\n") {
				if time.Since(start) > 10*time.Second {
					t.Fatalf("/metrics lacks %q:\n%s", test.want, scrape(t, log))
				}
			}
		})
	}
}

// scrape reads the metrics of the admin port that the log names.
func scrape(t *testing.T, log *lockedBuffer) string {
	t.Helper()
	resp, err := http.Get(adminAddress(t, log) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// adminAddress returns the admin port that the log names.
func adminAddress(t *testing.T, log *lockedBuffer) string {
	t.Helper()
	var line struct{ Msg, Address string }
	for text := range strings.Lines(log.String()) {
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("log line %q: %v", text, err)
		}
		if line.Msg == "admin port open" {
			return "http://" + line.Address
		}
	}
	t.Fatalf("the log names no admin port: %s", log)
	return ""
}
