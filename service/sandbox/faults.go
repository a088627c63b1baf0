package sandbox

import (
	"io"
	"net/http"
)

type Script struct{}

func ParseFaults(r io.Reader) (*Script, error) { return nil, nil }
func (s *Sandbox) SetFaults(*Script)           {}

type player struct{}

func newPlayer(*Script, *Sandbox) *player { return &player{} }
func (p *player) stop()                   {}
func (p *player) play(w http.ResponseWriter, r *http.Request, pattern string, inner http.Handler) {
	inner.ServeHTTP(w, r)
}
