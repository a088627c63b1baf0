package faults

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wire is a client that writes HTTP/2 frames by hand, and so sends what no library would.
type wire struct {
	net.Conn

	frames  *http2.Framer
	headers bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32
}

// connect opens a connection and exchanges the settings.
func connect(t *testing.T, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w := &wire{Conn: conn, frames: http2.NewFramer(conn, conn), stream: 1}
	w.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.encoder = hpack.NewEncoder(&w.headers)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.frames.WriteSettings(), w.frames.WriteSettingsAck()); err != nil {
		t.Fatal(err)
	}
	return w
}

// field is one header as it travels; order and repetition count.
type field struct{ name, value string }

// usual are the headers of a call.
func usual(path string, more ...field) []field {
	return append([]field{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", "tallyd"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	}, more...)
}

// maxFrame is what a peer must take without asking.
const maxFrame = 16 << 10

// send writes a request with one message as its body. A peer that refuses the headers may close before it has read them all: what it
// answers tells.
func (w *wire) send(t *testing.T, headers []field, message []byte) {
	t.Helper()
	id := w.stream
	w.stream += 2
	_ = w.sendWhole(id, headers, message)
}

func (w *wire) sendWhole(id uint32, headers []field, message []byte) error {
	if err := w.sendHeaders(id, headers); err != nil {
		return err
	}
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return w.frames.WriteData(id, true, append(body, message...))
}

// sendHeaders writes headers in as many frames as it takes.
func (w *wire) sendHeaders(id uint32, headers []field) error {
	w.headers.Reset()
	for _, h := range headers {
		if err := w.encoder.WriteField(hpack.HeaderField{Name: h.name, Value: h.value}); err != nil {
			return err
		}
	}
	block := w.headers.Bytes()
	first := block[:min(maxFrame, len(block))]
	block = block[len(first):]
	err := w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(block) == 0})
	for err == nil && len(block) > 0 {
		part := block[:min(maxFrame, len(block))]
		block = block[len(part):]
		err = w.frames.WriteContinuation(id, len(block) == 0, part)
	}
	return err
}

// ending is how a request ended.
type ending struct {
	// headers are those of the answer, its trailers among them.
	headers map[string]string
	// reset and goAway are codes of HTTP/2; closed is the end of the connection.
	reset, goAway *http2.ErrCode
	closed        bool
}

// refused tells that the request reached no handler: HTTP or HTTP/2 said no, or gRPC with the given status.
func (e ending) refused(status string) bool {
	http := e.headers[":status"]
	return e.closed || e.reset != nil || e.goAway != nil || (http != "" && http != "200") || e.headers["grpc-status"] == status
}

// end reads until the request with the highest id has ended, or the connection has.
func (w *wire) end(t *testing.T) ending {
	t.Helper()
	e := ending{headers: map[string]string{}}
	for {
		frame, err := w.frames.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatalf("no answer: %v", err)
			}
			e.closed = true
			return e
		}
		if w.note(&e, frame) {
			return e
		}
	}
}

// note takes what a frame says and reports whether it was the last word.
func (w *wire) note(e *ending, frame http2.Frame) bool {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		for _, h := range f.Fields {
			e.headers[h.Name] = h.Value
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		e.reset = &f.ErrCode
		return true
	case *http2.GoAwayFrame:
		e.goAway = &f.ErrCode
		return true
	}
	return false
}
