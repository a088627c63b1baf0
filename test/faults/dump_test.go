package faults

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestStackDump covers row 62: what Go prints of every goroutine when the process is made to die, with a call under way that holds the
// key and the caller's secret, shows neither.
func TestStackDump(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		signal os.Signal
		env    []string
		want   string
	}{
		{"quit", syscall.SIGQUIT, nil, "SIGQUIT: quit"},
		{"abort, with the runtime's own stacks", syscall.SIGABRT, []string{"GOTRACEBACK=system"}, "SIGABRT: abort"},
		{"bad memory", syscall.SIGSEGV, []string{"GOTRACEBACK=all"}, "segmentation violation"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSecrets()
			p := serveInCall(t, s, test.env)
			p.signal(t, test.signal)
			p.code(t)
			dump := p.output.String()
			if !strings.Contains(dump, test.want) || strings.Count(dump, "goroutine ") < 5 {
				t.Errorf("tallyd printed %s, want the stacks of its goroutines after %q", dump, test.want)
			}
			s.wantNoneIn(t, "the dump", dump)
		})
	}
}

// serveInCall starts tallyd and a call that Tally never answers.
func serveInCall(t *testing.T, s secrets, env []string) *process {
	t.Helper()
	arrived, release := make(chan string, 1), make(chan struct{})
	tally := newTally(t, alive(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- r.Header.Get("Authorization")
		<-release
	}))
	t.Cleanup(func() { close(release) })
	p := serve(t, env, "--tally-url", tally.URL, "--key-file", write(t, []byte(s.key), 0o600))
	webhooks := tallydv1.NewWebhookServiceClient(p.dial(t))
	go func() {
		req := &tallydv1.CreateWebhookRequest{FormId: "f1", Url: "https://hooks.example.com/a", SigningSecret: &s.ourSigning}
		_, _ = webhooks.CreateWebhook(t.Context(), req)
	}()
	if got := <-arrived; got != "Bearer "+s.key {
		t.Errorf("Authorization = %q, want the key to be in use", got)
	}
	return p
}
