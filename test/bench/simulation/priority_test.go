package simulation

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// The callers of a run with two priorities.
const (
	person = iota
	backfill
)

func twoPriorities() []quota.Caller {
	return []quota.Caller{{Name: "person", Weight: 1}, {Name: "backfill", Weight: 1, Batch: true}}
}

// mixed is people's calls at random times and a back-fill that always wants more.
func mixed(aMinute float64) demand {
	return demand{fmt.Sprintf("%g a minute", aMinute), func(ctx context.Context, w *world) {
		w.saturate(ctx, backfill, 60)
		w.arrive(ctx, person, aMinute, 0)
	}}
}

func loads() []float64 { return []float64{10, 50, 80} }

// waits are those of people's calls, in slots.
type waits struct {
	all   []float64
	first []float64 // of those that found none of their kind waiting
}

// unit returns the time from one slot to the next when they are even, with the mean round trip.
func unit(seen []request) time.Duration {
	sum, sent := time.Duration(0), 0
	for _, r := range seen {
		if !r.refused {
			sum, sent = sum+r.answered-r.sent, sent+1
		}
	}
	return (minute + sum/time.Duration(max(sent, 1))) / perMinute
}

func (w *waits) add(seen []request) {
	one := float64(unit(seen))
	byAsking := slices.Clone(seen)
	slices.SortFunc(byAsking, func(a, b request) int { return cmp.Compare(a.asked, b.asked) })
	busy := time.Duration(-1)
	for _, r := range byAsking {
		if r.caller != person || r.refused {
			continue
		}
		if r.asked >= warmUp {
			wait := float64(r.waited()) / one
			w.all = append(w.all, wait)
			if r.asked > busy {
				w.first = append(w.first, wait)
			}
		}
		busy = max(busy, r.sent)
	}
}

// crowded is a back-fill among people whose calls always wait.
func crowded() demand {
	return demand{"people's calls always wait", func(ctx context.Context, w *world) {
		w.saturate(ctx, backfill, 20)
		w.saturate(ctx, person, 150)
	}}
}

// flooded is a back-fill among people who come in bunches.
func flooded() demand {
	return demand{"people come in bunches of up to 100 calls", func(ctx context.Context, w *world) {
		w.saturate(ctx, backfill, 20)
		w.burst(ctx, person)
	}}
}

// pauses are the times between slots of the back-fill, in slots.
type pauses []float64

func (p *pauses) add(seen []request) {
	one := float64(unit(seen))
	var sent []time.Duration
	for _, r := range seen {
		if r.caller == backfill && !r.refused {
			sent = append(sent, r.sent)
		}
	}
	slices.Sort(sent)
	for i := range len(sent) - 1 {
		*p = append(*p, float64(sent[i+1]-sent[i])/one)
	}
}

// tripKind is round trips that are looked at together, and who is compared.
type tripKind struct {
	name  string
	trips []trip
	peers []func(trip) candidate
}

func tripKinds() []tripKind {
	ours, queue := func(trip) candidate { return tallyd() }, func(trip) candidate { return queueing() }
	best := func(tr trip) candidate { return even(tr.of(rand.New(rand.NewPCG(1, 1)))) }
	return []tripKind{
		{"constant", trips()[:len(trips())-1], []func(trip) candidate{ours, best, queue}},
		{"random", []trip{randomTrip()}, []func(trip) candidate{ours, queue}},
	}
}

// race is what became of one kind of demand with one kind of round trip and one candidate.
type race struct {
	demand, trips, peer string

	waits  waits
	pauses pauses
}

// races makes the runs of each demand, those of a race one after the other, races side by side.
func races(t *testing.T, s scale, demands []demand) []*race {
	t.Helper()
	var all []*race
	t.Run("runs", func(t *testing.T) {
		for _, d := range demands {
			for _, kind := range tripKinds() {
				for _, peer := range kind.peers {
					r := &race{demand: d.name, trips: kind.name, peer: peer(kind.trips[0]).name}
					all = append(all, r)
					t.Run(fmt.Sprint(r.demand, ", ", r.trips, ", ", r.peer), func(t *testing.T) {
						t.Parallel()
						r.run(t, s, d, kind, peer)
					})
				}
			}
		}
	})
	return all
}

func (r *race) run(t *testing.T, s scale, d demand, kind tripKind, peer func(trip) candidate) {
	t.Helper()
	for _, tr := range kind.trips {
		for seed := range s.seeds {
			w := &world{trip: tr, seed: uint64(seed), callers: twoPriorities(), length: s.length}
			seen := run(t, peer(tr), w, d.begin)
			r.waits.add(seen)
			r.pauses.add(seen)
		}
	}
	slices.Sort(r.waits.all)
	slices.Sort(r.waits.first)
	slices.Sort(r.pauses)
}

