package sandbox

import (
	"io"
	"net/http"
)

// Script is a list of faults to play. It is still empty: the requests pass.
type Script struct{}

// ParseFaults reads a script.
func ParseFaults(io.Reader) (*Script, error) { return &Script{}, nil }

// SetFaults replaces the script.
func (s *Sandbox) SetFaults(*Script) {}

type player struct{}

func newPlayer(*Script, *Sandbox) *player { return &player{} }

func (p *player) stop() {}

func (p *player) play(w http.ResponseWriter, r *http.Request, _ string, inner http.Handler) {
	inner.ServeHTTP(w, r)
}
