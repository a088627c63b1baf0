package simulation

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const (
	// flood is how many times the rate is asked for.
	flood = 10
	// patience is how long a caller waits for an answer.
	patience = 5 * time.Second
)

// overloaded is callers that together ask for ten times the rate and wait for some seconds.
func overloaded() demand {
	return demand{"overload", func(ctx context.Context, w *world) {
		for i := range w.callers {
			w.arrive(ctx, i, flood*perMinute/float64(len(w.callers)), patience)
		}
	}}
}

// goodput is what became of calls that cannot all be answered.
type goodput struct {
	asked, answered int
	ceiling         float64 // calls that could be answered
	refused, atOnce int
	slowest         time.Duration // to refuse
}

func (g *goodput) add(seen []request, length time.Duration) {
	trips, sent := time.Duration(0), 0
	for _, r := range seen {
		switch {
		case r.asked < warmUp:
			continue
		case r.refused:
			g.refused++
			if r.answered == r.asked {
				g.atOnce++
			}
			g.slowest = max(g.slowest, r.answered-r.asked)
		default:
			trips += r.answered - r.sent
			sent++
			if r.answered <= r.asked+patience {
				g.answered++
			}
		}
		g.asked++
	}
	g.ceiling += perMinute * float64(length-warmUp) / float64(minute+trips/time.Duration(max(sent, 1)))
}

// rush is one candidate with one kind of round trip.
type rush struct{ trip, peer string }

func overloadPeers() []candidate {
	return []candidate{tallyd(), bucketOfOne(), queueing(), queueingBlindly()}
}

func goodputOf(t *testing.T, s scale) map[rush]*goodput {
	t.Helper()
	all := map[rush]*goodput{}
	t.Run("runs", func(t *testing.T) {
		for _, tr := range trips() {
			for _, c := range overloadPeers() {
				g := &goodput{}
				all[rush{tr.name, c.name}] = g
				t.Run(tr.name+", "+c.name, func(t *testing.T) {
					t.Parallel()
					for seed := range s.seeds {
						w := &world{trip: tr, seed: uint64(seed), callers: people(10), length: s.length}
						g.add(run(t, c, w, overloaded().begin), s.length)
					}
				})
			}
		}
	})
	return all
}

func TestSimulationOverload(t *testing.T) {
	s := scaleFor(5)
	// Each virtual hour takes ten times as long as elsewhere, and a queue that is blind only grows.
	s.length = max(s.length/48, 5*minute)
	all := goodputOf(t, s)
	var rows [][]string
	for _, tr := range trips() {
		for _, c := range overloadPeers() {
			rows = append(rows, append([]string{tr.name, c.name}, all[rush{tr.name, c.name}].cells()...))
		}
	}
	heads := []string{"round trip", "candidate", "calls", "answered in time, % of what can be", "refused", "of them at once, %", "longest to a refusal"}
	p := pageFor(t, s)
	p.fill(t, "overload", s.about(fmt.Sprintf("%d calls a minute of 10 callers who wait for %v", flood*perMinute, patience))+table(heads, rows)+"\n"+judgeGoodput(t, all))
	p.plot(t, "overload.svg", overloadFigure(all))
}

func (g *goodput) percent() float64 { return 100 * float64(g.answered) / g.ceiling }

func (g *goodput) cells() []string {
	atOnce, slowest := "–", "–"
	if g.refused > 0 {
		atOnce, slowest = fmt.Sprintf("%.1f", 100*float64(g.atOnce)/float64(g.refused)), g.slowest.Round(time.Millisecond).String()
	}
	return []string{fmt.Sprint(g.asked), fmt.Sprintf("%.1f", g.percent()), fmt.Sprint(g.refused), atOnce, slowest}
}

// judgeGoodput compares tallyd with its goals.
func judgeGoodput(t *testing.T, all map[rush]*goodput) string {
	t.Helper()
	least, atOnce, slowest := 1000.0, 1000.0, time.Duration(0)
	for _, tr := range trips() {
		g := all[rush{tr.name, tallyd().name}]
		least = min(least, g.percent())
		atOnce = min(atOnce, 100*float64(g.atOnce)/float64(max(g.refused, 1)))
		slowest = max(slowest, g.slowest)
		if g.slowest > patience {
			t.Errorf("round trip %s: a refusal took %v, want none after the deadline", tr.name, g.slowest)
		}
		if g.percent() < 95 {
			t.Errorf("round trip %s: %.1f %% of the calls that can be answered were, want 95 %%", tr.name, g.percent())
		}
	}
	return goal(fmt.Sprintf("at least 95 %% of the calls that can be answered are; the least is %.1f %%", least), least >= 95) +
		goal(fmt.Sprintf("a refusal comes at once: %.1f %% did at least, the slowest after %v", atOnce, slowest), slowest == 0)
}

// overloadFigure shows the calls that were answered in time.
func overloadFigure(all map[rush]*goodput) figure {
	colors := []string{blue, purple, orange, grey}
	p := panel{
		x: axis{label: "round trip", high: float64(len(trips()))},
		y: axis{label: "answered in time, % of what can be", high: 110, room: 24, ticks: evenly(0, 100, 25)},
	}
	f := figure{title: fmt.Sprintf("%d calls a minute that wait for %v, against %d that Tally grants", flood*perMinute, patience, perMinute)}
	for i, tr := range trips() {
		p.x.ticks = append(p.x.ticks, tick{float64(i) + 0.5, tr.name})
		for j, c := range overloadPeers() {
			left, percent := float64(i)+0.1+0.2*float64(j), all[rush{tr.name, c.name}].percent()
			p.boxes = append(p.boxes, box{left, left + 0.18, 0, percent, colors[j]})
			p.notes = append(p.notes, note{point{left, percent + 2}, fmt.Sprintf("%.0f", percent)})
		}
	}
	for j, c := range overloadPeers() {
		f.legend = append(f.legend, key{c.name, colors[j], false})
	}
	f.panels = []panel{p}
	return f
}
