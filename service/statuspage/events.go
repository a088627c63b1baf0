package statuspage

import "time"

// Events is how things are with the log of events.
type Events struct {
	// Failure is why the log cannot be used; empty while it can.
	Failure string
	// Forms are those with a log.
	Forms []FormEvents
}

// FormEvents is how things are with the log of a form.
type FormEvents struct {
	// Form is the form's id.
	Form string
	// Sequence is the number of the last event, Last when it came, and Lag how long after it happened; zero for none.
	Sequence uint64
	Last     time.Time
	Lag      time.Duration
	// Watchers is how many watch it, Gaps how many ranges of its events are known to be lost.
	Watchers, Gaps int
	// Webhook is "ok", "none", or what is wrong with it.
	Webhook string
	// Compared is when the log was last compared with Tally's list; Failure is why not since then, or empty.
	Compared time.Time
	Failure  string
}

// Behind is the lag as the page writes it.
func (f FormEvents) Behind() string {
	if f.Last.IsZero() {
		return "–"
	}
	return f.Lag.Truncate(time.Second).String()
}
