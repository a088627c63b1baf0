// Package faults tests the built tallyd as its users meet it: a process with ports, signals, files and output, between real callers
// and a Tally that misbehaves. It holds no code. Row numbers are those of the project's table of faults.
package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// build builds tallyd once, in a folder of its own.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tallyd-faults")
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
	if program := os.Getenv(watchedProgram); program != "" {
		becomeWatched(program)
	}
	binary, err := build()
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(filepath.Dir(binary))
	encoding.RegisterCompressor(packed{})
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
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// look returns the text so far and what tells of more.
func (t *transcript) look() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String(), t.changed
}

// process is a tallyd that runs.
type process struct {
	command *exec.Cmd
	output  *transcript
	exited  chan struct{}
	// address and admin are where it serves gRPC and its operators.
	address, admin string
}

// launch starts the binary with an empty environment, and waits for nothing.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return launchBinary(t, binary, nil, args)
}

// launchBinary starts a binary with an environment of nothing but env.
func launchBinary(t *testing.T, binary string, env, args []string) *process {
	t.Helper()
	return start(t, binary, env, args, nil)
}

// start starts a program as launchBinary does. change may add to what it gets.
func start(t *testing.T, program string, env, args []string, change func(*exec.Cmd)) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if deadline, ok := t.Deadline(); ok {
		// A test that runs into its time limit leaves no process behind.
		ctx, cancel = context.WithDeadline(context.Background(), deadline.Add(-time.Second))
	}
	p := &process{command: exec.CommandContext(ctx, program, args...), output: newTranscript(), exited: make(chan struct{})}
	p.command.Dir, p.command.Env = t.TempDir(), env
	if change != nil {
		change(p.command)
	}
	p.command.Stdout, p.command.Stderr = p.output, p.output
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

// serve starts `tallyd serve` on ports of its own choice and waits until it is ready. Unless the test ends it, it is told to stop at
// the end and must obey.
func serve(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return serveBinary(t, binary, env, args...)
}

// serveBinary is serve with another tallyd.
func serveBinary(t *testing.T, binary string, env []string, args ...string) *process {
	t.Helper()
	p := launchBinary(t, binary, env, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tally-rate", "0", "--cache-bytes", "0"}, args...))
	p.address = p.await(t, readyLine)
	p.admin = "http://" + p.await(t, adminLine)
	t.Cleanup(func() {
		if p.command.Process.Signal(syscall.SIGTERM) == nil && p.code(t) != 0 {
			t.Errorf("tallyd ended with %v, want 0\n%s", p.command.ProcessState, p.output)
		}
	})
	return p
}

// await waits until the output matches and returns the first group of the match.
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
			t.Fatalf("tallyd ended with %v before it printed %q\n%s", p.command.ProcessState, pattern, p.output)
		case <-limit:
			t.Fatalf("tallyd did not print %q\n%s", pattern, p.output)
		}
	}
}

// code waits for the process to end and returns its exit code.
func (p *process) code(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.command.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("tallyd does not end\n%s", p.output)
		return -1
	}
}

func (p *process) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// file returns what the kernel tells of the process under a name.
func (p *process) file(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.command.Process.Pid), name))
	if err != nil {
		t.Skipf("this system tells nothing of its processes: %v", err)
	}
	return string(content)
}

// dial returns a connection of a plain client.
func (p *process) dial(t *testing.T, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(p.address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// get asks over plain HTTP/1.1 and returns the status, 0 when there was no answer in HTTP, and the body.
func get(t *testing.T, address string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(address)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("GET %s = %v, want an answer or the end of the connection", address, err)
		}
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
