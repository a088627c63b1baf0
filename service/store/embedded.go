package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// embedded is a server in this process. No port leads to it.
type embedded struct {
	server *server.Server
	log    *engineLog
}

// lockDir makes the directory of a server inside this process, and keeps other processes out of it: two servers on the same files would
// write over each other's messages, and neither would notice.
func lockDir(dir string) (*os.File, error) {
	dir = filepath.Join(dir, "events")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return lock(dir)
}

// startEmbedded starts a server on the files below dir, each write of which is on the disk before it is acknowledged.
func startEmbedded(dir string, log *slog.Logger) (*embedded, error) {
	dir = filepath.Join(dir, "events")
	s, err := server.NewServer(&server.Options{
		ServerName: "tallyd", DontListen: true, NoSigs: true, NoSystemAccount: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		// The disk is the limit, and what it says is heard.
		JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: math.MaxInt64,
		// The largest delivery, and what goes with it.
		MaxPayload: 2 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("the engine of the log cannot start: %w", err)
	}
	e := &embedded{server: s, log: &engineLog{log: log, failed: make(chan error, 1)}}
	s.SetLogger(e.log, false, false)
	s.Start()
	if !s.ReadyForConnections(startTimeout) || !s.JetStreamEnabled() {
		e.close()
		return nil, e.log.reason(fmt.Errorf("the engine of the log does not start in %s", dir))
	}
	return e, nil
}

// connect returns a connection that is a pipe.
func (e *embedded) connect() (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(e.server), nats.Name("tallyd"), nats.MaxReconnects(0), nats.RetryOnFailedConnect(false))
}

func (e *embedded) close() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// engineLog takes what the server logs. A write that failed it tells nobody else: whoever waits for its acknowledgement waits in vain.
type engineLog struct {
	log    *slog.Logger
	failed chan error // the first write that failed
}

// Errorf notes an error.
func (l *engineLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("the engine of the log reports an error", slog.String("error", text))
	if strings.Contains(text, "write error") || strings.Contains(text, "failed to store") || strings.Contains(text, "disabling JetStream") {
		select {
		case l.failed <- errors.New(text):
		default:
		}
	}
}

// Fatalf notes why the server does not start.
func (l *engineLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

// Warnf passes a warning on.
func (l *engineLog) Warnf(format string, v ...any) {
	l.log.Warn("the engine of the log warns", slog.String("warning", fmt.Sprintf(format, v...)))
	if strings.Contains(format, "disabling JetStream") {
		l.Errorf(format, v...)
	}
}

// Noticef drops what is of no concern to operators of tallyd.
func (*engineLog) Noticef(string, ...any) {}

// Debugf drops it too.
func (*engineLog) Debugf(string, ...any) {}

// Tracef drops it too.
func (*engineLog) Tracef(string, ...any) {}

// reason returns what the server said went wrong, else otherwise.
func (l *engineLog) reason(otherwise error) error {
	select {
	case err := <-l.failed:
		return fmt.Errorf("%w: %w", otherwise, err)
	default:
		return otherwise
	}
}
