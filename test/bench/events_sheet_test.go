package bench

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// sheet is what candidates gave in paired rounds, figure by figure.
type sheet struct {
	title      string
	candidates []string
	figures    []string
	wanted     int
	rounds     []entries
}

// entries is every candidate once, in random order, each before a look at the control.
type entries struct {
	control float64 // µs for an echo, the mean of the looks
	values  map[lane]float64
}

// put notes what a figure was.
type put func(figure string, value float64)

// fill makes rounds until enough of them are steady, or half as many again were made. turn measures one candidate once.
func (s *sheet) fill(t *testing.T, f *field, p pace, turn func(candidate string, note put) error) {
	t.Helper()
	s.wanted, f.patience = p.rounds, p.patience
	for 2*len(s.rounds) < 3*p.rounds && len(s.kept()) < p.rounds {
		e := entries{values: map[lane]float64{}}
		for _, i := range rand.Perm(len(s.candidates)) {
			name := s.candidates[i]
			used, err := f.undisturbed(f.patience, func() error {
				return turn(name, func(figure string, value float64) { e.values[lane{name, figure}] = value })
			})
			if err != nil {
				t.Fatalf("%s, %s: %v", s.title, name, err)
			}
			f.patience -= used
			control, err := f.control.mean(t.Context(), p.control)
			if err != nil {
				t.Fatal(err)
			}
			e.control += control / float64(len(s.candidates))
		}
		s.rounds = append(s.rounds, e)
	}
}

// kept returns the rounds in which nothing else used the machine.
func (s *sheet) kept() []entries {
	controls := make([]float64, len(s.rounds))
	for i, e := range s.rounds {
		controls[i] = e.control
	}
	var kept []entries
	for _, i := range steady(controls, tolerance) {
		kept = append(kept, s.rounds[i])
	}
	return kept
}

// values returns a figure of a candidate, round by round; none where it has no such figure.
func (s *sheet) values(candidate, figure string) []float64 {
	var values []float64
	for _, e := range s.kept() {
		if v, ok := e.values[lane{candidate, figure}]; ok {
			values = append(values, v)
		}
	}
	return values
}

// of is a figure over the rounds, and against is what it is beside another's, round by round.
func (s *sheet) of(candidate, figure string) estimate { return overRounds(s.values(candidate, figure)) }

func (s *sheet) against(candidate, figure, peer, itsFigure string, combine func(a, b float64) float64) estimate {
	return overRounds(paired(s.values(candidate, figure), s.values(peer, itsFigure), combine))
}

// wantAll fails when a candidate lacks a figure in a round, or has one that is not above zero.
func (s *sheet) wantAll(t *testing.T, candidate string, figures ...string) {
	t.Helper()
	for i, e := range s.rounds {
		for _, figure := range figures {
			if v, ok := e.values[lane{candidate, figure}]; !ok || v <= 0 {
				t.Errorf("%s, round %d, %s: %s = %v, want it measured", s.title, i, candidate, figure, v)
			}
		}
	}
}

// write writes the sheet as markdown: medians, goals, and every round, so that anybody can do the statistics again.
func (s *sheet) write(w io.Writer, goals []goal) {
	kept := s.kept()
	fmt.Fprintf(w, "\n# %s\n\n%s\n\n%d rounds kept of %d.\n", s.title, machine(), len(kept), len(s.rounds))
	if len(kept) < s.wanted {
		fmt.Fprintf(w, "\n**The machine was busy: %d steady rounds were wanted. Do not publish this.**\n", s.wanted)
	}
	s.writeMedians(w)
	writeGoals(w, goals)
	s.writeRounds(w)
}

func (s *sheet) writeMedians(w io.Writer) {
	fmt.Fprintf(w, "\n| candidate | %s |\n|---|%s\n", strings.Join(s.figures, " | "), strings.Repeat("---|", len(s.figures)))
	for _, name := range s.candidates {
		fmt.Fprintf(w, "| %s |", name)
		for _, figure := range s.figures {
			fmt.Fprintf(w, " %s |", interval(s.of(name, figure)))
		}
		fmt.Fprintln(w)
	}
}

// interval writes a median and where it may lie.
func interval(e estimate) string {
	switch {
	case e == (estimate{}):
		return "–"
	case e.low == e.high:
		return short(e.mid)
	default:
		return fmt.Sprintf("%s (%s to %s)", short(e.mid), short(e.low), short(e.high))
	}
}

func (s *sheet) writeRounds(w io.Writer) {
	fmt.Fprintf(w, "\n## Rounds: %s\n\n| echo µs | %s |\n|---|%s\n",
		strings.Join(s.figures, " / "), strings.Join(s.candidates, " | "), strings.Repeat("---|", len(s.candidates)))
	for _, e := range s.rounds {
		fmt.Fprintf(w, "| %.1f |", e.control)
		for _, name := range s.candidates {
			var cells []string
			for _, figure := range s.figures {
				cell := "–"
				if v, ok := e.values[lane{name, figure}]; ok {
					cell = short(v)
				}
				cells = append(cells, cell)
			}
			fmt.Fprintf(w, " %s |", strings.Join(cells, " / "))
		}
		fmt.Fprintln(w)
	}
}

// reportTo is where a report goes: nowhere where a tiny round proves only that it works.
func reportTo() io.Writer {
	if *rounds == 0 {
		return io.Discard
	}
	return os.Stdout
}

func ms(d time.Duration) float64 { return micros(d) / 1e3 }
