package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd, not sorted", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 9}, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := append([]float64(nil), test.values...)
			if got := median(test.values); got != test.want {
				t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
			}
			if diff := cmp.Diff(before, test.values); diff != "" {
				t.Errorf("median() changed its argument:\n%s", diff)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	tests := []struct {
		name   string
		sorted []float64
		share  float64
		want   float64
	}{
		{"none", nil, 0.5, 0},
		{"first", hundred, 0, 1},
		{"half", hundred, 0.5, 51},
		{"tail", hundred, 0.99, 100},
		{"all", hundred, 1, 100},
		{"tail of few", []float64{1, 2}, 0.99, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.sorted, test.share); got != test.want {
				t.Errorf("percentile(…, %v) = %v, want %v", test.share, got, test.want)
			}
		})
	}
}

// TestPaired holds that a machine that slows down for a whole round changes no ratio.
func TestPaired(t *testing.T) {
	a, b := []float64{10, 20, 30}, []float64{5, 10, 15}
	if diff := cmp.Diff([]float64{2, 2, 2}, paired(a, b, ratio)); diff != "" {
		t.Errorf("paired(ratio) differs, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]float64{5, 10, 15}, paired(a, b, difference)); diff != "" {
		t.Errorf("paired(difference) differs, -want +got:\n%s", diff)
	}
}

func TestOverRounds(t *testing.T) {
	if got := overRounds(nil); got != (estimate{}) {
		t.Errorf("overRounds(nil) = %v, want nothing", got)
	}
	if got, want := overRounds([]float64{7, 7, 7}), (estimate{7, 7, 7}); got != want {
		t.Errorf("overRounds(all the same) = %v, want %v", got, want)
	}
	values := make([]float64, 41)
	for i := range values {
		values[i] = float64(i)
	}
	got := overRounds(values)
	// The median of 41 values spread evenly over this range has a standard error of 41 / (2 * sqrt(41)), about 3.
	if got.mid != 20 || got.low < 10 || got.low > 17 || got.high < 23 || got.high > 30 {
		t.Errorf("overRounds(0 to 40) = %v, want 20 within about 14 to 26", got)
	}
	if again := overRounds(values); again != got {
		t.Errorf("overRounds() = %v the second time, want %v", again, got)
	}
}

func TestSteady(t *testing.T) {
	tests := []struct {
		name     string
		controls []float64
		want     []int
	}{
		{"none", nil, nil},
		{"all", []float64{10, 11, 9}, []int{0, 1, 2}},
		{"one disturbed", []float64{10, 12, 10, 10}, []int{0, 2, 3}},
		{"one suspiciously quick", []float64{10, 8, 10, 10}, []int{0, 2, 3}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, steady(test.controls, 0.15)); diff != "" {
				t.Errorf("steady(%v) differs, -want +got:\n%s", test.controls, diff)
			}
		})
	}
}