// cells returns the count and the usual percentiles as cells of a table.
func cells(sorted []float64) []string {
	if len(sorted) == 0 {
		return []string{"0", "–", "–", "–"}
	}
	row := []string{fmt.Sprint(len(sorted))}
	for _, share := range []float64{0.5, 0.99, 1} {
		row = append(row, fmt.Sprintf("%.2f", percentile(sorted, share)))
	}
	return row
}

func TestSimulationPriority(t *testing.T) {
	s := scaleFor(10)
	// Fewer hours are enough for a percentile, and more do not fit into memory.
	s.length = max(s.length/4, 10*minute)
	var people []demand
	for _, load := range loads() {
		people = append(people, mixed(load))
	}
	waited, paused := races(t, s, people), races(t, s, []demand{crowded(), flooded()})
	p := pageFor(t, s)
	p.fill(t, "priority", s.about("For each round trip")+waitTable(waited)+"\n"+judgeWaits(t, waited))
	p.fill(t, "batch", s.about("For each round trip")+pauseTable(paused)+"\n"+judgePauses(t, paused))
	p.plot(t, "waits.svg", waitFigure(waited))
}

func waitTable(races []*race) string {
	heads := []string{"people's calls", "round trips", "candidate", "calls", "p50", "p99", "p100", "found nobody of their kind waiting", "p50", "p99", "p100"}
	var rows [][]string
	for _, r := range races {
		rows = append(rows, slices.Concat([]string{r.demand, r.trips, r.peer}, cells(r.waits.all), cells(r.waits.first)))
	}
	return table(heads, rows)
}

func pauseTable(races []*race) string {
	heads := []string{"demand", "round trips", "candidate", "slots of the back-fill", "from one to the next: p50", "p99", "p100"}
	var rows [][]string
	for _, r := range races {
		rows = append(rows, append([]string{r.demand, r.trips, r.peer}, cells(r.pauses)...))
	}
	return table(heads, rows)
}

// judgeWaits compares tallyd with its goal, one slot, for calls that need not wait for their own kind.
func judgeWaits(t *testing.T, races []*race) string {
	t.Helper()
	// The rest of the slot that is under way, and the part that the back-fill has whoever waits; and slots are not always even.
	const most = 3
	text := ""
	for _, r := range races {
		if r.peer != tallyd().name || r.trips != "constant" {
			continue
		}
		longest := percentile(r.waits.first, 1)
		text += goal(fmt.Sprintf("at most one slot for a call that finds nobody of its kind waiting, constant round trips, %s: %.2f", r.demand, longest), longest <= 1)
		if len(r.waits.first) == 0 || longest > most {
			t.Errorf("%s: the longest of %d waits was %.2f slots, want at most %d", r.demand, len(r.waits.first), longest, most)
		}
	}
	return text
}

// judgePauses compares tallyd with its promise that the back-fill gets about a tenth.
func judgePauses(t *testing.T, races []*race) string {
	t.Helper()
	text := ""
	for _, r := range races {
		if r.peer != tallyd().name {
			continue
		}
		longest := percentile(r.pauses, 1)
		text += goal(fmt.Sprintf("about each tenth slot for the back-fill, %s round trips, %s: %.1f slots at most from one to the next", r.trips, r.demand, longest), longest <= batchPart*1.5)
		if len(r.pauses) == 0 || longest > batchPart*1.5 {
			t.Errorf("%s, %s: the longest of %d pauses of the back-fill was %.2f slots, want about %d", r.demand, r.trips, len(r.pauses), longest, batchPart)
		}
	}
	return text
}

// waitFigure shows for each load which part of people's calls waited for so long at most.
func waitFigure(races []*race) figure {
	colors := map[string]string{tallyd().name: blue, even(0).name: ink, queueing().name: orange}
	f := figure{title: "Waits of people's calls beside a back-fill that always wants more; constant round trips"}
	for _, peer := range tripKinds()[0].peers {
		name := peer(always(0)).name
		f.legend = append(f.legend, key{name, colors[name], name == even(0).name})
	}
	for i, load := range loads() {
		p := panel{
			title: fmt.Sprintf("%g calls a minute", load),
			x:     axis{label: "wait, slots (60 s + round trip)/100", low: -1, high: 3, ticks: []tick{{-1, "0.1"}, {0, "1"}, {1, "10"}, {2, "100"}, {3, "1000"}}},
			y:     axis{high: 100, room: 24, ticks: evenly(0, 100, 25)},
		}
		if i == 0 {
			p.y.label = "calls that waited no longer, %"
		}
		for _, r := range races {
			if r.demand == mixed(load).name && r.trips == "constant" {
				p.lines = append(p.lines, line{points: distribution(r.waits.all), color: colors[r.peer], dashed: r.peer == even(0).name, wide: r.peer == tallyd().name})
			}
		}
		f.panels = append(f.panels, p)
	}
	return f
}

// distribution returns for each per mille of the sorted waits its logarithm.
func distribution(sorted []float64) []point {
	var points []point
	for i := range 1001 {
		share := float64(i) / 1000
		points = append(points, point{math.Log10(max(percentile(sorted, share), 0.01)), 100 * share})
	}
	return points
}
