package sandbox

import (
	"time"
)

// Visits are invented from submissions: for every four completed ones a
// visitor came and left. Nobody published the arithmetic; what is kept is
// that the two completion rates differ. [behaviour analytics-figures]

type metricsView struct {
	Visits             int     `json:"visits"`
	VisitDuration      int     `json:"visitDuration"`
	Submissions        int     `json:"submissions"`
	UniqueRespondents  int     `json:"uniqueRespondents"`
	TotalViews         int     `json:"totalViews"`
	Starts             int     `json:"starts"`
	Completions        int     `json:"completions"`
	CompletionDuration int     `json:"completionDuration"`
	CompletionRate     float64 `json:"completionRate"`
}

type tallied struct {
	form             *form
	list             []*submission
	completed, total int
}

func (t tallied) visits() int { return t.total + t.completed/4 }

// inPeriod counts back from now. [behaviour analytics-period]
func (s *Sandbox) inPeriod(c *call) (tallied, *reply) {
	f, refusal := s.formOf(c)
	if refusal != nil {
		return tallied{}, refusal
	}
	from, to := periodBounds(c.query.Get("period"), c.now)
	t := tallied{form: f}
	for _, sub := range f.submissions {
		if sub.at.Before(from) || !sub.at.Before(to) {
			continue
		}
		t.list = append(t.list, sub)
		t.total++
		if sub.completed {
			t.completed++
		}
	}
	return t, nil
}

func periodBounds(period string, now time.Time) (from, to time.Time) {
	today := now.Truncate(24 * time.Hour)
	to = now.Add(time.Nanosecond)
	switch period {
	case "today":
		return today, to
	case "yesterday":
		return today.AddDate(0, 0, -1), today
	case "24h":
		return now.Add(-24 * time.Hour), to
	case "7d":
		return now.AddDate(0, 0, -7), to
	case "30d":
		return now.AddDate(0, 0, -30), to
	case "3m":
		return now.AddDate(0, -3, 0), to
	case "6m":
		return now.AddDate(0, -6, 0), to
	case "12m":
		return now.AddDate(-1, 0, 0), to
	}
	return time.Time{}, to
}

func percent(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(part*1000/of) / 10
}

func metrics(s *Sandbox, c *call) *reply {
	t, refusal := s.inPeriod(c)
	if refusal != nil {
		return refusal
	}
	respondents := map[string]bool{}
	for _, sub := range t.list {
		respondents[sub.respondent()] = true
	}
	return ok(metricsView{
		Visits: t.visits(), VisitDuration: 95, Submissions: t.total, UniqueRespondents: len(respondents),
		TotalViews: t.visits() * 2, Starts: t.total, Completions: t.completed, CompletionDuration: 74,
		CompletionRate: percent(t.completed, t.total),
	})
}

// buckets are days. [behaviour analytics-buckets]
func (t tallied) buckets(weight func(*submission) int, name string) *reply {
	days := map[string]map[string]int{}
	for _, sub := range t.list {
		day := sub.at.UTC().Format(time.DateOnly)
		if days[day] == nil {
			days[day] = map[string]int{}
		}
		days[day][name] += weight(sub)
	}
	return ok(map[string]any{"data": days})
}

func visits(s *Sandbox, c *call) *reply {
	t, refusal := s.inPeriod(c)
	if refusal != nil {
		return refusal
	}
	return t.buckets(func(sub *submission) int { return 1 + int(sub.seed%4/3) }, "totalVisits")
}

func submissionCounts(s *Sandbox, c *call) *reply {
	t, refusal := s.inPeriod(c)
	if refusal != nil {
		return refusal
	}
	return t.buckets(func(*submission) int { return 1 }, "totalSubmissions")
}

func dimensions(s *Sandbox, c *call) *reply {
	t, refusal := s.inPeriod(c)
	if refusal != nil {
		return refusal
	}
	names := map[string][]string{
		"source":  {"Direct", "instagram.com", "saltmarsh.example.com"},
		"browser": {"Chrome", "Safari", "Firefox"},
		"os":      {"iOS", "Android", "Windows", "macOS"},
		"device":  {"mobile", "desktop", "tablet"},
		"country": countries,
		"city":    {"Ghent", "Antwerp", "Rotterdam", "Porto"},
	}
	counts := map[string]map[string]int{}
	for dimension, values := range names {
		counts[dimension] = map[string]int{}
		for _, sub := range t.list {
			counts[dimension][pick(mixed(sub.seed, hashText(dimension)), values)]++
		}
	}
	return ok(counts)
}

type dropOffView struct {
	Stats struct {
		TotalVisitors           int     `json:"totalVisitors"`
		FormStarts              int     `json:"formStarts"`
		FormCompletes           int     `json:"formCompletes"`
		CompletionRate          float64 `json:"completionRate"`
		CompletionTimeInSeconds int     `json:"completionTimeInSeconds"`
		VisitDurationInSeconds  int     `json:"visitDurationInSeconds"`
	} `json:"stats"`
	DataAvailableSince  stamp          `json:"dataAvailableSince"`
	Data                []dropOffEntry `json:"data"`
	HasConditionalLogic bool           `json:"hasConditionalLogic"`
}

type dropOffEntry struct {
	BlockGroupUUID string  `json:"blockGroupUuid"`
	Views          int     `json:"views"`
	StartedViews   int     `json:"startedViews"`
	Answers        int     `json:"answers"`
	Drops          int     `json:"drops"`
	Title          *string `json:"title"`
	Type           string  `json:"type"`
	AnswerRate     float64 `json:"answerRate"`
	DropRate       float64 `json:"dropRate"`
	IsRequired     bool    `json:"isRequired"`
}

func dropOff(s *Sandbox, c *call) *reply {
	t, refusal := s.inPeriod(c)
	if refusal != nil {
		return refusal
	}
	view := dropOffView{DataAvailableSince: stamp(t.form.createdAt), Data: []dropOffEntry{}}
	view.Stats.TotalVisitors, view.Stats.FormStarts, view.Stats.FormCompletes = t.visits(), t.total, t.completed
	// Of the visitors here, of the starts in metrics: the two were seen to differ.
	view.Stats.CompletionRate = percent(t.completed, t.visits())
	view.Stats.CompletionTimeInSeconds, view.Stats.VisitDurationInSeconds = 74, 95
	answered := t.answered()
	for i, q := range t.form.questions {
		entry := dropOffEntry{
			BlockGroupUUID: q.group, Title: q.title, Type: q.kind, IsRequired: q.required,
			Views: t.visits(), StartedViews: t.total, Answers: answered[q.id],
			AnswerRate: percent(answered[q.id], t.total),
		}
		if i > 0 {
			entry.Drops = max(0, answered[t.form.questions[i-1].id]-answered[q.id])
			entry.DropRate = percent(entry.Drops, t.total)
		}
		view.Data = append(view.Data, entry)
	}
	for _, b := range t.form.blocks {
		view.HasConditionalLogic = view.HasConditionalLogic || b.Type == "CONDITIONAL_LOGIC"
	}
	return ok(view)
}

func (t tallied) answered() map[string]int {
	counted := &form{counts: map[string]int{}}
	for _, sub := range t.list {
		counted.tally(sub, 1)
	}
	return counted.counts
}
