package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/stat, the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// busy returns the processor time that everything on the machine has used since it started; 0 where the system does not tell.
func busy() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var ticks int64
	for i, text := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal; the guests' time behind them is counted in user already.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, _ := strconv.ParseInt(text, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// others returns the processor time that everybody but us has used.
func (f *field) others() time.Duration {
	total := busy() - ownCPU()
	for _, p := range f.processes {
		total -= p.cpu()
	}
	return total
}

// disturbance is the share of the machine that others may take before a candidate's turn in a round is taken again.
const disturbance = 0.05

// undisturbed runs a turn, again while others took part in it and there is patience left, and returns how much was used up.
func (f *field) undisturbed(patience time.Duration, turn func() error) (used time.Duration, err error) {
	for {
		begin, before := time.Now(), f.others()
		if err := turn(); err != nil {
			return used, err
		}
		took := time.Since(begin)
		share := float64(f.others()-before) / (float64(took) * float64(runtime.NumCPU()))
		if share < disturbance || used+took > patience {
			return used, nil
		}
		used += took
	}
}
