package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/sandbox"
)

// command runs a command line to its end and returns its exit code and what it printed.
func command(t *testing.T, args ...string) (code int, out, complaints string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code = run(ctx, args, console{out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// TestBadConfiguration ends each mistake with exit code 2 and one sentence that names the flag, before anything listens.
func TestBadConfiguration(t *testing.T) {
	t.Setenv(keyVariable, "")
	dir := t.TempDir()
	empty, loose := filepath.Join(dir, "empty"), filepath.Join(dir, "loose")
	for path, mode := range map[string]os.FileMode{empty: 0o600, loose: 0o666} {
		if err := os.WriteFile(path, []byte(map[string]string{loose: "tly-abc\n"}[path]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"no key and no sandbox", []string{"serve"}, []string{"TALLY_API_KEY", "--key-file", "--sandbox"}},
		{"key with the sandbox", []string{"serve", "--sandbox", "--key-file", empty}, []string{"--sandbox needs no key"}},
		{"open to the network", []string{"serve", "--sandbox", "--listen", "0.0.0.0:0"}, []string{"--listen", "--policy=allow-all"}},
		{"open to the network by name", []string{"serve", "--sandbox", "--listen", ":0"}, []string{"--listen"}},
		{"unknown policy", []string{"serve", "--sandbox", "--policy", "x"}, []string{"--policy"}},
		{"certificate without its key", []string{"serve", "--sandbox", "--tls-cert", empty}, []string{"--tls-cert and --tls-key"}},
		{"callers' authority without a certificate", []string{"serve", "--sandbox", "--tls-client-ca", empty}, []string{"--tls-client-ca needs --tls-cert"}},
		{"certificate that is none", []string{"serve", "--sandbox", "--tls-cert", empty, "--tls-key", loose}, []string{empty, "no certificate"}},
		{"probe with half a certificate", []string{"probe", "--tls-key", empty}, []string{"--tls-cert and --tls-key"}},
		{"unknown reflection", []string{"serve", "--sandbox", "--reflection", "maybe"}, []string{"--reflection", "auto"}},
		{"no deadline", []string{"serve", "--sandbox", "--default-deadline", "0s"}, []string{"--default-deadline"}},
		{"deadline that is none", []string{"serve", "--sandbox", "--default-deadline", "soon"}, []string{"--default-deadline"}},
		{"no calls at all", []string{"serve", "--sandbox", "--max-in-flight", "0"}, []string{"--max-in-flight"}},
		{"no watches at all", []string{"serve", "--sandbox", "--max-watches", "0"}, []string{"--max-watches"}},
		{"events nowhere", []string{"serve", "--events", "on"}, []string{"--data-dir", "--nats-url"}},
		{"events on a cluster that is down", []string{"serve", "--sandbox", "--nats-url", "nats://tallyd:tly-abc@127.0.0.1:1"}, []string{"the log of events cannot be opened: connect to NATS: "}},
		{"events on no cluster", []string{"serve", "--sandbox", "--nats-url", "nats://tallyd:tly-abc%@h"}, []string{"server 1 of 1", "nats://HOST:4222"}},
		{"credentials for no cluster", []string{"serve", "--sandbox", "--nats-creds", loose}, []string{"--nats-creds and --nats-ca need --nats-url"}},
		{"deliveries without events", []string{"serve", "--sandbox", "--events", "off", "--webhook-listen", ":0"}, []string{"--webhook-listen", "--events"}},
		{"deliveries to nowhere", []string{"serve", "--sandbox", "--webhook-listen", "8282"}, []string{"--webhook-listen", "8282"}},
		{"public address without a port", []string{"serve", "--sandbox", "--webhook-public-url", "https://x.example.com"}, []string{"--webhook-public-url", "--webhook-listen"}},
		{"public address in clear", []string{"serve", "--sandbox", "--webhook-listen", ":0", "--webhook-public-url", "http://x.example.com"}, []string{"--webhook-public-url", "https"}},
		{"events for no time", []string{"serve", "--sandbox", "--event-retention", "0s"}, []string{"--event-retention"}},
		{"events for no bytes", []string{"serve", "--sandbox", "--event-bytes", "0"}, []string{"--event-bytes"}},
		{"comparing without a pause", []string{"serve", "--sandbox", "--reconcile-interval", "0s"}, []string{"--reconcile-interval"}},
		{"asking without a pause", []string{"serve", "--sandbox", "--poll-interval=-1s"}, []string{"--poll-interval"}},
		{"secrets that do not last", []string{"serve", "--sandbox", "--webhook-secret-age", "1m"}, []string{"--webhook-secret-age", "1h"}},
		{"secrets of the past", []string{"serve", "--sandbox", "--webhook-secret-age=-1h"}, []string{"--webhook-secret-age"}},
		{"fewer than no calls", []string{"serve", "--sandbox", "--max-in-flight=-1"}, []string{"--max-in-flight"}},
		{"lame duck without end", []string{"serve", "--sandbox", "--lame-duck", "21s"}, []string{"--lame-duck"}},
		{"lame duck of the past", []string{"serve", "--sandbox", "--lame-duck=-1s"}, []string{"--lame-duck"}},
		{"plain http", []string{"doctor", "--tally-url", "http://api.tally.so"}, []string{"--tally-url", "https"}},
		{"path in the address", []string{"doctor", "--tally-url", "https://api.tally.so/v1"}, []string{"--tally-url"}},
		{"bad version", []string{"serve", "--sandbox", "--tally-version", "latest"}, []string{"--tally-version"}},
		{"empty key file", []string{"serve", "--key-file", empty}, []string{empty, "is empty"}},
		{"writable key file", []string{"serve", "--key-file", loose}, []string{loose}},
		{"no such key file", []string{"doctor", "--key-file", empty + "x"}, []string{empty + "x"}},
		{"no key for the doctor", []string{"doctor"}, []string{"TALLY_API_KEY"}},
		{"no command", nil, []string{"serve"}},
		{"unknown flag", []string{"serve", "--shiny"}, []string{"--shiny"}},
		{"neither of proto's flags", []string{"proto"}, []string{"--out", "--descriptor-set"}},
		{"behaviour that nobody wonders about", []string{"sandbox", "--assume", "weather=rain"}, []string{"--assume", "settings-patch"}},
		{"missing script of faults", []string{"sandbox", "--faults", empty + "x"}, []string{empty + "x"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, out, complaint := command(t, test.args...)
			if code != exitUsage {
				t.Errorf("exit code = %d, want %d\n%s%s", code, exitUsage, out, complaint)
			}
			for _, want := range test.want {
				if !strings.Contains(complaint+out, want) {
					t.Errorf("complaint = %q, want %q in it", complaint, want)
				}
			}
			if strings.Contains(complaint, "tly-abc") {
				t.Error("the complaint shows the key")
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	if code, out, _ := command(t, "version"); code != 0 || !strings.HasPrefix(out, "tallyd ") {
		t.Errorf("version = %d, %q, want 0 and a line", code, out)
	}
	if code, out, _ := command(t, "--version"); code != 0 || !strings.HasPrefix(out, "tallyd ") {
		t.Errorf("--version = %d, %q, want 0 and a line", code, out)
	}
	code, out, _ := command(t, "serve", "--help")
	if code != 0 {
		t.Errorf("serve --help = %d, want 0", code)
	}
	out = strings.Join(strings.Fields(out), " ") // lines break where the columns are full
	for _, want := range []string{"--listen", "$TALLYD_LISTEN", "--key-file", "--sandbox", "--reflection", "$TALLYD_ADMIN_LISTEN", "(default 30s"} {
		if !strings.Contains(out, want) {
			t.Errorf("serve --help lacks %q", want)
		}
	}
}

// pretend starts a sandbox of its own and returns its address.
func pretend(t *testing.T, options ...sandbox.Option) string {
	t.Helper()
	s, err := sandbox.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		_ = s.Close()
	})
	return server.URL
}

func TestDoctor(t *testing.T) {
	var requests int
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.WriteHeader(http.StatusBadGateway)
		_, _ = fmt.Fprint(w, "<html>")
	}))
	t.Cleanup(page.Close)
	tests := []struct {
		name, url, key string
		wantCode       int
		want           []string
	}{
		{"well", pretend(t, sandbox.WithRate(4)), sandboxKey, 0, []string{"Ina Saltmarsh", "orgSal", "BUSINESS", "ok    webhooks", "verdict"}},
		{"wrong key", pretend(t), "tly-wrong", exitFailure, []string{"FAIL", "Unauthenticated", "operator"}},
		{"never had a webhook", pretend(t), "tly-sandbox-other", 0, []string{"none yet", "FREE"}},
		{"nobody there", "http://127.0.0.1:1", "tly-any", exitFailure, []string{"FAIL", "Unavailable"}},
		{"a page instead of Tally", page.URL, "tly-any", exitFailure, []string{"FAIL", "Unavailable"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(keyVariable, test.key)
			code, out, complaint := command(t, "doctor", "--tally-url", test.url)
			if code != test.wantCode {
				t.Errorf("exit code = %d, want %d\n%s%s", code, test.wantCode, out, complaint)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("doctor said %s, want %q in it", out, want)
				}
			}
			if strings.Contains(out+complaint, test.key) {
				t.Error("the doctor shows the key")
			}
		})
	}
	if requests != 1 {
		t.Errorf("the doctor made %d requests of a Tally that is down, want 1", requests)
	}
}

func connect(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// reasonOf returns what an error says to a machine.
func reasonOf(err error) (codes.Code, string) {
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return s.Code(), info.GetReason()
		}
	}
	return s.Code(), ""
}

// TestBurst calls 150 times at a Tally that allows 100 a minute: all that it allows get an answer at once, the others are told when
// to come back, and Tally hears of none of them.
func TestBurst(t *testing.T) {
	submissions := tallydv1.NewSubmissionServiceClient(connect(t, startTallyd(t, "--sandbox")))
	var refused error
	answers := 0
	for range 150 {
		_, err := submissions.ListSubmissions(t.Context(), &tallydv1.ListSubmissionsRequest{FormId: "Repair"})
		if err == nil {
			answers++
			continue
		}
		refused = err
		if code, reason := reasonOf(err); code != codes.ResourceExhausted || reason != "QUOTA_WAIT_EXCEEDS_DEADLINE" {
			t.Fatalf("the burst ended in %v, want ResourceExhausted QUOTA_WAIT_EXCEEDS_DEADLINE", err)
		}
	}
	// The check of the key takes one.
	if answers != 99 {
		t.Errorf("%d calls got an answer, want 99", answers)
	}
	retry := false
	for _, d := range status.Convert(refused).Details() {
		_, ok := d.(*errdetails.RetryInfo)
		retry = retry || ok
	}
	if !retry {
		t.Errorf("%v carries no RetryInfo", refused)
	}
}

// keyFile writes a key as an operator does.
func keyFile(t *testing.T, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBadKey serves with a key that Tally refuses: the call says so, and the process stays up.
func TestBadKey(t *testing.T) {
	address := startTallyd(t, "--tally-url", pretend(t), "--key-file", keyFile(t, "tly-dead"))
	users := tallydv1.NewUserServiceClient(connect(t, address))
	_, err := users.GetCurrentUser(t.Context(), &tallydv1.GetCurrentUserRequest{})
	if code, reason := reasonOf(err); code != codes.Unauthenticated || reason != "TALLY_KEY_REJECTED" {
		t.Errorf("GetCurrentUser() = %v, want Unauthenticated TALLY_KEY_REJECTED", err)
	}
	if code, out, complaint := command(t, "probe", address); code != 0 {
		t.Errorf("probe = %d, want 0: the process can answer\n%s%s", code, out, complaint)
	}
}

// TestSubmit answers a form of a running sandbox and finds the answer through its API.
func TestSubmit(t *testing.T) {
	address := pretend(t)
	code, out, complaint := command(t, "sandbox", "submit", "--url", address, "--form", "NewsLt")
	if code != 0 || strings.TrimSpace(out) == "" {
		t.Fatalf("sandbox submit = %d, %q, %q, want 0 and the submission", code, out, complaint)
	}
	if code, _, complaint := command(t, "sandbox", "submit", "--url", address, "--form", "nosuch"); code != exitFailure {
		t.Errorf("sandbox submit to no form = %d, %q, want %d", code, complaint, exitFailure)
	}
}
