package tally_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

const (
	// settle is how long after a fault everything must be as before.
	settle = 5 * time.Second
	// heapSlack is how much the live heap may have grown by then.
	heapSlack = 2 << 20
)

// footprint is what a process holds.
type footprint struct {
	goroutines, files int
	heap              uint64
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %d KiB of live heap", f.goroutines, f.files, f.heap>>10)
}

// leavesNothing is invariant I4: when a client has ended, the process holds what it held before there was one. Call it between the
// fake and the client, so that it looks while the fake still plays: one that ended would take the client's connections with it.
func leavesNothing(t testing.TB) {
	t.Helper()
	warm.Do(func() { warmUp(t) })
	before := measure()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		deadline := time.Now().Add(settle)
		for {
			after := footprint{goroutines: runtime.NumGoroutine(), files: openFiles()}
			if after.goroutines <= before.goroutines && after.files <= before.files {
				if after = measure(); after.heap <= before.heap+heapSlack {
					return
				}
			}
			if time.Now().After(deadline) {
				t.Errorf("after the test: %v, want at most %v and %d KiB more; goroutines:\n%s", measure(), before, heapSlack>>10, stacks())
				return
			}
			// Nothing tells of the end of somebody else's goroutine.
			time.Sleep(time.Millisecond)
		}
	})
}

// warm is done once: what the contract and the libraries build when they are first used stays, and is nobody's leak.
var warm sync.Once

func warmUp(t testing.TB) {
	t.Helper()
	fake := play(t, reply("200 OK", json, okForm))
	client := clientFor(t, fake.url())
	for _, call := range []func() (proto.Message, proto.Message){read, write} {
		req, resp := call()
		_ = client.Call(t.Context(), req, resp)
	}
	client.Close()
}

func measure() footprint {
	// What a pool holds survives the first collection.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{goroutines: runtime.NumGoroutine(), files: openFiles(), heap: m.HeapAlloc}
}

// openFiles returns 0 where the system does not tell.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func stacks() string {
	var text strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1)
	return text.String()[:min(text.Len(), 8<<10)]
}

// TestNothingIsLeftBehind hits one client with fault after fault.
func TestNothingIsLeftBehind(t *testing.T) {
	fake := play(t, reset, hang, cut("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), reply("200 OK", json, okForm))
	leavesNothing(t)
	client := clientFor(t, fake.url(), quick)
	for range 20 {
		req, resp := read()
		_ = client.Call(t.Context(), req, resp)
	}
}
