package simulation

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/quota"
)

// jain returns Jain's index of fairness: 1 when all have the same, 1/n when one has everything; 1 for nothing at all.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// change is a request that comes into a window at its end, or leaves it at its beginning.
type change struct {
	at     time.Duration
	caller int
	count  float64
}

// worstWindow returns the least index of requests by weight that any window of such a length within the run gives to the first
// callers, those that are handed in.
func worstWindow(seen []request, callers []quota.Caller, window, length time.Duration) float64 {
	var changes []change
	for _, r := range seen {
		if !r.refused && r.caller < len(callers) {
			part := 1 / float64(callers[r.caller].Weight)
			changes = append(changes, change{r.sent, r.caller, part}, change{r.sent + window, r.caller, -part})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	shares, worst := make([]float64, len(callers)), math.Inf(1)
	for i, c := range changes {
		if c.at > length {
			break
		}
		// How it was since the change before this one.
		if c.at >= window && c.at != changes[max(i-1, 0)].at {
			worst = min(worst, jain(shares))
		}
		shares[c.caller] += c.count
	}
	return min(worst, jain(shares))
}

// percentile returns the value that so great a share of the sorted values does not pass.
func percentile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(share*float64(len(sorted))))-1, 0)]
}

func TestJain(t *testing.T) {
	tests := []struct {
		name   string
		shares []float64
		want   float64
	}{
		{"equal", []float64{3, 3, 3}, 1},
		{"one has all", []float64{0, 5, 0, 0}, 0.25},
		{"nothing", []float64{0, 0}, 1},
		{"uneven", []float64{1, 3}, 0.8},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := jain(test.shares); math.Abs(got-test.want) > 1e-12 {
				t.Errorf("jain(%v) = %v, want %v", test.shares, got, test.want)
			}
		})
	}
}

func TestWorstWindow(t *testing.T) {
	at := func(caller int, seconds ...int) (seen []request) {
		for _, s := range seconds {
			seen = append(seen, request{caller: caller, sent: time.Duration(s) * time.Second})
		}
		return seen
	}
	even := append(at(0, 0, 2, 4, 6, 8, 10), at(1, 1, 3, 5, 7, 9)...)
	heavy := append(at(0, 1, 4, 7), at(1, 2, 3, 5, 6, 8, 9)...)
	tests := []struct {
		name    string
		seen    []request
		weights []int
		want    float64
	}{
		{"in turn", even, []int{1, 1}, 1},
		{"by weight", heavy, []int{1, 2}, 0.9},
		{"one rests for a window in the middle", append(at(0, 0, 1, 2, 8, 9, 10), at(1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)...), []int{1, 1}, 0.5},
		{"both rest at the end", append(at(0, 0, 2, 4), at(1, 1, 3)...), []int{1, 1}, 0.5},
		{"others do not count", append(even, at(2, 1, 1, 1, 1, 1, 1, 1)...), []int{1, 1}, 1},
		{"refused calls do not count", append(even, request{caller: 0, sent: time.Second, refused: true}), []int{1, 1}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			callers := people(len(test.weights))
			for i, weight := range test.weights {
				callers[i].Weight = weight
			}
			if got := worstWindow(test.seen, callers, 4*time.Second, 10*time.Second); math.Abs(got-test.want) > 1e-12 {
				t.Errorf("worstWindow() = %v, want %v", got, test.want)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	tests := []struct {
		name   string
		sorted []float64
		share  float64
		want   float64
	}{
		{"none", nil, 0.5, 0},
		{"half", []float64{1, 2, 3, 4}, 0.5, 2},
		{"nearly all", []float64{1, 2, 3, 4}, 0.99, 4},
		{"all", []float64{1, 2, 3, 4}, 1, 4},
		{"the least", []float64{1, 2}, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.sorted, test.share); got != test.want {
				t.Errorf("percentile(%v, %v) = %v, want %v", test.sorted, test.share, got, test.want)
			}
		})
	}
}
