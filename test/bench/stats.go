// Package bench compares tallyd with what else could be done, side by side in one run. It asserts no time: its tests prove that the
// comparison is fair, and `make bench` makes it.
package bench

import (
	"math/rand/v2"
	"slices"
)

// resamples is how often a bootstrap draws: enough that the ends of the interval stand still to two digits.
const resamples = 4000

// estimate is the median of what the rounds gave, and the interval that holds 95 % of the medians of rounds drawn again from them.
type estimate struct{ mid, low, high float64 }

// overRounds returns the estimate of one value per round, the same for the same rounds; the zero estimate when there are none.
func overRounds(values []float64) estimate {
	if len(values) == 0 {
		return estimate{}
	}
	draw := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose, and it guards nothing
	medians, again := make([]float64, resamples), make([]float64, len(values))
	for i := range medians {
		for j := range again {
			again[j] = values[draw.IntN(len(values))]
		}
		medians[i] = median(again)
	}
	slices.Sort(medians)
	return estimate{mid: median(values), low: percentile(medians, 0.025), high: percentile(medians, 0.975)}
}

// median returns the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the value below which a share of the sorted values lies.
func percentile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// paired combines two candidates' values of the same rounds, round by round.
func paired(a, b []float64, combine func(a, b float64) float64) []float64 {
	combined := make([]float64, min(len(a), len(b)))
	for i := range combined {
		combined[i] = combine(a[i], b[i])
	}
	return combined
}

func ratio(a, b float64) float64 { return a / b }

func difference(a, b float64) float64 { return a - b }

// steady returns the indexes of the rounds whose control is within a share of the controls' median: in the others something else
// used the machine.
func steady(controls []float64, share float64) []int {
	middle := median(controls)
	var kept []int
	for i, control := range controls {
		if control >= middle*(1-share) && control <= middle*(1+share) {
			kept = append(kept, i)
		}
	}
	return kept
}
