package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// idsOf reads all pages of a list call, whose path ends in ? or &.
func (b *bench) idsOf(path string) []string {
	b.t.Helper()
	var ids []string
	for page := 1; page < 100; page++ {
		a := b.do(fmt.Sprintf("GET %spage=%d", path, page)).want(200)
		for _, sub := range a.at("submissions").([]any) {
			ids = append(ids, walk(b.t, sub, "id").(string))
		}
		if a.at("hasMore") == false {
			return ids
		}
	}
	b.t.Fatalf("%s never ends", path)
	return nil
}

func TestListSubmissions(t *testing.T) {
	b := start(t, WithRate(0))
	a := b.do("GET /forms/Feedbk/submissions").want(200)
	for path, want := range map[string]any{
		"page": 1.0, "limit": 50.0, "hasMore": true, "submissions.#": 50, "questions.#": 9, "#": 6, "total": nil,
		"totalNumberOfSubmissionsPerFilter.all": 1200.0, "totalNumberOfSubmissionsPerFilter.completed": 1050.0,
		"totalNumberOfSubmissionsPerFilter.partial": 150.0,
	} {
		a.wantAt(path, want)
	}
	for _, tc := range []struct {
		name, query string
		wantItems   int
		wantMore    bool
	}{
		{"largest page", "limit=500", 500, true},
		{"last page", "limit=500&page=3", 200, false},
		{"past the end", "limit=500&page=4", 0, false},
		{"one", "limit=1&page=1200", 1, false},
		{"completed", "filter=completed&limit=500&page=3", 50, false},
		{"partial", "filter=partial&limit=500", 150, false},
		{"all by name", "filter=all&limit=500", 500, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do("GET /forms/Feedbk/submissions?" + tc.query).want(200)
			a.wantAt("submissions.#", tc.wantItems).wantAt("hasMore", tc.wantMore).wantAt("questions.#", 9)
			a.wantAt("totalNumberOfSubmissionsPerFilter.all", 1200.0)
			a.wantAt("totalNumberOfSubmissionsPerFilter.completed", 1050.0)
		})
	}
}

func TestNewestFirst(t *testing.T) {
	b := start(t, WithRate(0))
	var last string
	for page := 1; page <= 3; page++ {
		a := b.do(fmt.Sprintf("GET /forms/Feedbk/submissions?limit=500&page=%d", page)).want(200)
		for _, sub := range a.at("submissions").([]any) {
			at := walk(t, sub, "submittedAt").(string)
			if last != "" && at > last {
				t.Fatalf("submittedAt = %s after %s, want newest first", at, last)
			}
			last = at
		}
	}
}

func TestPagesAreWhole(t *testing.T) {
	b := start(t, WithRate(0))
	whole := b.idsOf("/forms/Feedbk/submissions?limit=500&")
	if got := b.idsOf("/forms/Feedbk/submissions?limit=77&"); !slices.Equal(got, whole) {
		t.Errorf("pages of 77 hold %d ids, want the same %d in the same order", len(got), len(whole))
	}
	slices.Sort(whole)
	if got := len(slices.Compact(whole)); got != 1200 {
		t.Errorf("distinct ids = %d, want 1200", got)
	}
}

func TestAfterID(t *testing.T) {
	b := start(t, WithRate(0))
	ids := b.idsOf("/forms/Wrkshp/submissions?limit=500&")
	for _, tc := range []struct {
		name, after, more string
		want              []string
	}{
		{"the newest", ids[0], "", nil},
		{"the one before", ids[1], "", ids[:1]},
		{"the tenth", ids[9], "", ids[:9]},
		{"the oldest", ids[len(ids)-1], "", ids[:len(ids)-1]},
		{"pages of it", ids[9], "limit=4&", ids[:9]},
		{"unknown", "nobody", "", nil},
		{"of another form", "Feedbk", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			got := b.idsOf("/forms/Wrkshp/submissions?" + tc.more + "afterId=" + tc.after + "&")
			if !slices.Equal(got, tc.want) {
				t.Errorf("afterId=%s = %v, want %v", tc.after, got, tc.want)
			}
		})
	}
	b.do("DELETE /forms/Wrkshp/submissions/" + ids[9]).want(204)
	if got := b.idsOf("/forms/Wrkshp/submissions?afterId=" + ids[9] + "&"); got != nil {
		t.Errorf("afterId of a deleted one = %v, want nothing", got)
	}
}

func TestDates(t *testing.T) {
	b := start(t, WithRate(0))
	whole := b.do("GET /forms/Repair/submissions?limit=500").want(200)
	at := func(i int) string { return whole.at(fmt.Sprintf("submissions.%d.submittedAt", i)).(string) }
	for _, tc := range []struct {
		name, query string
		want        int
	}{
		{"from one on, inclusive", "startDate=" + at(9), 10},
		{"up to one, inclusive", "endDate=" + at(9), 141},
		{"just one", "startDate=" + at(9) + "&endDate=" + at(9), 1},
		{"empty span", "startDate=" + at(3) + "&endDate=" + at(9), 0},
		{"plain dates", "startDate=2020-01-01&endDate=2030-01-01", 150},
		{"plain end is its midnight", "endDate=" + at(149)[:10], 0},
		{"with an offset", "startDate=2026-08-28T20:00:00%2B02:00", 0},
		{"without a zone", "endDate=2020-01-01T00:00:00", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			b.do("GET /forms/Repair/submissions?limit=500&"+tc.query).want(200).wantAt("submissions.#", tc.want)
		})
	}
}

