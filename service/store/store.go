package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnavailable says that the store cannot be used now. It recovers by itself.
var ErrUnavailable = errors.New("the store cannot be used now")

// ErrFull is an ErrUnavailable for want of room on the disk.
var ErrFull = fmt.Errorf("%w: its disk is full", ErrUnavailable)

// Config is what a Store needs.
type Config struct {
	// Dir holds the files of a server inside this process. It is used when URL is empty.
	Dir string
	// URL is where the servers of a cluster are, as NATS writes it: several with commas in between.
	URL string
	// Credentials is a file that says who this is to the cluster, as NATS writes it; empty where the URL does or nobody asks.
	Credentials string
	// Authorities is a file with those that sign the cluster's certificates, in PEM; empty for those of the system.
	Authorities string
	// Changed is told when the store can be used no longer, with the reason, and with nil when it can again; it must be quick.
	// May be nil.
	Changed func(error)
	// Log gets what operators should see. May be nil.
	Log *slog.Logger
}

const (
	// streamName and bucketName are what a cluster that others use too knows this log and these records by.
	streamName = "TALLYD_EVENTS"
	bucketName = "TALLYD_RECORDS"
	// recordStream is what holds the records.
	recordStream = "KV_" + bucketName
	// format is the version of what lies in the stream and in the records.
	format    = "1"
	formatKey = "tallyd-format"
	// prefix begins every subject.
	prefix = "tallyd."

	// apiTimeout bounds one request to the engine.
	apiTimeout = 5 * time.Second
	// startTimeout bounds the start of a server inside this process: reading a large log takes a while.
	startTimeout = time.Minute
)

// Store is a log and records. It is safe for concurrent use.
type Store struct {
	config Config

	mu     sync.RWMutex
	engine *engine
	down   error // why there is no engine
	short  bool  // the disk is full, and the reserve is spent
	// identity tells this log of a cluster from another one.
	identity string

	lock    *os.File      // keeps other processes out of the directory
	opened  chan struct{} // closed when the first attempt to open the engine is over
	wrong   error         // what became of that; after opened
	broken  chan error    // asks for the engine to be opened anew
	stop    context.CancelFunc
	running sync.WaitGroup
}

// engine is what is open: a connection, and the server at its other end where that is in this process.
type engine struct {
	server  *embedded // nil for a cluster elsewhere
	conn    *nats.Conn
	js      jetstream.JetStream
	stream  jetstream.Stream
	records jetstream.KeyValue
	// What leader and keeper say of stream and records is up to date. Of a cluster any other server answers too.
	leader, keeper jetstream.Stream
}

// Open opens the store, or makes one. It returns an error that says what is wrong with the directory or the address; later failures
// make operations return ErrUnavailable until the store works again.
func Open(ctx context.Context, config Config) (*Store, error) {
	s, err := Begin(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := s.Opened(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Begin is Open that waits for nothing: a large log takes a while to be opened, and who needs none of it should not wait. Operations wait
// meanwhile, and Opened tells of what Open would have. It returns an error where the directory cannot be used.
func Begin(ctx context.Context, config Config) (*Store, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Changed == nil {
		config.Changed = func(error) {}
	}
	s := &Store{config: config, broken: make(chan error, 1), opened: make(chan struct{}), down: fmt.Errorf("%w: it is being opened", ErrUnavailable)}
	if !s.clustered() {
		var err error
		if s.lock, err = lockDir(config.Dir); err != nil {
			return nil, err
		}
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.begin(ctx) })
	return s, nil
}

// Opened waits until the store is open, and returns what is wrong if it cannot be; or the error of ctx.
func (s *Store) Opened(ctx context.Context) error {
	select {
	case <-s.opened:
		return s.wrong
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the store. Operations under way fail.
func (s *Store) Close() {
	s.stop()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		s.engine.close()
	}
	s.engine, s.down = nil, fmt.Errorf("%w: it is closed", ErrUnavailable)
	if s.lock != nil {
		_ = s.lock.Close()
		s.lock = nil
	}
}

// Err returns why the store cannot be used, or nil.
func (s *Store) Err() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.down == nil && s.short {
		return ErrFull
	}
	return s.down
}

// Identity tells the files of this log from a copy of them, as far as they are in this process's directory. A copy may be older than what
// readers have seen of the log.
func (s *Store) Identity() string {
	if !s.clustered() {
		return identity(s.config.Dir)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.identity
}

// identify notes which log of a cluster this is: the group of servers that hold it has a name that no other one has had.
func (s *Store) identify(stream jetstream.Stream) {
	info := stream.CachedInfo()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = info.Created.UTC().Format(time.RFC3339Nano)
	if info.Cluster != nil {
		s.identity += " " + info.Cluster.RaftGroup
	}
}

// clustered tells whether servers elsewhere hold what is stored.
func (s *Store) clustered() bool { return s.config.URL != "" }

// current returns the open engine, for which it waits at first.
func (s *Store) current(ctx context.Context) (*engine, error) {
	select {
	case <-s.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine == nil {
		return nil, s.down
	}
	return s.engine, nil
}

// open opens an engine with its stream and its records.
func (s *Store) open(ctx context.Context) (_ *engine, err error) {
	e := &engine{}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if s.config.URL == "" {
		if e.server, err = startEmbedded(s.config.Dir, s.config.Log); err != nil {
			return nil, err
		}
		e.conn, err = e.server.connect()
	} else {
		e.conn, err = s.connect(e)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if e.js, err = jetstream.New(e.conn, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
		return nil, err
	}
	if err = e.prepare(ctx); err == nil && s.clustered() {
		s.identify(e.leader)
	}
	return e, err
}

func (e *engine) close() {
	if e.conn != nil {
		e.conn.Close()
	}
	if e.server != nil {
		e.server.close()
	}
}

// fail judges an error of the engine. What only a new start mends is asked for.
func (s *Store) fail(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, ErrUnavailable):
		return err
	case ctx.Err() != nil:
		return ctx.Err() // the caller's own time is up, which says nothing of the engine
	case isCapped(err), errors.Is(err, nats.ErrMaxPayload):
		return unavailable(err) // which no new start mends, and what makes room needs the engine
	}
	err = unavailable(err)
	select {
	case s.broken <- err:
	default:
	}
	return err
}

// unavailable is an error of the engine as this package's.
func unavailable(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isFull tells a full disk from other failures: the engine passes on the words of the operating system.
func isFull(err error) bool {
	return strings.Contains(err.Error(), syscall.ENOSPC.Error()) || code(err) == insufficientResources || isCapped(err)
}

// isCapped tells that an operator's limit on the stream is reached. The engine has one code for all that it cannot store.
func isCapped(err error) bool {
	return code(err) == notStored && strings.Contains(err.Error(), "exceeded")
}
