package faults

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const penSecret = "secret-of-disk-tests"

// logFlags start a tallyd that keeps a log in a directory and asks Tally nothing.
func logFlags(t *testing.T, dir string) []string {
	t.Helper()
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte(penSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"serve", "--sandbox", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tally-rate", "0", "--cache-bytes", "0",
		"--data-dir", dir, "--webhook-listen", "127.0.0.1:0", "--webhook-secret-file", secrets, "--reconcile-interval", "24h", "--poll-interval", "24h",
	}
}

var (
	portLine = regexp.MustCompile(`port for deliveries open.*address"?[:=]"?([0-9.:]+)`)
	penForm  = "ofDisk" // no form of the sandbox's, so that comparing finds nothing
)

// ready waits until a process serves, and returns where it takes deliveries.
func ready(t *testing.T, p *process) string {
	t.Helper()
	p.address = p.await(t, readyLine)
	p.admin = "http://" + p.await(t, adminLine)
	return "http://" + p.await(t, portLine) + "/hooks/" + penForm
}

// post delivers a submission and returns the status, 0 for no answer.
func post(ctx context.Context, address, submission string) int {
	return postSized(ctx, address, submission, 1500)
}

// postSized is post of at least so many bytes.
func postSized(ctx context.Context, address, submission string, size int) int {
	body := fmt.Appendf(nil, `{"eventId":"e","eventType":"FORM_RESPONSE","createdAt":%q,"data":{"formId":%q,"submissionId":%q,"filler":%q}}`,
		time.Now().UTC().Format(time.RFC3339Nano), penForm, submission, strings.Repeat("x", size))
	mac := hmac.New(sha256.New, []byte(penSecret))
	mac.Write(body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Tally-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// logged returns the submissions of the log, and demands that their numbers have no gap.
func logged(t *testing.T, p *process) (ids []string) {
	t.Helper()
	stream, err := tallydv1.NewSubmissionEventServiceClient(p.dial(t)).ReplaySubmissionEvents(t.Context(),
		&tallydv1.ReplaySubmissionEventsRequest{FormId: penForm})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return ids
		}
		if err != nil {
			t.Fatalf("Recv() behind %d events = %v\n%s", len(ids), err, p.output)
		}
		if got := m.GetEvent().GetSequence(); got != int64(len(ids)+1) {
			t.Errorf("event %d has number %d", len(ids)+1, got)
		}
		ids = append(ids, m.GetEvent().GetSubmission().GetId())
	}
}

// holds demands that the log has all that was acknowledged, and nothing twice.
func holds(t *testing.T, p *process, acknowledged []string) {
	t.Helper()
	ids := logged(t, p)
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(ids)))); distinct != len(ids) {
		t.Errorf("%d of %d events are doubled", len(ids)-distinct, len(ids))
	}
	for _, id := range acknowledged {
		if !slices.Contains(ids, id) {
			t.Errorf("submission %s was acknowledged and is lost", id)
		}
	}
}

// isBlock tells a file of the log of events.
func isBlock(path string) bool {
	return strings.Contains(path, "TALLYD_EVENTS") && strings.HasSuffix(path, ".blk")
}

// Row 91: an fsync that fails is answered 503, is not tried again on the same file, and the log goes on in a new one.
func TestRow91FsyncFails(t *testing.T) {
	dir := t.TempDir()
	p, d := launchOn(t, logFlags(t, dir))
	address := ready(t, p)
	var acknowledged []string
	deliver := func(id string) int {
		status := post(t.Context(), address, id)
		if status == http.StatusOK {
			acknowledged = append(acknowledged, id)
		}
		return status
	}
	for i := range 20 {
		if status := deliver(fmt.Sprintf("a%d", i)); status != http.StatusOK {
			t.Fatalf("delivery %d = %d, want 200", i, status)
		}
	}
	for round := range 3 {
		before := inode(t, dir)
		failed := false
		d.failing(func(path string) syscall.Errno {
			if failed || !isBlock(path) {
				return 0
			}
			failed = true
			return syscall.EIO
		})
		victim := fmt.Sprintf("b%d", round)
		if status := deliver(victim); status != http.StatusServiceUnavailable {
			t.Errorf("a delivery whose fsync fails = %d, want 503", status)
		}
		for limit := time.Now().Add(patience); deliver(victim) != http.StatusOK; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("the log does not open again\n%s", p.output)
			}
		}
		if inode(t, dir) == before {
			t.Error("the log goes on in the file whose fsync failed")
		}
	}
	holds(t, p, acknowledged)
}

// inode tells the newest file of the log from any other.
func inode(t *testing.T, dir string) (number uint64) {
	t.Helper()
	for _, path := range blocks(t, dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		number = max(number, info.Sys().(*syscall.Stat_t).Ino)
	}
	return number
}

func blocks(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if isBlock(path) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Row 90: the power fails at a random instant. What was written since the last fsync is gone, or half of it, or garbage; what was
// acknowledged is there, once.
func TestRow90PowerLoss(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []string
	for round := range 8 {
		p, d := launchOn(t, logFlags(t, dir))
		address := ready(t, p)
		holds(t, p, acknowledged)
		var mu sync.Mutex
		var running sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		enough := make(chan struct{}, 1000)
		for writer := range 4 {
			running.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					id := fmt.Sprintf("r%dw%dn%d", round, writer, i)
					if post(ctx, address, id) == http.StatusOK {
						mu.Lock()
						acknowledged = append(acknowledged, id)
						mu.Unlock()
						enough <- struct{}{}
					}
				}
			})
		}
		for range 20 + rand.IntN(60) {
			<-enough
		}
		p.signal(t, syscall.SIGKILL)
		<-p.exited
		stop()
		running.Wait()
		<-d.done
		d.powerOff(t, dir, round)
	}
	p, _ := launchOn(t, logFlags(t, dir))
	ready(t, p)
	holds(t, p, acknowledged)
}