func TestOneSubmission(t *testing.T) {
	b := start(t)
	listed := b.do("GET /forms/Contct/submissions?limit=1").want(200)
	id := listed.at("submissions.0.id").(string)
	a := b.do("GET /forms/Contct/submissions/" + id).want(200)
	if got, want := fmt.Sprint(a.at("submission")), fmt.Sprint(listed.at("submissions.0")); got != want {
		t.Errorf("GET submission = %s, want as listed %s", got, want)
	}
	a.wantAt("#", 2).wantAt("questions.#", 6).wantAt("submission.formId", "Contct").wantAt("submission.isCompleted", true)
	b.do("GET /forms/Contct/submissions/nobody").want(404).wantAt("message", "Submission was not found")
	b.do("GET /forms/Feedbk/submissions/" + id).want(404)
}

func TestResponseKeys(t *testing.T) {
	a := start(t).do("GET /forms/Contct/submissions?limit=1").want(200)
	sub := a.at("submissions.0")
	for _, key := range []string{"id", "formId", "respondentId", "isCompleted", "submittedAt", "createdAt", "updatedAt", "previewUrl", "pdfUrl", "responses"} {
		if walk(t, sub, key) == nil {
			t.Errorf("submission has no %q", key)
		}
	}
	r := walk(t, sub, "responses.0")
	for _, key := range []string{"id", "formId", "questionId", "respondentId", "submissionId", "sessionUuid", "createdAt", "updatedAt", "answer"} {
		if walk(t, r, key) == nil {
			t.Errorf("response has no %q", key)
		}
	}
	a.wantAt("submissions.0.responses.0.submissionId", walk(t, sub, "id")).
		wantAt("submissions.0.responses.0.respondentId", walk(t, sub, "respondentId")).
		wantAt("submissions.0.responses.0.questionId", a.at("questions.0.id"))
	if strings.Contains(a.body, "formattedAnswer") {
		t.Errorf("body = %s, want no formattedAnswer on text", a.body)
	}
	for _, key := range []string{"previewUrl", "pdfUrl"} {
		url := walk(t, sub, key).(string)
		if !strings.Contains(url, "accessToken=eyJ") || !strings.Contains(url, "signature=") {
			t.Errorf("%s = %s, want a token and a signature", key, url)
		}
	}
}

func TestPartialSubmissionsStopEarly(t *testing.T) {
	a := start(t).do("GET /forms/Feedbk/submissions?filter=partial&limit=500").want(200)
	short := 0
	for _, sub := range a.at("submissions").([]any) {
		if walk(t, sub, "isCompleted") != false {
			t.Fatalf("filter=partial shows a completed submission")
		}
		if walk(t, sub, "responses.#").(int) < 4 {
			short++
		}
	}
	if short == 0 {
		t.Errorf("no partial submission has fewer than 4 answers, want some")
	}
}

func TestDeleteSubmission(t *testing.T) {
	b := start(t)
	list := b.do("GET /forms/Feedbk/submissions?filter=partial&limit=2").want(200)
	id := list.at("submissions.0.id").(string)
	b.do("DELETE /forms/Feedbk/submissions/" + id).want(204).wantBody("")
	b.do("GET /forms/Feedbk/submissions/" + id).want(404)
	b.do("DELETE /forms/Feedbk/submissions/" + id).want(404)
	after := b.do("GET /forms/Feedbk/submissions?filter=partial&limit=1").want(200)
	after.wantAt("submissions.0.id", list.at("submissions.1.id")).
		wantAt("totalNumberOfSubmissionsPerFilter.all", 1199.0).
		wantAt("totalNumberOfSubmissionsPerFilter.partial", 149.0).
		wantAt("totalNumberOfSubmissionsPerFilter.completed", 1050.0)
	hidden := list.at("questions.0.numberOfResponses").(float64)
	after.wantAt("questions.0.numberOfResponses", hidden-1)
	b.do("GET /forms?workspaceIds=wsCust").want(200)
}

// Two sandboxes must show the same seeded data, or no document could quote it.
func TestSeededSubmissionsAreFixed(t *testing.T) {
	early := start(t, WithClock(func() time.Time { return time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC) }))
	late := start(t, WithClock(func() time.Time { return time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC) }))
	for _, form := range []string{"Feedbk", "Whsale", "JobApp", "QuizMe", "Raffle"} {
		call := "GET /forms/" + form + "/submissions?limit=20"
		if a, b := early.do(call).want(200), late.do(call).want(200); a.body != b.body {
			t.Errorf("%s differs between two sandboxes", call)
		}
	}
}

func TestSubmissionsOfTheOtherKey(t *testing.T) {
	b := start(t).as("tly-sandbox-other")
	b.do("GET /forms/Choirs/submissions").want(200).wantAt("submissions.#", 12)
	b.do("GET /forms/Feedbk/submissions").want(403)
}
