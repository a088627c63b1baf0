package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// report is what a comparison found, and how it is shown.
type report struct {
	wanted     int     // rounds
	rounds     []round // all, refused ones too
	kept       []round
	candidates []candidate
	page       translations
	cost       footprint
}

// values returns something of a lane, round by round.
func (r report) values(candidate, operation string, of func(sample) float64) []float64 {
	var values []float64
	for _, round := range r.kept {
		if s, ok := round.lanes[lane{candidate, operation}]; ok {
			values = append(values, of(s))
		}
	}
	return values
}

func p50(s sample) float64       { return s.p50 }
func p99(s sample) float64       { return s.p99 }
func perSecond(s sample) float64 { return s.perSecond }

// write writes the report as markdown.
func (r report) write(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", machine())
	fmt.Fprintf(w, "%d rounds kept of %d; echo %.1f µs.\n", len(r.kept), len(r.rounds), r.controls().mid)
	if len(r.kept) < r.wanted {
		fmt.Fprintf(w, "\n**The machine was busy: %d steady rounds were wanted. Do not publish this.**\n", r.wanted)
	}
	for _, o := range operations() {
		r.writeLanes(w, o.name)
	}
	r.writePage(w)
	writeGoals(w, r.goals())
	r.writeRounds(w)
}

func (r report) controls() estimate {
	var controls []float64
	for _, round := range r.kept {
		controls = append(controls, round.control)
	}
	return overRounds(controls)
}

func (r report) writeLanes(w io.Writer, operation string) {
	fmt.Fprintf(w, "\n## One %s per call\n\n", operation)
	fmt.Fprintln(w, "| candidate | p50 µs, 1 in flight | p99 µs | calls/s, 64 in flight | CPU µs per call: caller | between |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, c := range r.candidates {
		mid := func(of func(sample) float64) float64 { return median(r.values(c.name, operation, of)) }
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %.0f | %.0f | %.0f |\n", c.name, mid(p50), mid(p99), mid(perSecond),
			mid(func(s sample) float64 { return s.caller }), mid(func(s sample) float64 { return s.between }))
	}
}

func (r report) writePage(w io.Writer) {
	fmt.Fprintf(w, "\n## From the JSON of a page (%d bytes) to the wire bytes of the answer\n\n", r.page.bytes)
	fmt.Fprintln(w, "| way | µs | without the fetch | MB/s | allocations |")
	fmt.Fprintln(w, "|---|---|---|---|---|")
	for _, name := range []string{wayTallyd, wayByHand, wayFetch, wayWalk} {
		whole, net := r.page.times[name], r.net(name)
		rate := "–"
		if name != wayFetch {
			rate = fmt.Sprintf("%.0f", float64(r.page.bytes)/median(net))
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %s | %.0f |\n", name, median(whole), median(net), rate, r.page.allocs[name])
	}
}

// net returns a way's times without the fetch, where it has one.
func (r report) net(way string) []float64 {
	if way == wayWalk {
		return r.page.times[way]
	}
	return paired(r.page.times[way], r.page.times[wayFetch], difference)
}

// goal is one figure beside what it should be.
type goal struct {
	name, unit string
	estimate
	limit float64
	least bool // the limit is a floor, not a ceiling
}

// met tells whether the worse end of the interval passes.
func (g goal) met() bool {
	if g.least {
		return g.low >= g.limit
	}
	return g.high <= g.limit
}

func (r report) goals() []goal {
	against := func(peer, operation string) estimate {
		return overRounds(paired(r.values(nameTallyd, operation, perSecond), r.values(peer, operation, perSecond), ratio))
	}
	added := func(operation string) estimate {
		return overRounds(paired(r.values(nameTallyd, operation, p50), r.values(nameDirect, operation, p50), difference))
	}
	alone := func(v float64) estimate { return estimate{v, v, v} }
	return []goal{
		{"form: added p50 over direct", "µs", added("form"), 50, false},
		{"form: calls/s, tallyd to ReverseProxy", "x", against(nameProxy, "form"), 1.5, true},
		{"form: calls/s, tallyd to Node", "x", against(nameNode, "form"), 2, true},
		{"page: added p50 over direct", "µs", added("page"), 0, false},
		{"page: calls/s, tallyd to ReverseProxy", "x", against(nameProxy, "page"), 0, true},
		{"page: calls/s, tallyd to Node", "x", against(nameNode, "page"), 0, true},
		{"page: translation, by hand to tallyd", "x", overRounds(paired(r.net(wayByHand), r.net(wayTallyd), ratio)), 1.5, true},
		{"page: translation, tallyd to token walk", "x", overRounds(paired(r.net(wayTallyd), r.net(wayWalk), ratio)), 0, false},
		{"start to ready line", "ms", overRounds(r.cost.ready), 50, false},
		{"stripped program", "MB", alone(r.cost.program), 30, false},
		{"resident when idle", "MiB", alone(r.cost.resident), 30, false},
		{"of it anonymous", "MiB", alone(r.cost.anonymous), 0, false},
	}
}

func writeGoals(w io.Writer, goals []goal) {
	fmt.Fprintln(w, "\n## Goals")
	fmt.Fprintln(w, "\n| figure | median | 95 % interval | goal | met |")
	fmt.Fprintln(w, "|---|---|---|---|---|")
	for _, g := range goals {
		want, met := "–", "–"
		if g.limit > 0 {
			sign := map[bool]string{true: "≥", false: "≤"}[g.least]
			want, met = fmt.Sprintf("%s %.3g %s", sign, g.limit, g.unit), map[bool]string{true: "yes", false: "no"}[g.met()]
		}
		if g.estimate == (estimate{}) {
			continue
		}
		interval := "–"
		if g.low < g.high {
			interval = short(g.low) + " to " + short(g.high)
		}
		fmt.Fprintf(w, "| %s | %s %s | %s | %s | %s |\n", g.name, short(g.mid), g.unit, interval, want, met)
	}
}

// short writes three digits that count, without an exponent.
func short(v float64) string {
	if v >= 100 || v <= -100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// writeRounds writes every round, so that anybody can do the statistics again.
func (r report) writeRounds(w io.Writer) {
	fmt.Fprint(w, "\n## Rounds: form, p50 µs / calls per second\n\n| echo µs |")
	for _, c := range r.candidates {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprintln(w, "\n|---|"+strings.Repeat("---|", len(r.candidates)))
	for _, round := range r.rounds {
		fmt.Fprintf(w, "| %.1f |", round.control)
		for _, c := range r.candidates {
			s := round.lanes[lane{c.name, "form"}]
			fmt.Fprintf(w, " %.0f / %.0f |", s.p50, s.perSecond)
		}
		fmt.Fprintln(w)
	}
}

// machine says where and when.
func machine() string {
	model := "unknown processor"
	if info, err := os.Open("/proc/cpuinfo"); err == nil {
		defer info.Close()
		for lines := bufio.NewScanner(info); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	return fmt.Sprintf("%s, %d x %s, %s/%s, %s", time.Now().Format(time.DateOnly), runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
