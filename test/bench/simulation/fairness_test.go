package simulation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// span is how long callers may be treated unequally.
const span = 10 * minute

// contest is callers that compete for slots.
type contest struct {
	name    string
	callers []quota.Caller
	begin   func(context.Context, *world)
	judged  int // so many of the callers, from the first on, are to be treated alike
}

// waiting is how many calls each of the callers has waiting all the time.
const waiting = 8

func contests() []contest {
	weighted := people(8)
	for i := range weighted {
		weighted[i].Weight = i + 1
	}
	all := func(ctx context.Context, w *world) {
		for i := range w.callers {
			w.saturate(ctx, i, waiting)
		}
	}
	greedy := func(ctx context.Context, w *world) {
		all(ctx, w)
		w.saturate(ctx, len(w.callers)-1, 9*waiting)
	}
	few := func(ctx context.Context, w *world) {
		for i := range 4 {
			w.saturate(ctx, i, 2*waiting)
		}
	}
	return []contest{
		{"16 equal callers", people(16), all, 16},
		{"weights 1 to 8", weighted, all, 8},
		{"one of 16 asks for 10 times its share: the others", people(16), greedy, 15},
		{"4 of 16 equal callers, the others silent", people(16), few, 4},
	}
}

// fairness is how equal the judged callers were in the worst of all runs.
type fairness struct {
	index float64 // in any span
	first float64 // in the first minute
	used  float64 // per cent of the rate
	early []request
}

func (f *fairness) add(seen []request, c contest, length time.Duration) {
	judged := c.callers[:c.judged]
	f.index = min(f.index, worstWindow(seen, judged, span, length))
	f.first = min(f.first, worstWindow(before(seen, minute), judged, minute, minute))
	f.used = min(f.used, 100*float64(len(before(seen, length)))/(perMinute*length.Minutes()))
	if f.early == nil {
		f.early = before(seen, span)
	}
}

// before returns the requests of the first part of a run in the order in which they were sent.
func before(seen []request, end time.Duration) []request {
	early := slices.DeleteFunc(slices.Clone(seen), func(r request) bool { return r.sent > end || r.refused })
	slices.SortFunc(early, func(a, b request) int { return cmp.Compare(a.sent, b.sent) })
	return early
}

func fairPeers(callers []quota.Caller) []candidate {
	return []candidate{tallyd(), queueing(), splitting(callers)}
}

// fairnessOf makes the runs of every contest with every candidate.
func fairnessOf(t *testing.T, s scale) map[[2]string]*fairness {
	t.Helper()
	all := map[[2]string]*fairness{}
	t.Run("runs", func(t *testing.T) {
		for _, c := range contests() {
			for _, peer := range fairPeers(c.callers) {
				f := &fairness{index: 1, first: 1, used: 1000}
				all[[2]string{c.name, peer.name}] = f
				t.Run(c.name+", "+peer.name, func(t *testing.T) {
					t.Parallel()
					for seed := range s.seeds {
						w := &world{trip: randomTrip(), seed: uint64(seed), callers: c.callers, length: s.length}
						f.add(run(t, peer, w, c.begin), c, s.length)
					}
				})
			}
		}
	})
	return all
}

