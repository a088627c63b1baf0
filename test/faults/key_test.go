package faults

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// reasonOf returns what an error says to a machine.
func reasonOf(err error) (codes.Code, string) {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return s.Code(), info.GetReason()
		}
	}
	return s.Code(), ""
}

// TestBadKeyFileAtStart covers row 61: exit code 2 and one sentence without a word of the key. Somebody else has the ports, so that a
// process which listened first would complain about those.
func TestBadKeyFileAtStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	key := newKey()
	for _, test := range badFiles(t, key) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			at := taken.Addr().String()
			p := launch(t, "serve", "--listen", at, "--admin-listen", at, "--key-file", test.path)
			if code := p.code(t); code != 2 {
				t.Errorf("exit code = %d, want 2", code)
			}
			said := p.output.String()
			if !strings.HasPrefix(said, `tallyd: key file "`+test.path+`" `+test.want) || strings.Count(said, "\n") != 1 {
				t.Errorf("tallyd said %q, want one sentence with the path and %q", said, test.want)
			}
			if strings.Contains(said, key[:12]) {
				t.Errorf("tallyd said %q, want no part of the key", said)
			}
		})
	}
}

type badFile struct{ name, path, want string }

func badFiles(t *testing.T, key string) []badFile {
	t.Helper()
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	return []badFile{
		{"empty", write(t, nil, 0o600), "is empty"},
		{"two lines", write(t, []byte(key+"\n"+key+"\n"), 0o600), "holds more than one line"},
		{"blank line after the key", write(t, []byte(key+"\n\n"), 0o600), "holds more than one line"},
		{"1 MB", write(t, []byte(strings.Repeat(key, 1<<20/len(key))), 0o600), "is larger than 1 KiB"},
		{"writable by the world", write(t, []byte(key), 0o606), "is writable by its group or by others"},
		{"writable by its group", write(t, []byte(key), 0o620), "is writable by its group or by others"},
		{"loop of links", loop, "is a loop of symbolic links"},
	}
}

// TestUsualKeyFile covers the rest of row 61: a mounted secret is readable by all, may be a link, and ends in a newline. It is no
// reason to refuse, but one line says so.
func TestUsualKeyFile(t *testing.T) {
	t.Parallel()
	key := newKey()
	tally := newTally(t, alive(aForm))
	link := filepath.Join(t.TempDir(), "key")
	if err := os.Symlink(write(t, []byte(key+"\n"), 0o644), link); err != nil {
		t.Fatal(err)
	}
	p := serve(t, nil, "--tally-url", tally.URL, "--key-file", link)
	if _, err := tallydv1.NewFormServiceClient(p.dial(t)).GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"}); err != nil {
		t.Errorf("GetForm() = %v, want nil", err)
	}
	for _, a := range tally.seen() {
		if got := a.header.Get("Authorization"); got != "Bearer "+key {
			t.Errorf("Authorization = %q, want the key without its newline", got)
		}
	}
	if said := p.output.String(); strings.Count(said, "key file can be read by every user") != 1 {
		t.Errorf("tallyd said %s, want one warning about the mode", said)
	}
}

// TestDeadKeyUnderLoad covers row 15: Tally hears of a dead key a few times, whatever the load, and the process stays in service.
func TestDeadKeyUnderLoad(t *testing.T) {
	t.Parallel()
	tally := newTally(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "Unauthorized")
	})
	p := serveWith(t, tally, newKey())
	conn := p.dial(t)
	awaitHealth(t, p, "tally", healthpb.HealthCheckResponse_NOT_SERVING)
	forms := tallydv1.NewFormServiceClient(conn)
	var burst sync.WaitGroup
	for range 200 {
		burst.Go(func() {
			_, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"})
			if code, reason := reasonOf(err); code != codes.Unauthenticated || reason != "TALLY_KEY_REJECTED" {
				t.Errorf("GetForm() = %v, want Unauthenticated TALLY_KEY_REJECTED", err)
			}
		})
	}
	burst.Wait()
	if got := tally.all(); got == 0 || got > 3 {
		t.Errorf("Tally got %d requests with the dead key, want 1 to 3", got)
	}
	checkHealthNames(t, conn)
	if code, body := get(t, p.admin+"/readyz"); code != http.StatusOK {
		t.Errorf("GET /readyz = %d %q, want 200", code, body)
	}
	if said := p.output.String(); strings.Count(said, "tally rejects the key: calls fail") != 1 {
		t.Errorf("tallyd said %s, want one line of alarm", said)
	}
}

