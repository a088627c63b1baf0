package simulation

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// warmUp is what the use of the ceiling leaves out: in its first minute tallyd knows nothing of the minute before.
const warmUp = 2 * minute

func people(n int) []quota.Caller {
	callers := make([]quota.Caller, n)
	for i := range callers {
		callers[i] = quota.Caller{Name: fmt.Sprint("caller ", i+1), Weight: 1}
	}
	return callers
}

// demand is what the callers of a run do.
type demand struct {
	name  string
	begin func(context.Context, *world)
}

// saturating keeps calls of every caller waiting.
func saturating() demand {
	return demand{"backlog", func(ctx context.Context, w *world) {
		for i := range w.callers {
			w.saturate(ctx, i, 160/len(w.callers))
		}
	}}
}

// bursting is silence and bunches of up to 100 calls in turn, of two callers.
func bursting() demand {
	return demand{"bursts", func(ctx context.Context, w *world) {
		for i := range 2 {
			w.burst(ctx, i)
		}
	}}
}

// used is what runs of one kind came to.
type used struct {
	requests int
	sent     float64 // of them, those that count for the use
	ceiling  float64 // and how many could have been
	refused  map[string]int
}

// percent is how much of the ceiling was used.
func (u *used) percent() float64 { return 100 * u.sent / u.ceiling }

// add adds a run.
func (u *used) add(seen []request, length time.Duration, seed int) {
	sent, trips := 0, time.Duration(0)
	arrivals := make([]time.Duration, 0, len(seen))
	for _, r := range seen {
		if r.refused {
			continue
		}
		// No clock of an upstream is finer.
		arrivals = append(arrivals, r.arrival().Round(time.Microsecond))
		if r.sent >= warmUp {
			sent++
			trips += r.answered - r.sent
		}
	}
	u.requests += len(arrivals)
	u.sent += float64(sent)
	u.ceiling += perMinute * float64(length-warmUp) / float64(minute+trips/time.Duration(max(sent, 1)))
	for name, count := range refusals(arrivals, time.Duration(seed)*minute/phases/20) {
		u.refused[name] += count
	}
}

// lane is one candidate under one demand with one kind of round trip.
type lane struct{ candidate, demand, trip string }

// useOf makes the runs of every lane, those of a lane one after the other, lanes side by side.
func useOf(t *testing.T, s scale, candidates []candidate) map[lane]*used {
	t.Helper()
	all := map[lane]*used{}
	t.Run("runs", func(t *testing.T) {
		for _, c := range candidates {
			for _, d := range []demand{saturating(), bursting()} {
				for _, tr := range trips() {
					l := lane{c.name, d.name, tr.name}
					u := &used{refused: map[string]int{}}
					all[l] = u
					t.Run(fmt.Sprint(l), func(t *testing.T) {
						t.Parallel()
						for seed := range s.seeds {
							w := &world{trip: tr, seed: uint64(seed), callers: people(8), length: s.length}
							u.add(run(t, c, w, d.begin), s.length, seed)
						}
					})
				}
			}
		}
	})
	return all
}

func TestSimulationUse(t *testing.T) {
	s := scaleFor(60) // a short one is by chance just below the goal now and then
	candidates := []candidate{tallyd(), bucketOfMany(), bucketOfOne(), ticking(), counting(), queueing()}
	all := useOf(t, s, candidates)
	least := 1000.0
	for l, u := range all {
		if u.requests == 0 {
			t.Errorf("%v: no request was sent", l)
		}
		if l.candidate != tallyd().name {
			continue
		}
		if l.demand == saturating().name {
			least = min(least, u.percent())
		}
		for name, count := range u.refused {
			if count > 0 {
				t.Errorf("%v: %s answered 429 %d times, want none", l, name, count)
			}
		}
	}
	if least < 99.5 {
		t.Errorf("tallyd used %.2f %% of the ceiling, want 99.5 %%", least)
	}
	p := pageFor(t, s)
	p.fill(t, "use", s.about("Backlog of 8 callers with 20 calls each")+useTable(candidates, all)+"\n"+
		goal(fmt.Sprintf("at least 99.5 %% of the ceiling; the least is %.2f %%", least), least >= 99.5))
	p.fill(t, "refused", s.about("Sums over all round trips")+refusedTable(candidates, all)+"\n"+goal("no 429", !t.Failed()))
	p.plot(t, "use.svg", useFigure(candidates, all))
}

