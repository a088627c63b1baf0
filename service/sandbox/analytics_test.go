package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestMetrics(t *testing.T) {
	b := start(t)
	a := b.do("GET /forms/Feedbk/analytics/metrics?period=all").want(200).wantAt("#", 9)
	for path, want := range map[string]any{
		"visits": 1462.0, "submissions": 1200.0, "starts": 1200.0, "completions": 1050.0, "completionRate": 87.5, "totalViews": 2924.0,
	} {
		a.wantAt(path, want)
	}
	drop := b.do("GET /forms/Feedbk/analytics/drop-off?period=all").want(200)
	if drop.at("stats.completionRate") == a.at("completionRate") {
		t.Errorf("both completion rates are %v, want them to differ", a.at("completionRate"))
	}
	b.do("GET /forms/Untitl/analytics/metrics?period=all").want(200).wantAt("completionRate", 0.0).wantAt("visits", 0.0)
}

func TestPeriods(t *testing.T) {
	clock := newWatch()
	clock.wind(7*time.Hour - 4*24*time.Hour)
	b := start(t, WithClock(clock.read))
	count := func(period string) float64 {
		return b.do("GET /forms/NewsLt/analytics/metrics?period=" + period).want(200).at("submissions").(float64)
	}
	var last float64
	for _, period := range []string{"today", "24h", "7d", "30d", "3m", "6m", "12m", "all"} {
		got := count(period)
		if got < last || got == 0 {
			t.Errorf("submissions in %s = %v after %v, want more, not none", period, got, last)
		}
		last = got
	}
	if got := count("yesterday"); got == 0 || got > count("7d") {
		t.Errorf("submissions yesterday = %v, want some of those of 7d", got)
	}
	if last != 1500 {
		t.Errorf("submissions in all = %v, want 1500", last)
	}
}

func TestPeriodBounds(t *testing.T) {
	now := time.Date(2026, 3, 31, 15, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ period, wantFrom, wantTo string }{
		{"today", "2026-03-31T00:00:00Z", "2026-03-31T15:00:00Z"},
		{"yesterday", "2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"},
		{"24h", "2026-03-30T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"7d", "2026-03-24T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"30d", "2026-03-01T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"3m", "2025-12-31T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"6m", "2025-10-01T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"12m", "2025-03-31T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"all", "0001-01-01T00:00:00Z", "2026-03-31T15:00:00Z"},
	} {
		t.Run(tc.period, func(t *testing.T) {
			from, to := periodBounds(tc.period, now)
			if got := from.Format(time.RFC3339); got != tc.wantFrom {
				t.Errorf("from = %s, want %s", got, tc.wantFrom)
			}
			if got := to.Format(time.RFC3339); got != tc.wantTo {
				t.Errorf("to = %s, want %s", got, tc.wantTo)
			}
		})
	}
}

func TestBuckets(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		path, key string
		want      float64
	}{{"submissions", "totalSubmissions", 260}, {"visits", "totalVisits", 0}} {
		t.Run(tc.path, func(t *testing.T) {
			b := b.in(t)
			days := b.do("GET /forms/Holidy/analytics/" + tc.path + "?period=all").want(200).at("data").(map[string]any)
			sum := 0.0
			for day, counts := range days {
				if _, err := time.Parse(time.DateOnly, day); err != nil {
					t.Errorf("bucket %q, want a day", day)
				}
				sum += walk(t, counts, tc.key).(float64)
			}
			if tc.want > 0 && sum != tc.want || sum < 260 {
				t.Errorf("sum of %s = %v, want %v", tc.key, sum, tc.want)
			}
		})
	}
}

func TestDimensions(t *testing.T) {
	a := start(t).do("GET /forms/Contct/analytics/dimensions?period=all").want(200).wantAt("#", 6)
	for _, dimension := range []string{"source", "browser", "os", "device", "country", "city"} {
		sum := 0.0
		for _, n := range a.at(dimension).(map[string]any) {
			sum += n.(float64)
		}
		if sum != 640 {
			t.Errorf("%s sums to %v, want 640", dimension, sum)
		}
	}
}

func TestDropOff(t *testing.T) {
	b := start(t)
	a := b.do("GET /forms/QuizMe/analytics/drop-off?period=all").want(200).wantAt("#", 4).wantAt("hasConditionalLogic", true)
	a.wantAt("stats.formStarts", 260.0).wantAt("stats.formCompletes", 220.0).wantAt("stats.#", 6).
		wantAt("dataAvailableSince", "2026-03-01T11:00:00.000Z").wantAt("data.#", 5).wantAt("data.0.#", 10).
		wantAt("data.0.type", "MULTIPLE_CHOICE").wantAt("data.0.drops", 0.0).wantAt("data.0.isRequired", true).wantAt("data.3.title", nil)
	questions := b.do("GET /forms/QuizMe/questions").want(200)
	for i := range 5 {
		a.wantAt(fmt.Sprintf("data.%d.answers", i), questions.at(fmt.Sprintf("questions.%d.numberOfResponses", i)))
	}
	b.do("GET /forms/Contct/analytics/drop-off?period=all").want(200).wantAt("hasConditionalLogic", false)
}

func TestAnalyticsAccess(t *testing.T) {
	b := start(t)
	for view := range strings.FieldsSeq("metrics visits submissions dimensions drop-off") {
		for form, want := range map[string]int{"Choirs": 403, "nobody": 404, "OldOne": 404} {
			b.do("GET /forms/" + form + "/analytics/" + view + "?period=all").want(want)
		}
		b.do("GET /forms/Contct/analytics/"+view).want(400).wantAt("message", `"period" is required`)
	}
}
