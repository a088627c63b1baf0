package store

import (
	"context"
	"log/slog"
	"time"
)

const (
	// firstPause and longestPause are between attempts to open an engine that failed.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// roomPause is between attempts to make the reserve again.
	roomPause = time.Second
)

// begin opens the engine for the first time, and then supervises it. What is wrong from the start is not tried again: somebody set it up
// so.
func (s *Store) begin(ctx context.Context) {
	e, err := s.open(ctx)
	if err != nil && isFull(err) && s.spend() {
		e, err = s.open(ctx)
	}
	if err == nil {
		s.restore()
	}
	s.mu.Lock()
	if err == nil {
		s.engine, s.down = e, nil
	} else {
		s.down = unavailable(err)
	}
	s.mu.Unlock()
	s.wrong = err
	close(s.opened)
	if err == nil {
		s.config.Changed(s.Room())
		s.supervise(ctx)
	}
}

// supervise opens the engine anew whenever it fails, until ctx ends. After a failed write an engine takes no other: what its files hold
// behind the last one that was acknowledged is uncertain, and only reading them anew tells.
func (s *Store) supervise(ctx context.Context) {
	for {
		why := s.wait(ctx)
		if ctx.Err() != nil {
			return
		}
		s.take(nil, why)
		s.config.Log.Error("the log of events is closed", slog.String("error", why.Error()))
		s.config.Changed(why)
		if !s.reopen(ctx) {
			return
		}
		s.restore()
		s.config.Log.Info("the log of events is open again")
		s.config.Changed(s.Room())
	}
}

// wait returns why the engine must be opened anew. Meanwhile it makes the reserve again as soon as there is room.
func (s *Store) wait(ctx context.Context) error {
	var failed <-chan error
	if e, err := s.current(ctx); err == nil && e.server != nil {
		failed = e.server.log.failed
	}
	for {
		var again <-chan time.Time
		if s.Room() != nil {
			again = time.After(roomPause)
		}
		select {
		case err := <-failed:
			return unavailable(err)
		case err := <-s.broken:
			return err
		case <-again:
			if s.restore(); s.Room() == nil {
				s.config.Log.Info("the disk of the log of events has room again")
				s.config.Changed(nil)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take puts an engine in the place of the one before, which it closes.
func (s *Store) take(e *engine, why error) {
	s.mu.Lock()
	old := s.engine
	s.engine, s.down = e, why
	s.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// reopen tries until it has an engine, or ctx ends. A new engine has to take a write first: one whose disk is still full would only fail
// the next caller.
func (s *Store) reopen(ctx context.Context) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		err := s.renew()
		var e *engine
		if err == nil {
			e, err = s.open(ctx)
		}
		if err == nil {
			if err = e.probe(ctx); err == nil || isCapped(err) {
				s.drain()
				s.take(e, nil)
				return true
			}
			e.close()
		}
		if isFull(err) && s.spend() {
			pause = firstPause
		}
		err = s.redact(err)
		s.config.Log.Warn("the log of events cannot be opened", slog.String("error", err.Error()))
		s.mu.Lock()
		s.down = unavailable(err)
		s.mu.Unlock()
	}
}

// renew writes anew what a failed write may have left half on the disk.
func (s *Store) renew() error {
	if s.config.URL != "" {
		return nil
	}
	return renew(s.config.Dir)
}

// drain forgets failures of the engine before.
func (s *Store) drain() {
	for len(s.broken) > 0 {
		<-s.broken //nolint:errcheck // of an engine that is gone
	}
}

// probeSize is the size of a write that tells whether there is room: more than an engine may have in reserve.
const probeSize = 64 << 10

// probe writes and takes back a message.
func (e *engine) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	ack, err := e.js.Publish(ctx, prefix+"probe", make([]byte, probeSize))
	if err != nil {
		return err
	}
	return e.stream.DeleteMsg(ctx, ack.Sequence)
}
