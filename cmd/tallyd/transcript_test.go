package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	contract "github.com/tallyd/tallyd/proto"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// transcripts are pages whose grpcurl commands are carried out, in order, and whose answers must come back as the page shows them.
var transcripts = []string{"docs/transcript.md", "README.md", "docs/guides/policy.md"}

const shownAddress = "localhost:50051"

// TestTranscripts replays each page against a fresh tallyd with its sandbox, by a real grpcurl and reflection.
func TestTranscripts(t *testing.T) {
	grpcurl := buildGrpcurl(t)
	for _, page := range transcripts {
		t.Run(page, func(t *testing.T) {
			path := filepath.Join("..", "..", page)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			p := player{grpcurl: grpcurl, dir: t.TempDir()}
			args := []string{"--sandbox", "--sandbox-rate", "0", "--tally-rate", "0"}
			if strings.HasSuffix(page, "policy.md") {
				args = append(args, p.policy(t)...)
			}
			p.address = startTallyd(t, args...)
			commands := 0
			got := block.ReplaceAllStringFunc(string(text), func(shown string) string {
				commands++
				got := p.replay(t, shown)
				if settled(got) == settled(shown) {
					return shown // times and ids of the last run are as good
				}
				return got
			})
			if commands == 0 {
				t.Fatalf("%s holds no grpcurl command", page)
			}
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s (-shown +got); go test ./cmd/tallyd -run Transcript -update renews it:\n%s", page, diff)
			}
		})
	}
}

// block is one command with its answer, fenced as console text.
var block = regexp.MustCompile("(?s)```console\n\\$ (grpcurl|tallyd) .*?\n```")

// player carries out the commands of a page.
type player struct {
	grpcurl, address, dir string
}

const shownPolicy = "examples/policy/policy.yaml"

// policy makes the certificates that the guide speaks of and returns the flags that it starts with.
func (p player) policy(t *testing.T) []string {
	t.Helper()
	certs := filepath.Join(p.dir, "certs")
	issue := exec.CommandContext(t.Context(), "go", "run", "./examples/policy/certificates", certs)
	issue.Dir = filepath.Join("..", "..")
	if output, err := issue.CombinedOutput(); err != nil {
		t.Fatalf("make certificates: %v\n%s", err, output)
	}
	return []string{
		"--policy", filepath.Join("..", "..", shownPolicy), "--tls-cert", filepath.Join(certs, "server.pem"),
		"--tls-key", filepath.Join(certs, "server.key"), "--tls-client-ca", filepath.Join(certs, "ca.pem"),
	}
}

// replay carries out the command of a block and returns the block with the answer that came.
func (p player) replay(t *testing.T, shown string) string {
	t.Helper()
	lines := strings.Split(shown, "\n")
	command := 1
	for strings.HasSuffix(lines[command], `\`) {
		command++
	}
	script := strings.Join(lines[1:command+1], "\n")
	var output string
	if own, ok := strings.CutPrefix(script, "$ tallyd "); ok {
		output = ownCommand(t, own)
	} else {
		output = p.call(t, strings.TrimPrefix(script, "$ grpcurl"))
	}
	answer := strings.TrimRight(output, "\n")
	return strings.Join(lines[:command+1], "\n") + "\n" + answer + "\n```"
}

// call runs grpcurl, and what its answer is piped through.
func (p player) call(t *testing.T, script string) string {
	t.Helper()
	run := exec.CommandContext(t.Context(), "bash", "-c", `"$GRPCURL"`+strings.Replace(strings.ReplaceAll(script, shownAddress, p.address), " | ", " 2>&1 | ", 1))
	run.Dir, run.Env = p.dir, append(os.Environ(), "GRPCURL="+p.grpcurl)
	output, _ := run.CombinedOutput()
	return strings.ReplaceAll(string(output), p.address, shownAddress)
}

// ownCommand runs a command of tallyd's that ends by itself.
func ownCommand(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join("..", "..", shownPolicy)
	var out bytes.Buffer
	run(t.Context(), strings.Fields(strings.ReplaceAll(line, shownPolicy, path)), console{out: &out, err: &out})
	return strings.ReplaceAll(out.String(), path, shownPolicy)
}

// What differs from run to run: times of what the page's own commands changed, and the ids of what they created.
var (
	changingTime = regexp.MustCompile(`"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"`)
	changingID   = regexp.MustCompile(`"id": "[A-Za-z0-9]{6}"`)
)

func settled(text string) string {
	return changingID.ReplaceAllString(changingTime.ReplaceAllString(text, `"<time>"`), `"id": "<id>"`)
}

// buildGrpcurl builds the version that tools/go.mod pins.
func buildGrpcurl(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "grpcurl")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	build.Dir = filepath.Join("..", "..", "tools")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build grpcurl: %v\n%s", err, output)
	}
	return binary
}

// startTallyd runs `tallyd serve` in this process and returns the address that it announces.
func startTallyd(t *testing.T, args ...string) string {
	t.Helper()
	address, _ := startLogged(t, args...)
	return address
}

// startLogged also returns what the process logs.
func startLogged(t *testing.T, args ...string) (string, *lockedBuffer) {
	t.Helper()
	t.Setenv(keyVariable, "")
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	log := &lockedBuffer{}
	done := make(chan int, 1)
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", ""}, args...)
	go func() {
		done <- run(ctx, args, console{out: in, err: log})
		_ = in.Close()
	}()
	address := announced(t, out, log)
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("serve = %d, want 0\n%s", code, log)
		}
	})
	return address, log
}

// announced reads the line with the address and goes on reading, so that nothing blocks.
func announced(t *testing.T, out io.Reader, log *lockedBuffer) string {
	t.Helper()
	first := make(chan string, 1)
	go func() {
		buffer := make([]byte, 4096)
		n, _ := out.Read(buffer)
		first <- string(buffer[:n])
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case line := <-first:
		address, ok := strings.CutPrefix(strings.TrimSpace(line), "tallyd is ready at ")
		if !ok {
			t.Fatalf("serve printed %q\n%s", line, log)
		}
		return address
	case <-time.After(30 * time.Second):
		t.Fatalf("serve announced nothing\n%s", log)
		return ""
	}
}

// lockedBuffer is a buffer that a server may write to while a test reads.

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// elsewhere are RPCs that say what time it is, or what happens meanwhile: the guides show them.
var elsewhere = map[string]bool{
	"tallyd.v1.QuotaService/GetQuota":                         true,
	"tallyd.v1.SubmissionService/WatchSubmissions":            true,
	"tallyd.v1.SubmissionEventService/ListSubmissionEvents":   true,
	"tallyd.v1.SubmissionEventService/ReplaySubmissionEvents": true,
}

// TestTranscriptIsWhole demands that the page shows each RPC of the contract.
func TestTranscriptIsWhole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "transcript.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	files.RangeFilesByPackage("tallyd.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				name := string(service.FullName()) + "/" + string(service.Methods().Get(j).Name())
				if elsewhere[name] {
					continue
				}
				if !strings.Contains(string(text), "localhost:50051 "+name+"\n{") {
					t.Errorf("docs/transcript.md shows no successful call of %s: add one, then go test ./cmd/tallyd -run Transcript -update", name)
				}
			}
		}
		return true
	})
}