// checkHealthNames demands that a dead key shows in its own name alone, or it would take every replica out of service.
func checkHealthNames(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	for name, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{
		"": healthpb.HealthCheckResponse_SERVING, "tallyd.v1.FormService": healthpb.HealthCheckResponse_SERVING,
		"tally": healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		got, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || got.GetStatus() != want {
			t.Errorf("Check(%q) = %v, %v, want %v", name, got.GetStatus(), err, want)
		}
	}
}

// awaitHealth waits for a health name to have a status.
func awaitHealth(t *testing.T, p *process, name string, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := healthpb.NewHealthClient(p.dial(t)).Watch(ctx, &healthpb.HealthCheckRequest{Service: name})
	if err != nil {
		t.Fatal(err)
	}
	for {
		got, err := watch.Recv()
		if err != nil {
			t.Fatalf("Watch(%q) = %v, want %v", name, err, want)
		}
		if got.GetStatus() == want {
			return
		}
	}
}

// rotating is a Tally at which the old key dies as soon as the new one is used.
type rotating struct {
	oldKey, newKey string
	// held is told of a call with the old key that is answered when that key is dead.
	held chan struct{}
	// died is closed when the old key died.
	died chan struct{}
	die  func()
}

func newRotating() *rotating {
	r := &rotating{oldKey: newKey(), newKey: newKey(), held: make(chan struct{}, 1), died: make(chan struct{})}
	r.die = sync.OnceFunc(func() { close(r.died) })
	return r
}

func (r *rotating) answer(w http.ResponseWriter, req *http.Request) {
	isNew := req.Header.Get("Authorization") == "Bearer "+r.newKey
	isOld := req.Header.Get("Authorization") == "Bearer "+r.oldKey
	if isOld && req.URL.Path == "/forms/held" {
		r.held <- struct{}{}
		<-r.died
	}
	if !isNew && (!isOld || closed(r.died)) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "Unauthorized")
		return
	}
	if isNew && req.URL.Path != "/users/me" {
		r.die()
	}
	alive(aForm)(w, req)
}

// TestKeyRotationUnderLoad covers row 58: the file is swapped while calls are under way, the old key dies with the first use of the
// new one, and no call fails.
func TestKeyRotationUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRotating()
	file := write(t, []byte(r.oldKey), 0o600)
	p := serve(t, nil, "--tally-url", newTally(t, r.answer).URL, "--key-file", file)
	forms := tallydv1.NewFormServiceClient(p.dial(t))
	call := func(form string) error {
		_, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: form})
		return err
	}
	stop := make(chan struct{})
	ended := make(chan error, 9)
	go func() { ended <- call("held") }()
	await(t, r.held, "a call with the old key")
	for range cap(ended) - 1 {
		go func() { ended <- repeat(stop, func() error { return call("f1") }) }()
	}
	if err := os.Rename(write(t, []byte(r.newKey), 0o600), file); err != nil {
		t.Fatal(err)
	}
	await(t, r.died, "a call with the new key")
	// What was under way with the old key meets its death meanwhile.
	for range 100 {
		if err := call("f1"); err != nil {
			t.Fatalf("GetForm() after the rotation = %v, want nil", err)
		}
	}
	close(stop)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Errorf("GetForm() during the rotation = %v, want nil", err)
		}
	}
}

// repeat calls until it is told to stop or a call fails.
func repeat(stop <-chan struct{}, call func() error) error {
	for !closed(stop) {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// await waits for an event.
func await(t *testing.T, event <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("waited for %s in vain", what)
	}
}
