package bench

import (
	"os"
	"testing"
	"time"
)

// Names of the processes whose idle memory is compared, and of what is measured of them.
const (
	nameStore   = "tallyd with a log of events"
	nameNoStore = "tallyd without"

	footResident  = "resident MiB"
	footAnonymous = "anonymous MiB"
)

// TestEventLogFootprint looks at the program's size, and at the memory of a process that keeps a log and has nothing to do.
func TestEventLogFootprint(t *testing.T) {
	f, p := newLogField(t), paceFor(*rounds)
	info, err := os.Stat(f.tallyd)
	if err != nil {
		t.Fatal(err)
	}
	x := &sheet{title: "Footprint when idle", candidates: []string{nameStore, nameNoStore}, figures: []string{footResident, footAnonymous}}
	x.fill(t, f, p, func(candidate string, note put) error {
		l := f.started(t, candidate)
		defer l.stop()
		<-time.After(p.settle)
		note(footResident, l.memory("VmRSS"))
		note(footAnonymous, l.memory("RssAnon"))
		return nil
	})
	size := float64(info.Size()) / 1e6
	if size <= 0 {
		t.Errorf("the program has %v MB, want some", size)
	}
	x.write(reportTo(), []goal{
		{"stripped program", "MB", estimate{size, size, size}, 45, false},
		{"resident with a log", "MiB", x.of(nameStore, footResident), 45, false},
		{"of it anonymous", "MiB", x.of(nameStore, footAnonymous), 16, false},
	})
}

func (f *field) started(t *testing.T, candidate string) *process {
	t.Helper()
	if candidate == nameStore {
		return f.keep(t, t.TempDir(), nil).process
	}
	return f.start(t, tallyd(t, f.tallyd, f.upstream))
}
