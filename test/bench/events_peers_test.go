package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// waiting is a record that waits to be safe.
type waiting struct {
	body []byte
	done chan error
}

// appendFile makes records safe in a file that grows.
type appendFile struct {
	*os.File

	mu    sync.Mutex
	queue chan waiting
}

func (a *appendFile) save(bytes []byte) error {
	if _, err := a.Write(bytes); err != nil {
		return err
	}
	return a.Sync()
}

// alone makes one record safe by itself.
func (a *appendFile) alone(r record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.save(r.body)
}

// share makes what waits safe together until nothing more comes.
func (a *appendFile) share() {
	for first := range a.queue {
		group, bytes := []waiting{first}, slices.Clip(first.body)
		for len(a.queue) > 0 {
			next := <-a.queue
			group, bytes = append(group, next), append(bytes, next.body...)
		}
		err := a.save(bytes)
		for _, w := range group {
			w.done <- err
		}
	}
}

// openFile is a file with an fsync for each record, or for all that wait.
func openFile(dir string, writers int, shared bool) (*sink, error) {
	file, err := os.Create(filepath.Join(dir, "records"))
	if err != nil {
		return nil, err
	}
	a := &appendFile{File: file, queue: make(chan waiting, writers)}
	var sharing sync.WaitGroup
	sharing.Go(a.share)
	s := &sink{writers: make([]writer, writers)}
	for i := range s.writers {
		done := make(chan error, 1)
		s.writers[i] = func(r record) error {
			if !shared {
				return a.alone(r)
			}
			a.queue <- waiting{r.body, done}
			return <-done
		}
	}
	s.count = func() (int, error) {
		info, err := file.Stat()
		if err != nil {
			return 0, err
		}
		return int(info.Size() / recordBytes), nil
	}
	s.close = func() {
		close(a.queue)
		sharing.Wait()
		_ = file.Close()
	}
	return s, nil
}

// replied is where the handler that only replies says how many deliveries it has answered.
const replied = "/replied"

// serveReply is the floor of everything that speaks HTTP.
func serveReply(listener net.Listener) error {
	var count atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks/{form}", func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil && n == recordBytes {
			count.Add(1)
		}
	})
	mux.HandleFunc("GET "+replied, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, count.Load()) })
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

func (s *intake) openReply(t *testing.T) (*sink, error) {
	t.Helper()
	p := s.start(t, self(t, "reply"))
	ways, closeAll, err := posters(p.address, s.writers)
	to := &sink{writers: ways, server: p, close: func() {
		closeAll()
		p.stop()
	}}
	to.count = func() (int, error) {
		req, err := http.NewRequest(http.MethodGet, "http://"+p.address+replied, http.NoBody)
		if err != nil {
			return 0, err
		}
		said, err := askHTTP(http.DefaultClient, req)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(said)
	}
	return to, err
}

const (
	// directoryVariable says where the JetStream role keeps its files.
	directoryVariable = "DIRECTORY"
	peerStream        = "PEER"
	peerSubject       = "peer."
)

// beginJetStream starts a NATS server with JetStream, each write of which is on the disk before it is acknowledged, and returns its address.
func beginJetStream() (string, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: os.Getenv(directoryVariable), SyncAlways: true,
	})
	if err != nil {
		return "", err
	}
	s.Start()
	if !s.ReadyForConnections(limit) {
		return "", errors.New("the NATS server does not start")
	}
	return s.Addr().String(), nil
}

// jetStream starts a NATS server in a process of its own, with an empty stream.
func (f *field) jetStream(t *testing.T, dir string) (*process, *nats.Conn, jetstream.Stream, error) {
	t.Helper()
	p := f.start(t, self(t, "jetstream", directoryVariable+"="+dir))
	conn, err := nats.Connect(p.address)
	if err != nil {
		return p, nil, nil, err
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		return p, conn, nil, err
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: peerStream, Subjects: []string{peerSubject + ">"}, Storage: jetstream.FileStorage})
	return p, conn, stream, err
}

// publisher is a writer that publishes and waits for the acknowledgement.
func publisher(ctx context.Context, conn *nats.Conn) (writer, error) {
	js, err := jetstream.New(conn)
	return func(r record) error {
		_, err := js.Publish(ctx, peerSubject+r.form+"."+r.submission, r.body)
		return err
	}, err
}

func (s *intake) openJetStream(t *testing.T) (*sink, error) {
	t.Helper()
	p, conn, stream, err := s.jetStream(t, s.dir)
	if err != nil {
		return nil, err
	}
	publish, err := publisher(t.Context(), conn)
	if err != nil {
		return nil, err
	}
	to := &sink{server: p, writers: make([]writer, s.writers)}
	for i := range to.writers {
		to.writers[i] = publish
	}
	to.count = func() (int, error) {
		info, err := stream.Info(t.Context())
		if err != nil {
			return 0, err
		}
		return int(info.State.Msgs), nil
	}
	to.close = func() {
		conn.Close()
		p.stop()
	}
	return to, nil
}

// redisServer returns the path of redis-server: the system's, or the one that setup.sh unpacked; empty for none.
func redisServer() string {
	for _, name := range []string{"redis-server", filepath.Join("..", "..", "bin", "redis", "redis-server")} {
		if path, err := exec.LookPath(name); err == nil {
			path, err = filepath.Abs(path)
			if err == nil {
				return path
			}
		}
	}
	return ""
}

// openRedis starts a Redis that syncs each write, and reaches it over a socket of files: it cannot choose a port by itself.
func (s *intake) openRedis(t *testing.T) (*sink, error) {
	t.Helper()
	socket := filepath.Join(s.dir, "socket")
	p := s.start(t, exec.CommandContext(t.Context(), redisServer(), "--port", "0", "--unixsocket", socket, "--dir", s.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"))
	to := &sink{server: p, writers: make([]writer, s.writers), close: p.stop}
	for i := range to.writers {
		ask, err := askRedis(t, socket)
		if err != nil {
			return nil, err
		}
		to.writers[i] = func(r record) error {
			said, err := ask("SET", r.form+"/"+r.submission, string(r.body), "NX")
			if err == nil && said != "+OK" {
				err = fmt.Errorf("redis answers %q", said)
			}
			return err
		}
		to.count = func() (int, error) {
			said, err := ask("DBSIZE")
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(strings.TrimPrefix(said, ":"))
		}
	}
	return to, nil
}

// askRedis returns what sends a command to Redis and returns its answer of one line.
func askRedis(t *testing.T, socket string) (func(words ...string) (string, error), error) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	for begin := time.Now(); err != nil && time.Since(begin) < limit; conn, err = net.Dial("unix", socket) {
		<-time.After(time.Millisecond) // it prints before it listens
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	in := bufio.NewReader(conn)
	return func(words ...string) (string, error) {
		command := fmt.Appendf(nil, "*%d\r\n", len(words))
		for _, word := range words {
			command = fmt.Appendf(command, "$%d\r\n%s\r\n", len(word), word)
		}
		if _, err := conn.Write(command); err != nil {
			return "", err
		}
		line, err := in.ReadString('\n')
		return strings.TrimSpace(line), err
	}, nil
}
