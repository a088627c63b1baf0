package store

import (
	"context"
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// ErrConflict says that somebody else appended first: the condition of a draft does not hold.
var ErrConflict = errors.New("somebody else appended first")

// ConflictError is an ErrConflict with what the engine says is the last position; 0 where it does not say, and State must be asked. After
// damage to its files the two may differ.
type ConflictError struct {
	Last uint64
}

// Error returns the words of ErrConflict.
func (*ConflictError) Error() string { return ErrConflict.Error() }

// Unwrap returns ErrConflict.
func (*ConflictError) Unwrap() error { return ErrConflict }

// Message is an entry of the log.
type Message struct {
	// Subject is what it is about.
	Subject string
	// Position is its place in the log, from 1. Positions rise, and some are skipped.
	Position uint64
	// Time is when it was appended.
	Time time.Time
	// Data is what it says.
	Data []byte
}

// Draft is a message to append.
type Draft struct {
	// Subject is what it is about.
	Subject string
	// Data is what it says.
	Data []byte
	// Behind, when not nil, is what must hold.
	Behind *Condition
}

// Condition says which message must be the last one whose subject Filter matches, or of the whole log where it is empty, which costs the
// engine least: the one at Position, 0 for none; or, where Draft is not 0, the draft of the same call that it counts, from 1.
type Condition struct {
	Filter   string
	Position uint64
	Draft    int
}

// The engine's codes that mean something here.
const (
	wrongLastSequence     jetstream.ErrorCode = 10071
	wrongLastInBatch      jetstream.ErrorCode = 10164
	insufficientResources jetstream.ErrorCode = 10023
	notStored             jetstream.ErrorCode = 10077
)

// batchFrom is the number of messages from which on an atomic batch, which costs as much as several single ones, is quicker.
const batchFrom = 8

// maxBatch is the number of messages that the engine takes at once.
const maxBatch = 1000

// Append appends drafts in order and returns the positions of those that are safely stored: all, or with an error the first few. The
// error is ErrConflict, ErrUnavailable or ErrFull.
func (s *Store) Append(ctx context.Context, drafts []Draft) ([]uint64, error) {
	if len(drafts) >= batchFrom && len(drafts) <= maxBatch {
		return s.AppendAll(ctx, drafts)
	}
	e, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var positions []uint64
	for _, d := range drafts {
		ack, err := e.js.PublishMsg(limited, d.message(positions), jetstream.WithRetryAttempts(0))
		if err != nil {
			return positions, s.appendError(ctx, err)
		}
		positions = append(positions, ack.Sequence)
	}
	return positions, nil
}

// AppendAll appends all drafts or none, and returns their positions. The error is ErrConflict, ErrUnavailable or ErrFull.
func (s *Store) AppendAll(ctx context.Context, drafts []Draft) ([]uint64, error) {
	e, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	messages := make([]*nats.Msg, len(drafts))
	for i, d := range drafts {
		messages[i] = d.message(nil)
	}
	ack, err := jetstreamext.PublishMsgBatch(limited, e.js, messages, jetstreamext.BatchFlowControl{})
	if err != nil {
		return nil, s.appendError(ctx, err)
	}
	positions := make([]uint64, len(drafts))
	for i := range positions {
		positions[i] = ack.Sequence - uint64(len(drafts)-1-i) //nolint:gosec // never below 0
	}
	return positions, nil
}

// message returns the draft as the engine takes it. positions are those of the drafts before it; nil for a batch, in which nobody can come
// between two.
func (d Draft) message(positions []uint64) *nats.Msg {
	m := &nats.Msg{Subject: prefix + d.Subject, Data: d.Data, Header: nats.Header{}}
	if d.Behind == nil {
		return m
	}
	position := d.Behind.Position
	if d.Behind.Draft > 0 && positions != nil {
		position = positions[d.Behind.Draft-1]
	}
	switch {
	case d.Behind.Draft != 0 && positions == nil:
	case d.Behind.Filter == "":
		m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(position, 10))
	default:
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(position, 10))
		m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, prefix+d.Behind.Filter)
	}
	return m
}

func (s *Store) appendError(ctx context.Context, err error) error {
	switch {
	case !isConflict(err):
		return s.fail(ctx, err)
	case s.clustered():
		return s.overtaken(ctx, lastOf(err))
	default:
		return &ConflictError{Last: lastOf(err)}
	}
}

func isConflict(err error) bool {
	return code(err) == wrongLastSequence || code(err) == wrongLastInBatch
}

// lastOf returns the position that the engine names in the words of a conflict.
func lastOf(err error) uint64 {
	failure, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return 0
	}
	_, number, _ := strings.Cut(failure.Description, "wrong last sequence: ")
	last, _ := strconv.ParseUint(number, 10, 64)
	return last
}

// code returns the engine's code of an error, or 0.
func code(err error) jetstream.ErrorCode {
	if failure, ok := errors.AsType[*jetstream.APIError](err); ok {
		return failure.ErrorCode
	}
	if failure, ok := errors.AsType[jetstream.JetStreamError](err); ok && failure.APIError() != nil {
		return failure.APIError().ErrorCode
	}
	return 0
}

// Subjects returns the subjects that the filter matches.
func (s *Store) Subjects(ctx context.Context, filter string) ([]string, error) {
	e, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	info, err := e.stream.Info(limited, jetstream.WithSubjectFilter(prefix+filter))
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		subjects = append(subjects, strings.TrimPrefix(subject, prefix))
	}
	return subjects, nil
}

// noMessage is in what the engine says of a message that is not there, where its library passes on the words alone: the first is for one
// within the log, the second for one before it.
var noMessage = regexp.MustCompile(`sequence \d+ not found|no message found`)

// Erase takes a message away and overwrites what its file holds of it. One that is not there is no error.
func (s *Store) Erase(ctx context.Context, position uint64) error {
	e, err := s.current(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err = e.stream.SecureDeleteMsg(limited, position)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) && noMessage.MatchString(err.Error()) {
		return nil
	}
	return s.fail(ctx, err)
}

// Purge takes away all messages before a position whose subject the filter matches.
func (s *Store) Purge(ctx context.Context, filter string, before uint64) error {
	e, err := s.current(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	return s.fail(ctx, e.stream.Purge(limited, jetstream.WithPurgeSubject(prefix+filter), jetstream.WithPurgeSequence(before)))
}

// State is how large the log is.
type State struct {
	// First and Last are the positions of its first and its last message; Last is 0 for a log that never had one.
	First, Last uint64
	// Bytes is what it takes on the disk.
	Bytes uint64
}

// State returns how large the log is.
func (s *Store) State(ctx context.Context) (State, error) {
	e, err := s.current(ctx)
	if err != nil {
		return State{}, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	info, err := e.stream.Info(limited)
	if err != nil {
		return State{}, s.fail(ctx, err)
	}
	return State{First: info.State.FirstSeq, Last: info.State.LastSeq, Bytes: min(info.State.Bytes, math.MaxInt64)}, nil
}
