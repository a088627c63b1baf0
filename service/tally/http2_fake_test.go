package tally_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tallyd/tallyd/service/tally"
)

// frames is a Tally that speaks HTTP/2 frame by frame: each connection reads requests, and the n-th request of all is answered by the
// n-th step, the last one again and again.
type frames struct {
	*script
	authority *authority
	steps     []func(*wire, stream)
	// settings are sent when a connection begins.
	settings []http2.Setting
	// more is called when the body of a request is not complete yet; it may be nil.
	more func(*wire, stream)

	mu sync.Mutex
	// processed counts the requests that got an answer, by method, path and body.
	processed map[string]int
}

// wire is one connection as its server sees it.
type wire struct {
	*http2.Framer
	conn    net.Conn
	fake    *frames
	header  bytes.Buffer
	encoder *hpack.Encoder
	// open holds the requests whose bodies are not complete.
	open map[uint32]stream
}

// stream is a request that has arrived.
type stream struct {
	id           uint32
	method, path string
	body         string
}

func playHTTP2(t testing.TB, steps ...func(*wire, stream)) *frames {
	t.Helper()
	return (&frames{steps: steps}).play(t)
}

func (f *frames) play(t testing.TB) *frames {
	t.Helper()
	f.authority, f.processed = newAuthority(t), map[string]int{}
	listener := listenTLS(t, &tls.Config{Certificates: []tls.Certificate{f.authority.issue(t, nil)}, NextProtos: []string{"h2"}})
	f.script = playRaw(t, "https", listener, f.serve)
	return f
}

func (f *frames) client(t testing.TB, change ...func(*tally.Config)) *tally.Client {
	t.Helper()
	return clientFor(t, f.url(), append(change, f.authority.trusted)...)
}

// answered returns how often each request got an answer.
func (f *frames) answered() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.processed)
}

func (f *frames) serve(conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	w := &wire{Framer: http2.NewFramer(conn, conn), conn: conn, fake: f, open: map[uint32]stream{}}
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.encoder = hpack.NewEncoder(&w.header)
	if w.WriteSettings(f.settings...) != nil {
		return
	}
	for {
		s, ok := w.next()
		if !ok {
			return
		}
		n := int(f.requests.Add(1))
		f.steps[min(n, len(f.steps))-1](w, s)
	}
}

// next reads up to the end of a request, and does what a connection needs on the way.
func (w *wire) next() (stream, bool) {
	for {
		frame, err := w.ReadFrame()
		if err != nil {
			return stream{}, false
		}
		if s, whole := w.take(frame); whole {
			return s, true
		}
	}
}

// take treats one frame and tells whether a request is complete with it.
func (w *wire) take(frame http2.Frame) (stream, bool) {
	s := w.open[frame.Header().StreamID]
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			_ = w.WriteSettingsAck()
		}
		return s, false
	case *http2.PingFrame:
		if !frame.IsAck() {
			_ = w.WritePing(true, frame.Data)
		}
		return s, false
	case *http2.MetaHeadersFrame:
		s = stream{id: frame.StreamID, method: frame.PseudoValue("method"), path: frame.PseudoValue("path")}
		return s, w.whole(s, frame.StreamEnded())
	case *http2.DataFrame:
		s.body += string(frame.Data())
		return s, w.whole(s, frame.StreamEnded())
	case *http2.RSTStreamFrame:
		delete(w.open, frame.StreamID)
		return s, false
	default:
		return s, false
	}
}

// whole keeps a request that goes on.
func (w *wire) whole(s stream, ended bool) bool {
	if ended {
		delete(w.open, s.id)
		return true
	}
	w.open[s.id] = s
	if w.fake.more != nil {
		w.fake.more(w, s)
	}
	return false
}

// answer processes a request.
func answer(status int, body string) func(*wire, stream) {
	return func(w *wire, s stream) {
		w.fake.mu.Lock()
		w.fake.processed[s.method+" "+s.path+" "+s.body]++
		w.fake.mu.Unlock()
		w.headers(s, false, ":status", strconv.Itoa(status), "content-type", "application/json", "content-length", strconv.Itoa(len(body)))
		_ = w.WriteData(s.id, true, []byte(body))
	}
}

func (w *wire) headers(s stream, end bool, fields ...string) {
	w.header.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = w.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: w.header.Bytes(), EndHeaders: true, EndStream: end})
}

// abort ends a stream with a code and no answer.
func abort(code http2.ErrCode) func(*wire, stream) {
	return func(w *wire, s stream) { _ = w.WriteRSTStream(s.id, code) }
}

// goAway says which stream was the last that is processed, counted from the one at hand. The debug text must not be taken for a code.
func goAway(code http2.ErrCode, last int) func(*wire, stream) {
	return func(w *wire, s stream) {
		_ = w.WriteGoAway(uint32(max(0, int(s.id)+2*last)), code, []byte("REFUSED_STREAM"))
	}
}

// both does one thing after the other.
func both(steps ...func(*wire, stream)) func(*wire, stream) {
	return func(w *wire, s stream) {
		for _, step := range steps {
			step(w, s)
		}
	}
}

// hangUp closes the connection.
func hangUp(w *wire, _ stream) { w.conn.Close() }