func TestSimulationFairness(t *testing.T) {
	s := scaleFor(15)
	all := fairnessOf(t, s)
	var rows [][]string
	worst := 1.0
	for _, c := range contests() {
		for _, peer := range fairPeers(c.callers) {
			f := all[[2]string{c.name, peer.name}]
			rows = append(rows, []string{c.name, peer.name, fmt.Sprintf("%.4f", f.index), fmt.Sprintf("%.4f", f.first), fmt.Sprintf("%.1f", f.used)})
			if peer.name == tallyd().name {
				worst = min(worst, f.index)
			}
		}
	}
	if worst < 0.99 {
		t.Errorf("Jain's index was %.4f in some 10 minutes, want at least 0.99", worst)
	}
	late := newcomers(t, s, tallyd())
	queue := newcomers(t, s, queueing())
	if last := late[len(late)-1]; last > crowd+1 {
		t.Errorf("a newcomer waited for %v slots of %d others, want at most one more", last, crowd)
	}
	p := pageFor(t, s)
	p.fill(t, "fairness", s.about("Round trips of "+randomTrip().name)+
		table([]string{"contest", "candidate", "least index in any 10 min", "index in the first minute", "slots used of the rate, %"}, rows)+"\n"+
		goal(fmt.Sprintf("an index of at least 0.99 in any 10 minutes; the least is %.4f", worst), worst >= 0.99))
	p.fill(t, "newcomer", s.about("Waits of newcomers")+
		table([]string{"candidate", "newcomers", "others' slots before its first one: p50", "p99", "p100"}, [][]string{newcomerRow(tallyd(), late), newcomerRow(queueing(), queue)})+"\n"+
		goal(fmt.Sprintf("at most one slot after its turn, which is after %d others; the longest wait is %g slots", crowd, late[len(late)-1]), late[len(late)-1] <= crowd+1))
	p.plot(t, "fairness.svg", fairnessFigure(all))
}

// crowd is how many callers wait when a newcomer comes.
const crowd = 16

// newcomers returns, sorted, how many slots others got while a caller waited that had been silent for long.
func newcomers(t *testing.T, s scale, c candidate) []float64 {
	t.Helper()
	var waits []float64
	for seed := range s.seeds {
		w := &world{trip: randomTrip(), seed: uint64(seed), callers: people(crowd + 1), length: s.length}
		seen := before(run(t, c, w, func(ctx context.Context, w *world) {
			for i := range crowd {
				w.saturate(ctx, i, waiting)
			}
			w.arrive(ctx, crowd, 0.5, 0)
		}), s.length)
		last := time.Duration(0)
		for i, r := range seen {
			if r.caller != crowd {
				continue
			}
			if r.asked > last+span/10 {
				first, _ := slices.BinarySearchFunc(seen, r.asked, func(r request, at time.Duration) int { return cmp.Compare(r.sent, at) })
				waits = append(waits, float64(i-first))
			}
			last = r.sent
		}
	}
	slices.Sort(waits)
	return waits
}

func newcomerRow(c candidate, waits []float64) []string {
	row := []string{c.name, fmt.Sprint(len(waits))}
	for _, share := range []float64{0.5, 0.99, 1} {
		row = append(row, fmt.Sprintf("%.0f", percentile(waits, share)))
	}
	return row
}

// fairnessFigure shows what the callers of the greedy contest got in its first minutes.
func fairnessFigure(all map[[2]string]*fairness) figure {
	greedy := contests()[2]
	f := figure{title: "One of 16 callers asks for 10 times its share: what each got", legend: []key{
		{"the 15 others", blue, false}, {"the one that asks for more", orange, false}, {"an equal share", grey, true},
	}}
	for i, peer := range fairPeers(greedy.callers) {
		early := all[[2]string{greedy.name, peer.name}].early
		p := panel{title: peer.name, x: axis{label: "time, min", high: 10, ticks: evenly(0, 10, 2)}, y: axis{high: 400, room: 24, ticks: evenly(0, 400, 100)}}
		if i == 0 {
			p.y.label = "requests since the beginning"
		}
		for caller := range greedy.callers {
			l := line{points: cumulative(early, caller), color: blue}
			if caller >= greedy.judged {
				l.color, l.wide = orange, true
			}
			p.lines = append(p.lines, l)
		}
		p.lines = append(p.lines, line{points: []point{{0, 0}, {10, 10 * perMinute / float64(len(greedy.callers))}}, color: grey, dashed: true})
		f.panels = append(f.panels, p)
	}
	return f
}

// cumulative returns the steps of a caller's count over the minutes.
func cumulative(early []request, caller int) []point {
	points := []point{{}}
	for _, r := range early {
		if last := points[len(points)-1]; r.caller == caller {
			points = append(points, point{r.sent.Minutes(), last.y}, point{r.sent.Minutes(), last.y + 1})
		}
	}
	return append(points, point{span.Minutes(), points[len(points)-1].y})
}
