package faults

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/store"
)

// buildVersion builds a tallyd that says it is of a version.
func buildVersion(t *testing.T, version string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tallyd")
	output, err := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", binary, "github.com/tallyd/tallyd/cmd/tallyd").CombinedOutput()
	if err != nil {
		t.Fatalf("build tallyd %s: %v\n%s", version, err, output)
	}
	if said, err := exec.Command(binary, "version").Output(); err != nil || !strings.Contains(string(said), version) {
		t.Fatalf("tallyd version = %q, %v, want %s", said, err, version)
	}
	return binary
}

// TestUpgradeAndBack covers row 106: a newer tallyd takes over the log of an older one, and the older one takes it back. Watchers go on
// with their tokens, be they of the one before or of the one before that, and see every delivery once.
func TestUpgradeAndBack(t *testing.T) {
	t.Parallel()
	old, err := build()
	if err != nil {
		t.Fatal(err)
	}
	d := newDeliverer(t)
	var l *logger
	var want, seen, tokens []string
	goroutines := 0
	req := earliest("f1")
	for i, binary := range []string{old, buildVersion(t, "99.0.0"), old} {
		l = d.serveBinary(t, binary)
		goroutines = d.settle(t, l)
		open := l.watch(t, req)
		sent := names(string(rune('a'+i)), 10)
		d.mustDeliver(t, l, sent...)
		want = append(want, sent...)
		for range sent {
			seen = append(seen, say(open.event(t)))
			tokens = append(tokens, open.token)
		}
		l.checkLog(t, "f1", want...)
		if i < 2 {
			d.stop(t, l)
			if m, err := open.recv(); err != nil || !m.GetHeartbeat().GetEnding() {
				t.Errorf("the last message of a watch is %v, %v, want an ending heartbeat", m, err)
			}
		}
		req = behind(open.token, "f1")
		open.close()
	}
	checkTokens(t, l, seen, tokens, "f1")
	d.checkAfter(t, l, goroutines)
}

// TestNewerLog covers the other half of row 106: a log in a format that this version does not know is left alone, and one sentence says
// so.
func TestNewerLog(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l := d.serve(t)
	d.mustDeliver(t, l, "s1")
	d.stop(t, l)
	format := reformat(t, d.dir, "2")
	p := d.launch(t)
	if code := p.code(t); code != 2 {
		t.Errorf("exit code = %d, want 2", code)
	}
	said := p.output.String()
	last := strings.Split(strings.TrimSpace(said), "\n")
	if strings.Contains(said, "panic") || !strings.Contains(last[len(last)-1], `has format "2", which this version, of format 1, cannot read`) {
		t.Errorf("tallyd said %q, want a last line about the format", said)
	}
	reformat(t, d.dir, format)
	l, goroutines := d.settled(t)
	l.checkLog(t, "f1", "s1")
	d.checkAfter(t, l, goroutines)
}

// TestNewerEntry covers what is left of row 106: behind an entry that this version cannot read, written by a newer one on the same log, it
// writes nothing and passes nothing over. Tally tries again, and other forms are served.
func TestNewerEntry(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l := d.serve(t)
	d.mustDeliver(t, l, "s1")
	d.stop(t, l)
	s, err := store.Open(t.Context(), store.Config{Dir: d.dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Append(t.Context(), []store.Draft{{Subject: "ev.f1.s2", Data: []byte("\x02what a newer version writes")}})
	s.Close()
	if err != nil {
		t.Fatal(err)
	}
	l, goroutines := d.settled(t)
	got, err := d.deliver(t.Context(), l, "f1", d.body("f1", "s3", "x"))
	if err != nil || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("a delivery behind a newer entry = %v, %v, want 503 with Retry-After", got, err)
	}
	if got, err := d.deliver(t.Context(), l, "f2", d.body("f2", "s1", "x")); err != nil || got.status != http.StatusOK {
		t.Errorf("a delivery of another form = %v, %v, want 200", got, err)
	}
	conn := l.dial(t)
	stream, err := tallydv1.NewSubmissionEventServiceClient(conn).ReplaySubmissionEvents(
		t.Context(), &tallydv1.ReplaySubmissionEventsRequest{FormId: "f1"})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); first.GetEvent().GetSequence() != 1 || err != nil {
		t.Errorf("Recv() = %v, %v, want event 1", first, err)
	}
	if skipped, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("Recv() behind it = %v, %v, want Unavailable: nothing may be passed over", skipped, err)
	}
	if err := conn.Close(); err != nil { // it has goroutines
		t.Error(err)
	}
	if said := l.output.String(); !strings.Contains(said, "an entry is of a newer format than this version reads") {
		t.Errorf("tallyd said %s, want a word of the newer format", said)
	}
	d.checkAfter(t, l, goroutines)
}

// reformat changes the format that a log says it has, and returns the one before.
func reformat(t *testing.T, dir, format string) (before string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoSigs: true, JetStream: true, StoreDir: filepath.Join(dir, "events"), SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the engine does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "TALLYD_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	before, config.Metadata["tallyd-format"] = config.Metadata["tallyd-format"], format
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return before
}

// TestOneProcess covers what a rolling upgrade must not do: while one tallyd has a log, another one is refused, and takes nothing from it.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l := d.serve(t)
	d.mustDeliver(t, l, "s1")
	p := d.launch(t)
	if code := p.code(t); code != 2 {
		t.Errorf("exit code = %d, want 2\n%s", code, p.output)
	}
	if said := strings.TrimSpace(p.output.String()); strings.Count(said, "\n") > 0 || !strings.Contains(said, "in use by another process") {
		t.Errorf("tallyd said %q, want one line about the other process", said)
	}
	d.mustDeliver(t, l, "s2")
	l.checkLog(t, "f1", "s1", "s2")
	d.kill(t, l)
	l, goroutines := d.settled(t)
	l.checkLog(t, "f1", "s1", "s2")
	d.checkAfter(t, l, goroutines)
}
