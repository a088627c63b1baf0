package faults

import (
	"crypto/rand"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// asked is a request as it reached Tally.
type asked struct {
	method, path, host, body string
	header                   http.Header
}

// fakeTally is a Tally that follows a script and notes what it is asked.
type fakeTally struct {
	*httptest.Server

	mu    sync.Mutex
	notes []asked
}

// owner is what Tally says of the key's user.
const owner = `{"id":"usr001","firstName":"Ada","organizationId":"org001","subscriptionPlan":"BUSINESS"}`

// play returns a server that is yet to be started.
func play(t *testing.T, script http.HandlerFunc) *fakeTally {
	t.Helper()
	f := &fakeTally{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		f.mu.Lock()
		f.notes = append(f.notes, asked{r.Method, r.URL.RequestURI(), r.Host, string(body), r.Header.Clone()})
		f.mu.Unlock()
		script(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// newTally starts a Tally on loopback without TLS.
func newTally(t *testing.T, script http.HandlerFunc) *fakeTally {
	t.Helper()
	f := play(t, script)
	f.Start()
	return f
}

// newSecureTally starts a Tally that speaks HTTP/2 over TLS, as the real one does, and returns the environment in which tallyd
// trusts it.
func newSecureTally(t *testing.T, script http.HandlerFunc) (*fakeTally, string) {
	t.Helper()
	f := play(t, script)
	f.EnableHTTP2 = true
	return f, startTLS(t, f)
}

// startTLS starts a Tally over TLS, and returns the environment in which tallyd trusts it.
func startTLS(t *testing.T, f *fakeTally) string {
	t.Helper()
	f.StartTLS()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	return "SSL_CERT_FILE=" + write(t, certificate, 0o600)
}

// seen returns the requests so far, without the checks of the key.
func (f *fakeTally) seen() []asked {
	return f.only(func(a asked) bool { return a.path != "/users/me" })
}

// all counts the requests so far, the checks of the key among them.
func (f *fakeTally) all() int { return len(f.only(func(asked) bool { return true })) }

func (f *fakeTally) only(keep func(asked) bool) (kept []asked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.notes {
		if keep(a) {
			kept = append(kept, a)
		}
	}
	return kept
}

// alive answers the check of the key and leaves the rest to script.
func alive(script http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/users/me" {
			_, _ = io.WriteString(w, owner)
			return
		}
		script(w, r)
	}
}

// aForm answers every request with the least that a form is.
func aForm(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"id":"f1","name":"Form"}`)
}

// write writes a file of its own and returns its path.
func write(t *testing.T, content []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	// The mode that the umask leaves is not the one that was asked for.
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// newKey returns a key that occurs nowhere else.
func newKey() string { return "tly-" + rand.Text() + rand.Text()[:6] }

// serveWith starts tallyd with a key from a file and the given Tally.
func serveWith(t *testing.T, f *fakeTally, key string, args ...string) *process {
	t.Helper()
	return serve(t, nil, append([]string{"--tally-url", f.URL, "--key-file", write(t, []byte(key), 0o600)}, args...)...)
}
