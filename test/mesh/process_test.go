// Package mesh tests the built tallyd behind what stands in front of it in production: a proxy with small buffers, a proxy that
// repeats calls, and balancers whose replicas come and go. It holds no code.
package mesh

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// key is what the fake Tally is shown.
const key = "tly-mesh"

var (
	withNginx = flag.Bool("nginx", false, "run the tests that need nginx, which test/mesh/setup.sh installs")
	restarts  = flag.Int("restarts", 4, "how many rolling restarts each balancer goes through")
)

// build builds tallyd once, in a folder of its own.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tallyd-mesh")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "tallyd")
	output, err := exec.Command("go", "build", "-o", binary, "github.com/tallyd/tallyd/cmd/tallyd").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build tallyd: %w\n%s", err, output)
	}
	return binary, err
})

func TestMain(m *testing.M) {
	binary, err := build()
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(filepath.Dir(binary))
	m.Run()
}

// transcript is all that a process prints, both streams in order.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
	return t.text.Write(p)
}

func (t *transcript) String() string {
	text, _ := t.look()
	return text
}

// look returns the text so far and what tells of more.
func (t *transcript) look() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String(), t.changed
}

// process is a program that runs beside the test.
type process struct {
	command *exec.Cmd
	output  *transcript
	exited  chan struct{}
	// address is where a tallyd serves gRPC, admin where it tells operators how it is.
	address, admin string
}

// launch starts a program with an environment of nothing but env, and kills it with the test if it is still there.
func launch(t *testing.T, env []string, files []*os.File, program string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if deadline, ok := t.Deadline(); ok {
		// A test that runs into its time limit leaves no process behind.
		ctx, cancel = context.WithDeadline(context.Background(), deadline.Add(-time.Second))
	}
	p := &process{command: exec.CommandContext(ctx, program, args...), output: newTranscript(), exited: make(chan struct{})}
	p.command.Dir, p.command.Env, p.command.ExtraFiles = t.TempDir(), env, files
	p.command.Stdout, p.command.Stderr = p.output, p.output
	// What the program started goes with it.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.command.Cancel = func() error { return syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) }
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.command.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-p.exited
	})
	return p
}

var (
	readyLine = regexp.MustCompile(`(?m)^tallyd is ready at (\S+)$`)
	adminLine = regexp.MustCompile(`admin port open.*address"?[:=]"?([0-9.:]+)`)
)

// serve starts a tallyd in front of a Tally and waits until it is ready.
func serve(t *testing.T, upstream *fakeTally, args ...string) *process {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--tally-url", upstream.URL, "--tally-rate", "0", "--cache-bytes", "0",
	}, args...)
	p := launch(t, []string{"TALLY_API_KEY=" + key}, nil, binary, args...)
	p.address = p.await(t, readyLine)
	p.admin = p.await(t, adminLine)
	return p
}

// await waits until the output matches and returns the last group of the match.
func (p *process) await(t *testing.T, pattern *regexp.Regexp) string {
	t.Helper()
	limit := time.After(patience)
	for {
		text, changed := p.output.look()
		if match := pattern.FindStringSubmatch(text); match != nil {
			return match[len(match)-1]
		}
		select {
		case <-changed:
		case <-p.exited:
			t.Fatalf("%s ended with %v before it printed %q\n%s", p.command.Path, p.command.ProcessState, pattern, p.output)
		case <-limit:
			t.Fatalf("%s did not print %q\n%s", p.command.Path, pattern, p.output)
		}
	}
}

// terminate asks a process to end; it must, with 0.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	p.ended(t)
}

// ended waits for the end of a process that was asked to; it must end with 0.
func (p *process) ended(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
		if code := p.command.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d, want 0\n%s", p.command.Path, code, p.output)
		}
	case <-time.After(2 * patience):
		t.Fatalf("%s does not end\n%s", p.command.Path, p.output)
	}
}

func (p *process) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// dial returns a connection of a plain client.
func dial(t *testing.T, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
