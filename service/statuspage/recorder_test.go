package statuspage

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// at is a moment, n seconds after the first.
func at(n int) time.Time { return time.Date(2026, 11, 23, 12, 0, n, 0, time.UTC) }

// TestObserve counts by caller and keeps errors, both the latest first.
func TestObserve(t *testing.T) {
	r := NewRecorder()
	r.Observe(Call{Time: at(1), Caller: "billing", Service: "tallyd.v1.FormService", Method: "GetForm"})
	failed := Call{Time: at(2), Caller: "billing", Code: "NotFound", Reason: "RESOURCE_NOT_FOUND", RequestID: "r2"}
	r.Observe(failed)
	nameless := Call{Time: at(3), Code: "Internal", Reason: "PANIC", RequestID: "r3"}
	r.Observe(nameless)
	want := []callerRow{{Anonymous, 1, 1, at(3)}, {"billing", 2, 1, at(2)}}
	if diff := cmp.Diff(want, r.all()); diff != "" {
		t.Errorf("all() (-want +got):\n%s", diff)
	}
	nameless.Caller = Anonymous
	if diff := cmp.Diff([]Call{nameless, failed}, r.recent()); diff != "" {
		t.Errorf("recent() (-want +got):\n%s", diff)
	}
}

// TestRecorderIsBounded calls as many times more callers than are remembered, with names and ids without end, all failing.
func TestRecorderIsBounded(t *testing.T) {
	r := NewRecorder()
	long := strings.Repeat("x", 1<<16)
	for i := range 5 * maxCallers {
		r.Observe(Call{Time: at(i), Caller: fmt.Sprintf("caller-%05d-%s", i, long), RequestID: long, Code: "Internal", Reason: "PANIC"})
		// Somebody who calls all the time is never forgotten.
		r.Observe(Call{Time: at(i), Caller: "steady"})
	}
	rows, calls := r.all(), r.recent()
	if len(rows) > maxCallers || len(calls) != shownErrors {
		t.Errorf("remembered %d callers and %d errors, want at most %d and %d", len(rows), len(calls), maxCallers, shownErrors)
	}
	for _, row := range rows {
		if len(row.Name) > maxName {
			t.Fatalf("a caller's name has %d bytes, want at most %d", len(row.Name), maxName)
		}
		if row.Name == "steady" && row.Calls != 5*maxCallers {
			t.Errorf("steady made %d calls, want %d", row.Calls, 5*maxCallers)
		}
	}
	// The latest are there, the latest first.
	for i, call := range calls {
		if want := fmt.Sprintf("caller-%05d", 5*maxCallers-1-i); !strings.HasPrefix(call.Caller, want) || len(call.RequestID) > maxName {
			t.Fatalf("recent()[%d] = %.20s with an id of %d bytes, want %s and at most %d", i, call.Caller, len(call.RequestID), want, maxName)
		}
	}
	if len(rows) < shownCallers {
		t.Errorf("remembered %d callers, want %d to show", len(rows), shownCallers)
	}
}

// TestObserveAtOnce loses no call of callers who stay, whatever comes and goes beside them.
func TestObserveAtOnce(t *testing.T) {
	const workers, calls = 8, 2000
	r := NewRecorder()
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := range calls {
				r.Observe(Call{Time: time.Now(), Caller: fmt.Sprintf("stays-%d", i%4), Code: "Internal"})
				if i%4 == 0 {
					r.Observe(Call{Time: time.Now(), Caller: fmt.Sprintf("goes-%d-%d", w, i)})
				}
			}
		})
	}
	running.Wait()
	counted := int64(0)
	for _, row := range r.all() {
		if strings.HasPrefix(row.Name, "stays-") {
			counted += row.Calls
		}
	}
	if counted != workers*calls || r.failed != workers*calls {
		t.Errorf("counted %d calls and %d errors, want %d of each", counted, r.failed, workers*calls)
	}
}

// BenchmarkObserve is what a call pays: for a success, a failure, and when callers change all the time.
func BenchmarkObserve(b *testing.B) {
	names := make([]string, 2*maxCallers)
	for i := range names {
		names[i] = fmt.Sprintf("spiffe://example.org/ns/shop/sa/caller-%d", i)
	}
	now := time.Now()
	for _, bench := range []struct {
		name    string
		callers int
		code    string
	}{{"success", 200, ""}, {"one caller", 1, ""}, {"failure", 200, "NotFound"}, {"churn", len(names), ""}} {
		b.Run(bench.name, func(b *testing.B) {
			r := NewRecorder()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					r.Observe(Call{Time: now, Caller: names[i%bench.callers], Code: bench.code, Reason: "RESOURCE_NOT_FOUND", RequestID: "id"})
				}
			})
		})
	}
}
