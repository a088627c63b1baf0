package events

import (
	"sync"
	"time"
)

// Last is how far a form's log is, as a reader of this process has seen it.
type Last struct {
	// Sequence is the number of the last event, and Time when it came.
	Sequence uint64
	Time     time.Time
	// Lag is how long after it happened it came; 0 where nobody says when it happened.
	Lag time.Duration
	// Gaps is how many ranges of events are known to be lost.
	Gaps int
}

// lasts remembers the end of each log. It is safe for concurrent use.
type lasts struct {
	mu   sync.Mutex
	form map[string]Last
}

func (s *lasts) change(form string, change func(*Last)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.form == nil {
		s.form = map[string]Last{}
	}
	last := s.form[form]
	change(&last)
	s.form[form] = last
}

// see notes an entry that was read.
func (s *lasts) see(e Entry) {
	s.change(e.GetFormId(), func(l *Last) {
		if e.GetSequence() < l.Sequence {
			return
		}
		l.Sequence, l.Time, l.Lag = e.GetSequence(), e.GetReceiveTime().AsTime(), 0
		if at := e.GetEventTime(); at != nil {
			l.Lag = max(l.Time.Sub(at.AsTime()), 0)
		}
	})
}

// before returns the number of each log's last entry, where that came before a time.
func (s *lasts) before(at time.Time) map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := map[string]uint64{}
	for form, last := range s.form {
		if last.Time.Before(at) {
			ends[form] = last.Sequence
		}
	}
	return ends
}

// Last returns how far a form's log is.
func (l *Log) Last(form string) Last {
	l.lasts.mu.Lock()
	defer l.lasts.mu.Unlock()
	return l.lasts.form[form]
}
