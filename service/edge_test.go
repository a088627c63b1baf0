package service

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestIsLocal(t *testing.T) {
	tests := map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "unix:/run/x": true,
		":50051": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "127.0.0.1": false,
	}
	for address, want := range tests {
		if got := IsLocal(address); got != want {
			t.Errorf("IsLocal(%q) = %v, want %v", address, got, want)
		}
	}
}

// TestUnixSocket replaces the socket that a killed process left behind, and never one that is in use.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	listener, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatalf("Listen() over a dead socket = %v, want nil", err)
	}
	defer listener.Close()
	if second, err := Listen(t.Context(), "unix:"+path); err == nil {
		second.Close()
		t.Error("Listen() over a socket in use = nil, want an error")
	}
}

func TestAdminHandler(t *testing.T) {
	ready := true
	handler := AdminHandler(func() bool { return ready }, prometheus.NewRegistry(), http.NotFoundHandler())
	ask := func(path string) int {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer.Code
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200, "/debug/pprof/": 404, "/debug/vars": 404, "/": 404} {
		if got := ask(path); got != want {
			t.Errorf("GET %s = %d, want %d", path, got, want)
		}
	}
	ready = false
	if got := ask("/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("GET /readyz while not ready = %d, want 503", got)
	}
	if got := ask("/livez"); got != http.StatusOK {
		t.Errorf("GET /livez while not ready = %d, want 200", got)
	}
}

// TestWebhookURLs covers fault row 68: Tally must not be made to reach into somebody's private network.
func TestWebhookURLs(t *testing.T) {
	for _, address := range []string{"https://hooks.example.com/x", "http://example.com:8080/", "https://93.184.216.34/x", "https://[2606:2800:220:1::1]/"} {
		if rule := webhookURLRule(address, false); rule != "" {
			t.Errorf("webhookURLRule(%q) = %q, want none", address, rule)
		}
	}
	for _, address := range []string{
		"http://169.254.169.254/latest/meta-data", "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/",
		"http://localhost/", "http://LOCALHOST./", "http://a.localhost/", "http://metadata.google.internal/", "http://10.1.2.3/", "http://192.168.0.1/",
		"http://172.16.0.1/", "http://100.64.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/", "http://[fe80::1]/", "http://0.0.0.0/",
		"file:///etc/passwd", "gopher://example.com/", "https://user:pass@example.com/", "https:///x", "//example.com/", "http://intranet/",
	} {
		if webhookURLRule(address, false) == "" {
			t.Errorf("webhookURLRule(%q) = none, want a rule", address)
		}
	}
}
