package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// leftBehind is how long the engine keeps what a reader used that ended without a word.
	leftBehind = 30 * time.Second
	// usualSilence is that of the engine's library.
	usualSilence = 15 * time.Second
)

// Follow calls handle with each message from a position on whose subject the filter matches, and with those that are appended later,
// until ctx ends, handle fails or the engine does. It returns the reason. Behind a message with which handle failed it is not called again.
func (s *Store) Follow(ctx context.Context, filter string, from uint64, handle func(Message) error) error {
	e, err := s.current(ctx)
	if err != nil {
		return err
	}
	consumer, err := e.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{prefix + filter}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		InactiveThreshold: leftBehind,
	})
	if err != nil {
		return s.fail(ctx, err)
	}
	f := &follower{handle: handle, ended: make(chan error, 1)}
	reading, err := consumer.Consume(f.take, e.silence(), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, jetstream.ErrConsumerDeleted) {
			f.end(s.fail(ctx, err))
		}
	}))
	if err != nil {
		return s.fail(ctx, err)
	}
	defer e.stopReading(ctx, consumer, reading)
	select {
	case err := <-f.ended:
		return err
	case <-e.conn.StatusChanged(nats.CLOSED):
		return ErrUnavailable
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follower hands on what a consumer brings.
type follower struct {
	handle func(Message) error
	ended  chan error // the first reason

	failed bool // of the consumer's goroutine alone
}

// take hands on a message. The library goes on bringing those that it has until it hears that it should stop: what comes behind one that
// failed must wait until that one is read again.
func (f *follower) take(m jetstream.Msg) {
	if f.failed {
		return
	}
	meta, err := m.Metadata()
	if err == nil {
		err = f.handle(Message{
			Subject: strings.TrimPrefix(m.Subject(), prefix), Position: meta.Sequence.Stream, Time: meta.Timestamp, Data: m.Data(),
		})
	}
	if err != nil {
		f.failed = true
		f.end(err)
	}
}

func (f *follower) end(err error) {
	select {
	case f.ended <- err:
	default:
	}
}

// stopReading ends a consumer here and at the engine.
func (e *engine) stopReading(ctx context.Context, consumer jetstream.Consumer, reading jetstream.ConsumeContext) {
	reading.Stop()
	<-reading.Closed()
	if info := consumer.CachedInfo(); info != nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = e.stream.DeleteConsumer(limited, info.Name) // else it goes by itself
	}
}

// silence is how long a reader waits for a sign of life: the one server of a cluster that it reads from may die.
func (e *engine) silence() jetstream.PullConsumeOpt {
	if e.server == nil {
		return jetstream.PullHeartbeat(time.Second)
	}
	return jetstream.PullHeartbeat(usualSilence)
}
