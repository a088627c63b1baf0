//go:build unix

package natscluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Node is one server. It is for one goroutine at a time.
type Node struct {
	cluster       *Cluster
	name, config  string
	port, monitor int

	command *exec.Cmd
	guard   *guard
	paused  bool
}

// Name returns what the others know it by.
func (n *Node) Name() string { return n.name }

// Address returns where it takes clients.
func (n *Node) Address() string { return "127.0.0.1:" + strconv.Itoa(n.port) }

// Log returns what it has logged in all its lives.
func (n *Node) Log() string {
	text, _ := os.ReadFile(n.logFile())
	return string(text)
}

func (n *Node) logFile() string { return filepath.Join(n.cluster.dir, n.name+".log") }

// start starts the process.
func (n *Node) start() error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()                                          //nolint:errcheck // the process has its own
	n.command = exec.Command(n.cluster.binary, "-c", n.config) //nolint:noctx,gosec // it ends by hand, or by its guard
	n.command.Stdout, n.command.Stderr = log, log
	if err := n.command.Start(); err != nil {
		n.command = nil
		return err
	}
	n.guard, err = newGuard(n.command.Process.Pid)
	return err
}

// state is what a server knows of its cluster.
type state struct {
	Meta struct {
		Leader   string `json:"leader"`
		Size     int    `json:"cluster_size"`
		Replicas []struct {
			Offline bool `json:"offline"`
		} `json:"replicas"`
	} `json:"meta_cluster"`
}

func (n *Node) state() (s state, err error) {
	err = n.ask("/jsz", &s)
	return s, err
}

// ready asks whether it sees all others and who leads.
func (n *Node) ready() error {
	s, err := n.state()
	if err != nil {
		return err
	}
	for _, other := range s.Meta.Replicas {
		if other.Offline {
			return errors.New("it misses another")
		}
	}
	if s.Meta.Leader == "" || s.Meta.Size != size {
		return fmt.Errorf("leader %q of %d servers", s.Meta.Leader, s.Meta.Size)
	}
	return n.ask("/healthz", nil) // which says in its log each time that it is not ready
}

// ask reads what it tells its operator.
func (n *Node) ask(path string, into any) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", n.monitor, path)) //nolint:noctx // it has a time limit
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	return err
}

// Kill ends it as a crash does.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	if n.command == nil {
		t.Fatalf("%s does not run", n.name)
	}
	n.end()
}

// Stop ends it in order: it hands over what it leads.
func (n *Node) Stop(t testing.TB) {
	t.Helper()
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.reap()
}

// Start starts it again.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	if err := n.back(); err != nil {
		t.Fatalf("start %s: %v", n.name, err)
	}
}

// Pause makes it fall silent without a word, as a machine that lost its network.
func (n *Node) Pause(t testing.TB) {
	t.Helper()
	if err := n.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.paused = true
}

// Resume lets it go on.
func (n *Node) Resume(t testing.TB) {
	t.Helper()
	if err := n.back(); err != nil {
		t.Fatalf("resume %s: %v", n.name, err)
	}
}

// back makes it run.
func (n *Node) back() error {
	switch {
	case n.command == nil:
		return n.start()
	case n.paused:
		n.paused = false
		return n.command.Process.Signal(syscall.SIGCONT)
	}
	return nil
}

// end ends it at once.
func (n *Node) end() {
	if n.command != nil {
		_ = n.command.Process.Kill()
		n.reap()
	}
}

func (n *Node) reap() {
	_ = n.command.Wait()
	n.guard.dismiss()
	n.command, n.guard, n.paused = nil, nil, false
}

// guard is a process that ends another one should this one end without having done so.
type guard struct {
	command *exec.Cmd
	hold    io.WriteCloser
}

func newGuard(pid int) (*guard, error) {
	command := exec.Command("sh", "-c", `read -r line || kill -9 "$0"`, strconv.Itoa(pid)) //nolint:noctx,gosec // it ends with this process
	hold, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{command, hold}, command.Start()
}

func (g *guard) dismiss() {
	if g == nil {
		return
	}
	_, _ = io.WriteString(g.hold, "done\n")
	_ = g.command.Wait()
}
