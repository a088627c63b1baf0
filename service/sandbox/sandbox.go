package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sandbox is one pretend Tally. It is safe for concurrent use.
type Sandbox struct {
	opts    options
	mux     *http.ServeMux
	control *http.ServeMux
	limit   *limiter
	tally   *counters
	player  *player
	courier *courier

	mu    sync.RWMutex
	state *state
}

// New builds a sandbox from its seed. It returns an error when an option or
// the seed file is wrong. Call Close when done.
func New(opts ...Option) (*Sandbox, error) {
	o := defaultOptions()
	for _, apply := range opts {
		apply(&o)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Sandbox{opts: o, limit: newLimiter(o.rate, o.clock), tally: newCounters()}
	s.player = newPlayer(o.faults, s)
	s.courier = newCourier(s)
	st, err := s.seed()
	if err != nil {
		return nil, err
	}
	s.state = st
	s.mux = s.routes()
	s.control = s.controlRoutes()
	return s, nil
}

// Handler returns the HTTP side: Tally's paths and /_sandbox/.
func (s *Sandbox) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Close stops webhook deliveries, the waits of fault scripts too, and returns
// when the last one has ended. It always returns nil.
func (s *Sandbox) Close() error {
	s.player.stop()
	s.courier.stop()
	return nil
}

func (s *Sandbox) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
		s.control.ServeHTTP(w, r)
		return
	}
	start := time.Now()
	pattern, inner := s.match(r)
	s.tally.add(pattern, "total")
	status := &statusWriter{ResponseWriter: w, note: func(status int) { s.tally.add(pattern, strconv.Itoa(status)) }}
	s.player.play(status, r, pattern, inner)
	if status.status == 0 {
		s.tally.add(pattern, "cut")
	}
	s.opts.logger.Debug("request", "route", pattern, "status", status.status, "duration", time.Since(start))
}

// match finds the route without http.ServeMux's own answers: Tally does not
// redirect unclean paths, nor is a 405 of it known. [behaviour unknown-route]
func (s *Sandbox) match(r *http.Request) (string, http.Handler) {
	_, pattern := s.mux.Handler(r)
	if pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		return pattern, s.mux
	}
	return "unmatched", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		notFound("Route").write(w)
	})
}

// statusWriter remembers the status; Unwrap keeps hijacking possible.
type statusWriter struct {
	http.ResponseWriter
	status int
	note   func(status int)
}

// WriteHeader notes the status before it leaves: who has the answer must find
// it counted.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.note(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Reset throws away everything that happened and seeds the sandbox anew:
// deliveries under way are stopped, counters and rate windows cleared. The
// fault script stays. It returns an error when the seed file became unreadable.
func (s *Sandbox) Reset() error {
	st, err := s.seed()
	if err != nil {
		return err
	}
	s.courier.cancel()
	s.limit.reset()
	s.tally.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = st
	return nil
}

// SetPlan moves the organization to another plan; an empty id means the first.
// It returns an error when either is unknown.
func (s *Sandbox) SetPlan(organizationID string, p Plan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	org := s.state.organization(organizationID)
	if organizationID == "" && len(s.state.organizations) > 0 {
		org = s.state.organizations[0]
	}
	if org == nil {
		return fmt.Errorf("organization %q is unknown", organizationID)
	}
	if !known(p) {
		return fmt.Errorf("plan %q is unknown: use FREE, PRO or BUSINESS", p)
	}
	org.plan = p
	return nil
}

var errUnknownKey = errors.New("key is unknown")

// RevokeKey makes a key stop working, or work again when revoked is false. It
// returns an error when the key never existed.
func (s *Sandbox) RevokeKey(key string, revoked bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.state.keys[key]
	if k == nil {
		return errUnknownKey
	}
	k.revoked = revoked
	return nil
}

// Requests counts the requests so far by route ("GET /forms/{formId}").
func (s *Sandbox) Requests() map[string]int { return s.tally.routes() }
