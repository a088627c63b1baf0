package faults

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Row 92: a disk that the log itself has filled recovers when retention makes room, and nobody has to delete anything.
func TestRow92LogFillsItsDisk(t *testing.T) {
	dir := t.TempDir()
	p := launchSmall(t, dir, "size=64m", append(logFlags(t, dir), "--event-bytes", "1048576"))
	address := ready(t, p)
	status, n := http.StatusOK, 0
	for ; status == http.StatusOK && n < 1000; n++ { // faster than the log is walked through
		status = postSized(t.Context(), address, fmt.Sprintf("s%d", n), 200<<10)
	}
	if status != http.StatusServiceUnavailable {
		t.Fatalf("delivery %d, which the disk does not take = %d, want 503\n%s", n, status, p.output)
	}
	p.awaitHealth(t, "events", "NOT_SERVING")
	p.awaitHealthFor(t, "events", "SERVING", 3*time.Minute)
	for i := range 20 {
		if status := post(t.Context(), address, fmt.Sprintf("after%d", i)); status != http.StatusOK {
			t.Fatalf("delivery when there is room again = %d, want 200\n%s", status, p.output)
		}
	}
}
