package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// connectTimeout bounds the first words with one server of a cluster: the next one may be alive.
	connectTimeout = 2 * time.Second
	// pingEvery is how often a server is asked whether it lives. One that is silent twice is left.
	pingEvery = 2 * time.Second
	// settlePause is at most between two looks at a log that others write to.
	settlePause = 8 * time.Millisecond
)

// connect returns a connection to one of the servers. It ends with that server: what comes next is the supervisor's to see to, as with
// any other failure.
func (s *Store) connect(e *engine) (*nats.Conn, error) {
	servers, err := addresses(s.config.URL)
	if err != nil {
		return nil, err
	}
	options := []nats.Option{
		nats.Name("tallyd"), nats.NoReconnect(), nats.Timeout(connectTimeout), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.config.Log.Warn("NATS reports an error", slog.String("error", s.redact(err).Error()))
		}),
		nats.ClosedHandler(func(c *nats.Conn) { s.disconnected(e, c.LastError()) }),
	}
	if s.config.Credentials != "" {
		options = append(options, nats.UserCredentials(s.config.Credentials))
	}
	if s.config.Authorities != "" {
		options = append(options, nats.RootCAs(s.config.Authorities))
	}
	conn, err := nats.Connect(strings.Join(servers, ","), options...)
	return conn, s.redact(err)
}

// disconnected asks for another connection in the place of an engine's, unless the engine is gone already.
func (s *Store) disconnected(e *engine, why error) {
	s.mu.RLock()
	present := s.engine == e
	s.mu.RUnlock()
	if !present {
		return
	}
	if why == nil {
		why = nats.ErrConnectionClosed
	}
	select {
	case s.broken <- fmt.Errorf("%w: the connection to NATS is lost: %w", ErrUnavailable, s.redact(why)):
	default:
	}
}

// addresses returns the servers of an address. What is wrong with one is said without it: there may be a password in it.
func addresses(list string) ([]string, error) {
	servers := strings.Split(list, ",")
	for i, server := range servers {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		address, err := url.Parse(server)
		if err != nil || address.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, address.Scheme) {
			return nil, fmt.Errorf("server %d of %d in the address is none: it must be like nats://HOST:4222 or tls://HOST:4222, with special characters of a password written as %%XX", i+1, len(servers))
		}
		servers[i] = server
	}
	return servers, nil
}

// redactedError is an error without the secrets of the address.
type redactedError struct {
	error

	text string
}

// Error returns the text without secrets.
func (e redactedError) Error() string { return e.text }

// Unwrap returns the error as it was, to compare with.
func (e redactedError) Unwrap() error { return e.error }

// redact takes the secrets of the address out of an error.
func (s *Store) redact(err error) error {
	servers, wrong := addresses(s.config.URL)
	if err == nil || wrong != nil {
		return err
	}
	text := err.Error()
	for _, server := range servers {
		address, err := url.Parse(server)
		if err != nil || address.User == nil {
			continue
		}
		secret, found := address.User.Password()
		if !found {
			secret = address.User.Username() // a token
		}
		if secret != "" {
			text = strings.NewReplacer(secret, "xxxxx", url.QueryEscape(secret), "xxxxx", url.PathEscape(secret), "xxxxx").Replace(text)
		}
	}
	return redactedError{err, text}
}

// overtaken returns a conflict once the log can be read up to the message that came first: the leader of a cluster names one that is on its
// way, and whoever read without it would write behind it all the same.
func (s *Store) overtaken(ctx context.Context, by uint64) error {
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	for {
		select {
		case <-time.After(rand.N(settlePause)): //nolint:gosec // it guards nothing: two that met must not go on meeting
		case <-limited.Done():
			return s.fail(ctx, limited.Err())
		}
		state, err := s.State(limited)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case state.Last >= by:
			return &ConflictError{}
		}
	}
}