// powerOff leaves of the log's files what a disk does whose power failed.
func (d *disk) powerOff(t *testing.T, dir string, round int) {
	t.Helper()
	for _, path := range blocks(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		safe, synced := d.images[path]
		if !synced {
			continue // it was safe before this process began
		}
		rest := content[min(len(safe), len(content)):]
		switch round % 4 {
		case 1: // torn
			safe = append(safe, rest[:len(rest)/2]...)
		case 2: // written out of order: room, and nothing in it
			safe = append(safe, make([]byte, len(rest))...)
		case 3: // whole, although nobody asked for it
			safe = append(safe, rest...)
		}
		if err := os.WriteFile(path, safe, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Row 92: a disk that takes no more, for want of room or of inodes, is answered 503 and told by health; what was acknowledged stays, and
// the log opens by itself when there is room again.
func TestRow92DiskFull(t *testing.T) {
	tests := map[string]struct {
		options       string
		spoil, repair func(t *testing.T, p *process, dir string)
	}{
		"no room": {"size=16m", fill, func(t *testing.T, p *process, dir string) { remove(t, p, filepath.Join(dir, "filler")) }},
		"no inodes": {"size=64m,nr_inodes=200", useInodes, func(_ *testing.T, p *process, dir string) {
			for i := range 200 {
				_ = os.Remove(p.inside(filepath.Join(dir, fmt.Sprintf("inode%d", i))))
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := launchSmall(t, dir, test.options, logFlags(t, dir))
			address := ready(t, p)
			var acknowledged []string
			n := 0
			deliver := func() int {
				id := fmt.Sprintf("s%d", n)
				status := post(t.Context(), address, id)
				if status == http.StatusOK {
					acknowledged = append(acknowledged, id)
					n++
				}
				return status
			}
			for range 20 {
				if status := deliver(); status != http.StatusOK {
					t.Fatalf("delivery = %d, want 200\n%s", status, p.output)
				}
			}
			test.spoil(t, p, dir)
			status := http.StatusOK
			for limit := 20000; status == http.StatusOK && limit > 0; limit-- { // a block of the log takes a while to be full
				status = deliver()
			}
			if status != http.StatusServiceUnavailable {
				t.Fatalf("a delivery that the disk does not take = %d, want 503\n%s", status, p.output)
			}
			p.awaitHealth(t, "events", "NOT_SERVING")
			p.awaitHealth(t, "", "SERVING")
			test.repair(t, p, dir)
			p.awaitHealth(t, "events", "SERVING")
			for range 20 {
				if status := deliver(); status != http.StatusOK {
					t.Fatalf("delivery after the repair = %d, want 200\n%s", status, p.output)
				}
			}
			holds(t, p, acknowledged)
		})
	}
}

// fill leaves no room on the disk.
func fill(t *testing.T, p *process, dir string) {
	t.Helper()
	file, err := os.Create(p.inside(filepath.Join(dir, "filler")))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func useInodes(t *testing.T, p *process, dir string) {
	t.Helper()
	for i := range 200 {
		file, err := os.Create(p.inside(filepath.Join(dir, fmt.Sprintf("inode%d", i))))
		if err != nil {
			return
		}
		file.Close()
	}
	t.Fatal("there are more inodes than there should be")
}

func remove(t *testing.T, p *process, path string) {
	t.Helper()
	if err := os.Remove(p.inside(path)); err != nil {
		t.Fatal(err)
	}
}

// Row 93: a disk that takes nothing for a while, whatever it says, is no different.
func TestRow93DiskRefuses(t *testing.T) {
	for name, errno := range map[string]syscall.Errno{"read-only": syscall.EROFS, "permission lost": syscall.EACCES, "quota": syscall.EDQUOT} {
		t.Run(name, func(t *testing.T) {
			p, d := launchOn(t, logFlags(t, t.TempDir()))
			address := ready(t, p)
			acknowledged := []string{"first", "again", "last"}
			if status := post(t.Context(), address, "first"); status != http.StatusOK {
				t.Fatalf("delivery = %d, want 200", status)
			}
			d.failing(func(string) syscall.Errno { return errno })
			for range 3 {
				if status := post(t.Context(), address, "again"); status != http.StatusServiceUnavailable {
					t.Errorf("a delivery that the disk does not take = %d, want 503", status)
				}
				p.awaitHealth(t, "events", "NOT_SERVING")
			}
			d.failing(nil)
			p.awaitHealth(t, "events", "SERVING")
			for _, id := range acknowledged[1:] {
				if status := post(t.Context(), address, id); status != http.StatusOK {
					t.Errorf("delivery after the repair = %d, want 200\n%s", status, p.output)
				}
			}
			holds(t, p, acknowledged)
		})
	}
}

// awaitHealth waits until a health name has a status.
func (p *process) awaitHealth(t *testing.T, name, want string) {
	t.Helper()
	p.awaitHealthFor(t, name, want, patience)
}

func (p *process) awaitHealthFor(t *testing.T, name, want string, patience time.Duration) {
	t.Helper()
	client := healthpb.NewHealthClient(p.dial(t))
	for limit := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err == nil && answer.GetStatus().String() == want {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("health of %q = %v, %v, want %s\n%s", name, answer, err, want, p.output)
		}
	}
}
