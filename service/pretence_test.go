package service_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asked is a request that Tally saw.
type asked struct {
	Line, Query, Body string
}

// answer is what Tally says; status 0 stands for 200.
type answer struct {
	status int
	body   string
}

// pretence is a Tally of a few fixed answers, by verb and path: several are given in turn, and the last one stays. It records what
// it is asked, whether it knows an answer or not.
type pretence struct {
	mu      sync.Mutex
	answers map[string][]answer
	seen    []asked
}

func (p *pretence) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	line := r.Method + " " + r.URL.EscapedPath()
	p.mu.Lock()
	p.seen = append(p.seen, asked{line, r.URL.RawQuery, string(body)})
	answers := p.answers[line]
	if len(answers) > 1 {
		p.answers[line] = answers[1:]
	}
	p.mu.Unlock()
	if len(answers) == 0 {
		fail(http.StatusTeapot, "nothing is known of "+line)(w, r)
		return
	}
	if answers[0].status == 0 {
		answers[0].status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	fail(answers[0].status, answers[0].body)(w, r)
}

// checkAsked compares all that was asked with what should have been.
func (p *pretence) checkAsked(t *testing.T, want ...asked) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff(want, p.seen); diff != "" {
		t.Errorf("requests to Tally (-want +got):\n%s", diff)
	}
}
