package faults

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"syscall"
	"testing"
)

// pretended is a sandbox that runs as a process of its own.
type pretended struct {
	*process

	url string
}

var sandboxLine = regexp.MustCompile(`the pretend Tally is ready at (\S+)`)

func startSandbox(t *testing.T) *pretended {
	t.Helper()
	p := launch(t, "sandbox", "--listen", "127.0.0.1:0", "--rate", "0", "--retry-scale", "0.0002")
	return &pretended{p, p.await(t, sandboxLine)}
}

// submit answers a form as n respondents would, and returns the submissions.
func (p *pretended) submit(t *testing.T, form string, n int) []string {
	t.Helper()
	list := make([]string, n)
	for i := range list {
		resp, err := http.Post(p.url+"/_sandbox/forms/"+form+"/submissions", "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ ID, SubmissionID string }
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if list[i] = answer.ID + answer.SubmissionID; err != nil || list[i] == "" {
			t.Fatalf("the sandbox answers %s, %v, want a submission", resp.Status, err)
		}
	}
	return list
}

// freeAddress returns an address that nobody listens on: where deliveries come in must be the same from one process to the next.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// flags start a tallyd that has the sandbox deliver to it, and compares often.
func (p *pretended) flags(t *testing.T) []string {
	t.Helper()
	hooks := freeAddress(t)
	return []string{
		"--tally-url", p.url, "--key-file", write(t, []byte("tly-sandbox"), 0o600), "--data-dir", t.TempDir(),
		"--webhook-listen", hooks, "--webhook-public-url", "http://" + hooks, "--reconcile-interval", "1s", "--poll-interval", "1s",
	}
}

// TestNothingIsMissing covers rows 89, 98 and 102 together, with the sandbox as Tally: its webhook, its retries and the comparison with
// its list, all at work at once, bring a watcher every submission once, those included that were sent off while tallyd was down, whether
// it was stopped or killed.
func TestNothingIsMissing(t *testing.T) {
	t.Parallel()
	const form, lives, up, down = "JobApp", 4, 20, 5
	tally := startSandbox(t)
	args := tally.flags(t)
	var sent, seen []string
	req := earliest(form)
	for life := range lives {
		l := &logger{process: serve(t, nil, args...)}
		w := l.watch(t, req)
		sent = append(sent, tally.submit(t, form, up)...)
		want := len(sent)
		if life < lives-1 {
			want -= up / 2 // the rest is under way when tallyd ends
		}
		for len(seen) < want {
			seen = append(seen, w.event(t).GetSubmission().GetId())
		}
		req = behind(w.token, form)
		w.close()
		if life == lives-1 {
			l.checkLog(t, form, seen...)
			break
		}
		l.signal(t, []os.Signal{syscall.SIGKILL, syscall.SIGTERM}[life%2])
		l.code(t)
		sent = append(sent, tally.submit(t, form, down)...)
	}
	slices.Sort(sent)
	slices.Sort(seen)
	if !slices.Equal(seen, sent) {
		t.Errorf("the watcher saw %d submissions %q, want %d %q", len(seen), seen, len(sent), sent)
	}
}
