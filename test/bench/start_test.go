package bench

import (
	"os"
	"testing"
	"time"
)

// footprint is what the process costs before the first call.
type footprint struct {
	ready     []float64 // ms from the start to the line that says so, one for each start
	program   float64   // MB of the stripped program
	resident  float64   // MiB, some time after the start
	anonymous float64   // MiB of it that no file holds
}

// footprint starts tallyd several times and looks at the memory of the last.
func (f *field) footprint(t *testing.T, p pace) footprint {
	t.Helper()
	info, err := os.Stat(f.tallyd)
	if err != nil {
		t.Fatal(err)
	}
	cost := footprint{program: float64(info.Size()) / 1e6}
	for i := range p.starts {
		fresh := start(t, tallyd(t, f.tallyd, f.upstream))
		cost.ready = append(cost.ready, micros(fresh.ready)/1e3)
		if i == p.starts-1 {
			<-time.After(p.settle)
			cost.resident, cost.anonymous = fresh.memory("VmRSS"), fresh.memory("RssAnon")
		}
		fresh.stop()
	}
	return cost
}
