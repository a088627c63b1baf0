package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program beside the test, alone in its own memory and with its own account of the processor.
type process struct {
	address string
	pid     int
	began   time.Time
	ready   time.Duration // from the start to the line that says so
	said    string        // file with its complaints
	stop    func()
	kill    func()        // ends it as a crash does
	used    time.Duration // processor time, once it has ended
}

// start starts a program and waits for its first line, which ends in its address. It is stopped with the test, if not before.
func start(t testing.TB, command *exec.Cmd) *process {
	t.Helper()
	complaints, input, output := pipes(t, command)
	p := &process{began: time.Now(), said: complaints.Name()}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	p.pid, p.ready = command.Process.Pid, time.Since(p.began)
	var once sync.Once
	end := func(signal os.Signal) {
		once.Do(func() {
			_ = command.Process.Signal(signal)
			_ = input.Close()
			_ = command.Wait()
			_ = complaints.Close()
			p.used = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
		})
	}
	p.stop, p.kill = func() { end(syscall.SIGTERM) }, func() { end(syscall.SIGKILL) }
	t.Cleanup(p.stop)
	words := strings.Fields(line)
	if err != nil || len(words) == 0 {
		p.stop()
		said, _ := os.ReadFile(p.said)
		t.Fatalf("%s ended before it was ready: %v\n%s", command, err, said)
	}
	p.address = words[len(words)-1]
	return p
}

// pipes gives a command a file for its complaints and keeps the ends of its input and output. Our own programs end with their input,
// so that none outlives a test that was cut.
func pipes(t testing.TB, command *exec.Cmd) (complaints *os.File, input io.Closer, output io.Reader) {
	t.Helper()
	complaints, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = complaints
	if input, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if output, err = command.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	return complaints, input, output
}

// self returns a command that runs this test binary in one of the roles of TestMain.
func self(t testing.TB, role string, env ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), append(env, roleVariable+"="+role)...)
	return command
}

// build builds tallyd as `make build` does and returns the path of the program.
func build(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tallyd")
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=dev", "-o", path, "./cmd/tallyd")
	command.Dir = filepath.Join("..", "..")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build tallyd: %v\n%s", err, output)
	}
	return path
}

// tallyd returns a command that serves as in production, with the upstream in Tally's place. The log goes to a file.
func tallyd(t testing.TB, program, upstream string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), program,
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tally-url", upstream, "--tally-rate", "0")
	command.Env = append(os.Environ(), "TALLY_API_KEY=tly-bench")
	return command
}

// cpu returns the processor time that a process has used: the sum over its threads, in nanoseconds, where the system tells (Linux).
func (p *process) cpu() time.Duration {
	if p == nil || p.used > 0 {
		return p.ended()
	}
	var total int64
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	for _, thread := range threads {
		data, _ := os.ReadFile(thread)
		onCPU, _, _ := strings.Cut(string(data), " ")
		n, _ := strconv.ParseInt(onCPU, 10, 64)
		total += n
	}
	return time.Duration(total)
}

// ended returns what a process has used that is no more; nothing for none.
func (p *process) ended() time.Duration {
	if p == nil {
		return 0
	}
	return p.used
}

// memory returns what /proc says of a process's memory under a name, in MiB; 0 where there is no such file.
func (p *process) memory(name string) float64 {
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0
	}
	defer status.Close()
	lines := bufio.NewScanner(io.LimitReader(status, 1<<16))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == name+":" {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			return kib / 1024
		}
	}
	return 0
}

// ownCPU returns the processor time that the test itself has used.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