func useTable(candidates []candidate, all map[lane]*used) string {
	heads := []string{"use of the ceiling, %"}
	for _, tr := range trips() {
		heads = append(heads, tr.name)
	}
	var rows [][]string
	for _, c := range candidates {
		row := []string{c.name}
		for _, tr := range trips() {
			row = append(row, fmt.Sprintf("%.2f", all[lane{c.name, saturating().name, tr.name}].percent()))
		}
		rows = append(rows, row)
	}
	return table(heads, rows)
}

// refusedOf sums up what a limiter refused over all round trips, and how many requests there were.
func refusedOf(all map[lane]*used, candidate, demand, limiter string) (refused, requests int) {
	for _, tr := range trips() {
		u := all[lane{candidate, demand, tr.name}]
		refused, requests = refused+u.refused[limiter], requests+u.requests
	}
	return refused, requests
}

func refusedTable(candidates []candidate, all map[lane]*used) string {
	heads := append([]string{"429s", "demand", "requests"}, limiterNames()...)
	var rows [][]string
	for _, d := range []demand{saturating(), bursting()} {
		for _, c := range candidates {
			row := []string{c.name, d.name, ""}
			for _, name := range limiterNames() {
				refused, requests := refusedOf(all, c.name, d.name, name)
				row[2] = strconv.Itoa(requests)
				row = append(row, strconv.Itoa(refused))
			}
			rows = append(rows, row)
		}
	}
	return table(heads, rows)
}

// useFigure shows the use with random round trips, and how many of 10,000 requests the strictest limiter refuses.
func useFigure(candidates []candidate, all map[lane]*used) figure {
	names := axis{high: float64(len(candidates)), room: 190}
	use := panel{title: "Use of the ceiling, backlog", x: axis{label: "% of what never breaks the rate", low: 96, high: 102, ticks: evenly(96, 102, 1)}}
	out := panel{title: "429s from the strictest limiter", x: axis{label: "429s per 10,000 requests", high: 2500, ticks: evenly(0, 2500, 500)}}
	for i, c := range candidates {
		y := float64(len(candidates)-i) - 0.5
		names.ticks = append(names.ticks, tick{y, c.name})
		percent := all[lane{c.name, saturating().name, randomTrip().name}].percent()
		use.boxes = append(use.boxes, box{96, percent, y - 0.3, y + 0.3, blue})
		use.notes = append(use.notes, note{point{percent, y}, fmt.Sprintf("%.2f", percent)})
		out = out.withRefused(all, c.name, saturating(), y, blue)
		out = out.withRefused(all, c.name, bursting(), y-0.3, orange)
	}
	use.y = names
	out.y = axis{high: names.high}
	return figure{
		"Use of the ceiling, and requests that an upstream refuses; round trips of 20 ms to 1.5 s",
		[]panel{use, out},
		[]key{{"backlog of 8 callers", blue, false}, {"bursts with silence between them", orange, false}},
	}
}

// withRefused adds a bar for what the strictest limiter refuses, from y up.
func (p panel) withRefused(all map[lane]*used, candidate string, d demand, y float64, color string) panel {
	worst := 0.0
	for _, name := range limiterNames() {
		refused, requests := refusedOf(all, candidate, d.name, name)
		worst = max(worst, 10000*float64(refused)/float64(max(requests, 1)))
	}
	p.boxes = append(p.boxes, box{0, worst, y, y + 0.3, color})
	p.notes = append(p.notes, note{point{worst, y + 0.15}, fmt.Sprintf("%.1f", worst)})
	return p
}
