package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Last returns the last message whose subject the filter matches; ok is false where there is none.
func (s *Store) Last(ctx context.Context, filter string) (m Message, ok bool, err error) {
	e, err := s.current(ctx)
	if err != nil {
		return m, false, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	raw, err := e.leader.GetLastMsgForSubject(limited, prefix+filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, false, nil
	}
	if err != nil {
		return m, false, s.fail(ctx, err)
	}
	return messageOf(raw), true, nil
}

// Everything is a filter that matches all messages, which the engine reads fastest.
const Everything = ">"

// Query says which messages to read.
type Query struct {
	// Filter matches their subjects.
	Filter string
	// From is the first position that counts; Since, when set, the earliest time instead.
	From  uint64
	Since time.Time
	// Most is how many to read at most; 0 for as many as one answer holds.
	Most int
}

const (
	// pendingHeader says of a message how many there are behind it.
	pendingHeader = "Nats-Num-Pending"
	// readMost and readBytes bound one answer of the engine.
	readMost  = 256
	readBytes = 1 << 20
	// lagTries bounds how often servers of a cluster are asked again that are behind the one that leads them, and lagPause is in between.
	lagTries = 300
	lagPause = 10 * time.Millisecond
)

// Read returns the next messages in order, and whether there are more behind them. Messages that the engine finds damaged are left out.
func (s *Store) Read(ctx context.Context, q Query) (messages []Message, more bool, err error) {
	for try := 0; ; try++ {
		if messages, more, err = s.read(ctx, q); err != nil || more {
			return messages, more, err
		}
		left, err := s.left(ctx, q, messages)
		if err != nil || !left || len(messages) > 0 {
			return messages, left, err
		}
		if !s.mayCome(ctx, try) {
			return nil, false, fmt.Errorf("%w: messages from %d on cannot be read", ErrUnavailable, q.From)
		}
	}
}

// left tells whether there are messages behind those that were read, where none seem to be. The engine answers "none" where it cannot read
// its file as well, and any server of a cluster may answer, also one that is yet to get them.
func (s *Store) left(ctx context.Context, q Query, messages []Message) (bool, error) {
	if !s.clustered() && (len(messages) > 0 || !q.Since.IsZero()) {
		return false, nil
	}
	last, found, err := s.Last(ctx, q.Filter)
	switch {
	case err != nil || !found:
		return false, err
	case len(messages) > 0:
		return last.Position > messages[len(messages)-1].Position, nil
	case q.Since.IsZero():
		return last.Position >= q.From, nil
	default:
		return !last.Time.Before(q.Since), nil
	}
}

// mayCome tells whether to read again what could not be read: what is appended between two questions looks as if it could not. A server of
// a cluster that is behind is given time.
func (s *Store) mayCome(ctx context.Context, try int) bool {
	if !s.clustered() {
		return try == 0
	}
	select {
	case <-time.After(lagPause):
		return try < lagTries
	case <-ctx.Done():
		return false
	}
}

func (s *Store) read(ctx context.Context, q Query) (messages []Message, more bool, err error) {
	e, err := s.current(ctx)
	if err != nil {
		return nil, false, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	answers, err := jetstreamext.GetBatch(limited, e.js, streamName, q.most(), q.options()...)
	if err != nil {
		return nil, false, s.fail(ctx, err)
	}
	for raw, err := range answers {
		if errors.Is(err, jetstreamext.ErrNoMessages) || s.clustered() && errors.Is(err, nats.ErrNoResponders) {
			return nil, false, nil // of a stream just made not every server has heard
		}
		if err != nil {
			return nil, false, s.fail(ctx, err)
		}
		messages = append(messages, messageOf(raw))
		left, err := strconv.Atoi(raw.Header.Get(pendingHeader))
		more = err != nil || left > 0
	}
	return messages, more, nil
}

func (q Query) options() []jetstreamext.GetBatchOpt {
	options := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSubject(q.subject()), jetstreamext.GetBatchMaxBytes(readBytes)}
	if q.Since.IsZero() {
		return append(options, jetstreamext.GetBatchSeq(max(q.From, 1)))
	}
	return append(options, jetstreamext.GetBatchStartTime(q.Since))
}

// subject is the filter as the engine takes it. Everything is its own word for that, with which it need not count what a filter matches:
// of a hundred thousand subjects that takes longer than reading.
func (q Query) subject() string {
	if q.Filter == Everything {
		return q.Filter
	}
	return prefix + q.Filter
}

func (q Query) most() int {
	if q.Most > 0 {
		return min(q.Most, readMost)
	}
	return readMost
}

func messageOf(raw *jetstream.RawStreamMsg) Message {
	return Message{Subject: strings.TrimPrefix(raw.Subject, prefix), Position: raw.Sequence, Time: raw.Time, Data: raw.Data}
}
