package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// player plays a fault script between the server and the routes.
type player struct {
	s   *Sandbox
	ctx context.Context
	end context.CancelFunc

	mu    sync.Mutex
	rules []*fault
}

func newPlayer(script *Script, s *Sandbox) *player {
	p := &player{s: s}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.load(script)
	return p
}

// load copies the rules: each player counts calls by itself.
func (p *player) load(script *Script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
	if script == nil {
		return
	}
	for _, f := range script.rules {
		own := *f
		p.rules = append(p.rules, &own)
	}
}

// SetFaults replaces the fault script; nil ends all faults.
func (s *Sandbox) SetFaults(script *Script) { s.player.load(script) }

func (p *player) stop() { p.end() }

// pick counts the request in every rule it fits and returns the first whose
// turn it is.
func (p *player) pick(r *http.Request, pattern string) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var chosen *fault
	for _, f := range p.rules {
		if !f.fits(r, pattern) {
			continue
		}
		f.seen++
		if chosen == nil && f.seen >= f.from && f.seen <= f.to {
			chosen = f
		}
	}
	return chosen
}

func (f *fault) fits(r *http.Request, pattern string) bool {
	if f.method != "*" && f.method != r.Method {
		return false
	}
	prefix, open := strings.CutSuffix(f.path, "*")
	if open {
		return strings.HasPrefix(r.URL.Path, prefix)
	}
	return f.method+" "+f.path == pattern || f.path == r.URL.Path
}

// scripted says whether the answer comes from the script alone.
func (f *fault) scripted() bool {
	return f.status != 0 || f.hasBody || f.repeat != nil || f.gzipBomb > 0 || f.raw != nil || f.headers.Get("Location") != ""
}

func (p *player) play(w http.ResponseWriter, r *http.Request, pattern string, inner http.Handler) {
	f := p.pick(r, pattern)
	if f == nil {
		inner.ServeHTTP(w, r)
		return
	}
	for range f.submitCount {
		if _, err := p.s.Submit(f.submitForm, nil); err != nil {
			p.s.opts.logger.Warn("fault cannot submit", "form", f.submitForm, "error", err)
		}
	}
	if !f.after {
		p.wait(r.Context(), f.delay)
	}
	actual := httptest.NewRecorder()
	if f.after || !f.scripted() && (!f.reset || f.cut >= 0) {
		inner.ServeHTTP(actual, r)
	}
	if f.after {
		p.wait(r.Context(), f.delay)
	}
	p.answer(w, r, f, actual)
}

func (p *player) wait(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
}

func (p *player) answer(w http.ResponseWriter, r *http.Request, f *fault, actual *httptest.ResponseRecorder) {
	status, header, body := f.compose(r, actual)
	switch {
	case f.raw != nil, f.reset, f.hangUp != "", f.cut >= 0, f.drip > 0:
		p.takeOver(w, r, f, wire(f, status, header, body))
	case f.gzipBomb > 0:
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		bomb(w, f.gzipBomb)
	default:
		maps.Copy(w.Header(), header)
		if len(body) > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// compose lays the script's words over the real answer.
func (f *fault) compose(r *http.Request, actual *httptest.ResponseRecorder) (int, http.Header, []byte) {
	status, header, body := actual.Code, actual.Header().Clone(), actual.Body.Bytes()
	if f.scripted() {
		header, body = http.Header{"Content-Type": {"application/json; charset=utf-8"}}, nil
		status = http.StatusOK
	}
	if f.headers.Get("Location") != "" {
		status = http.StatusFound
	}
	if f.status != 0 {
		status = f.status
	}
	if f.hasBody {
		_, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		body = bytes.ReplaceAll(f.body, []byte("{{key}}"), []byte(key))
	}
	if f.repeat != nil {
		body = []byte(f.repeat.Before + strings.Repeat(f.repeat.Unit, max(f.repeat.Times, 0)) + f.repeat.After)
	}
	if f.set != nil {
		body = overlay(body, f.set)
	}
	for range f.gzip {
		body = compressed(body)
	}
	if f.gzip > 0 || f.gzipBomb > 0 {
		header.Set("Content-Encoding", "gzip")
	}
	maps.Copy(header, f.headers)
	return status, header, body
}

// overlay changes single values of a JSON body; a path that leads nowhere is
// left out.
func overlay(body []byte, changes map[string]any) []byte {
	value, err := decode(bytes.NewReader(body))
	if err != nil {
		return body
	}
	for path, v := range changes {
		value = put(value, strings.Split(path, "."), v)
	}
	changed, err := json.Marshal(value)
	if err != nil {
		return body
	}
	return changed
}

func put(node any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	switch parent := node.(type) {
	case map[string]any:
		parent[path[0]] = put(parent[path[0]], path[1:], v)
	case []any:
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(parent) {
			parent[i] = put(parent[i], path[1:], v)
		}
	}
	return node
}

func compressed(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

// bomb repeats one small compressed member, so that gigabytes cost nothing here.
func bomb(w io.Writer, size int64) {
	const unit = 1 << 20
	member := compressed(bytes.Repeat([]byte{' '}, unit))
	for ; size >= unit; size -= unit {
		if _, err := w.Write(member); err != nil {
			return
		}
	}
	_, _ = w.Write(compressed(bytes.Repeat([]byte{' '}, int(size))))
}

// message is an answer as bytes: the header and what is sent of the body.
type message struct{ head, body []byte }

func wire(f *fault, status int, header http.Header, body []byte) message {
	if f.raw != nil {
		return message{body: f.raw}
	}
	length := len(body)
	if f.cut >= 0 {
		body = body[:min(f.cut, len(body))]
	}
	if f.exactLength {
		length = len(body)
	}
	header.Set("Content-Length", strconv.Itoa(length))
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	maps.Copy(header, f.headers)
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	_ = header.Write(&head)
	head.WriteString("\r\n")
	return message{head.Bytes(), body}
}

// takeOver writes to the connection itself and closes it.
func (p *player) takeOver(w http.ResponseWriter, r *http.Request, f *fault, m message) {
	// What is left unread would turn the close into a reset of its own.
	if !f.reset {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	_ = buffered.Flush()
	if !f.reset || f.cut >= 0 {
		p.send(conn, f, m)
	}
	if f.hangUp == "next" {
		stop := context.AfterFunc(p.ctx, func() { _ = conn.Close() })
		defer stop()
		_, _ = buffered.ReadByte()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && f.reset {
		_ = tcp.SetLinger(0)
	}
}

func (p *player) send(conn net.Conn, f *fault, m message) {
	all := slices.Concat(m.head, m.body)
	quick := len(m.head)
	if f.dripHead || f.drip == 0 {
		quick = 0
	}
	if f.drip == 0 {
		quick = len(all)
	}
	if _, err := conn.Write(all[:quick]); err != nil {
		return
	}
	step := max(1, f.drip/10)
	for rest := all[quick:]; len(rest) > 0 && p.ctx.Err() == nil; {
		n := min(step, len(rest))
		if _, err := conn.Write(rest[:n]); err != nil {
			return
		}
		rest = rest[n:]
		p.wait(p.ctx, time.Second*time.Duration(step)/time.Duration(f.drip))
	}
}
