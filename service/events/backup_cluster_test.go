package events_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
)

// natsVariable names the program `nats`, which `make test-cluster` installs.
const natsVariable = "TALLYD_TEST_NATS"

// A log in a cluster is kept and brought back by the cluster's own means, as docs/guides/cluster.md says. Whoever has seen more than the
// copy has goes on from its end.
func TestClusterBackup(t *testing.T) {
	program := os.Getenv(natsVariable)
	if program == "" {
		t.Skipf("%s names no program", natsVariable)
	}
	account := servers.Cluster(t).Account(t)
	w := newWorld(t, func(*testing.T) store.Config { return store.Config{URL: account.URL()} })
	w.begun("f")
	w.add(delivered("f", "a"), events.Stored)
	w.add(delivered("f", "b"), events.Stored)
	early := w.token(1)
	copied := t.TempDir()
	streams := []string{"TALLYD_EVENTS", "KV_TALLYD_RECORDS"}
	for _, stream := range streams {
		natsCLI(t, program, account.OperatorURL(), "backup", "stream", stream, filepath.Join(copied, stream), "--no-progress", "--check")
	}
	w.add(delivered("f", "c"), events.Stored)
	w.add(delivered("f", "d"), events.Stored)
	late := w.token(4)
	w.close()

	for _, stream := range streams {
		if err := account.JetStream(t).DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
		natsCLI(t, program, account.OperatorURL(), "backup", "restore", "stream", filepath.Join(copied, stream), "--no-progress")
	}
	w.open()
	w.seal()                                     // as a process does before anything is written
	for _, id := range []string{"d", "c", "e"} { // what is found by comparing, in another order
		w.add(delivered("f", id), events.Stored)
	}
	for name, test := range map[string]struct {
		token string
		want  []string
	}{
		"from before the copy": {early, []string{"f 2 b", "f 3 d", "f 4 c", "f 5 e"}},
		"from after the copy":  {late, []string{"f 3 d", "f 4 c", "f 5 e"}},
	} {
		if got := w.next(w.watch(w.place(test.token), "f"), len(test.want)); !slices.Equal(got, test.want) {
			t.Errorf("%s: events are %q, want %q", name, got, test.want)
		}
	}
	if len(w.gaps) > 0 {
		t.Errorf("gaps told are %q, want none", w.gaps)
	}
}

// natsCLI runs the program.
func natsCLI(t *testing.T, program, url string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, append([]string{"--server", url, "--no-context"}, args...)...)
	command.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("nats %q: %v\n%s", args, err, output)
	}
}

// seal returns the log's seal.
func (w *world) seal() *events.Seal {
	w.t.Helper()
	seal, err := w.log.Seal(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return seal
}

// token is what somebody has who has seen all up to a position.
func (w *world) token(position uint64) string {
	return w.seal().Token(events.Place{Position: position}, 7)
}

// place is where a token goes on.
func (w *world) place(token string) events.Place {
	w.t.Helper()
	at, err := w.seal().Place(token, 7)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}
