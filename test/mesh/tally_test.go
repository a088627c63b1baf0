package mesh

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeTally is a Tally that follows a script and counts what it is asked.
type fakeTally struct {
	*httptest.Server

	mu sync.Mutex
	// seen counts requests by method, path and body; those of the tests are unique.
	seen map[string]int
}

// newTally starts a Tally on loopback. The script gets the body as well.
func newTally(t *testing.T, script func(w http.ResponseWriter, r *http.Request, body string)) *fakeTally {
	t.Helper()
	f := &fakeTally{seen: map[string]int{}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.URL.Path == "/users/me" {
			_, _ = io.WriteString(w, owner)
			return
		}
		f.mu.Lock()
		f.seen[r.Method+" "+r.URL.Path+" "+string(body)]++
		f.mu.Unlock()
		script(w, r, string(body))
	}))
	t.Cleanup(f.Close)
	return f
}

// owner is what Tally says of the key's user.
const owner = `{"id":"usr001","firstName":"Ada","organizationId":"org001","subscriptionPlan":"BUSINESS"}`

// requests returns the counts of the requests in which a text occurs.
func (f *fakeTally) requests(of string) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := maps.Clone(f.seen)
	maps.DeleteFunc(found, func(request string, _ int) bool { return !strings.Contains(request, of) })
	return found
}

// count returns how many requests there were in which a text occurs.
func (f *fakeTally) count(of string) (n int) {
	for _, times := range f.requests(of) {
		n += times
	}
	return n
}

// anything is an answer that fits every call of these tests.
func anything(w http.ResponseWriter, _ *http.Request, _ string) {
	_, _ = io.WriteString(w, `{"id":"x1","name":"Anything","url":"https://hooks.example.com/a"}`)
}
