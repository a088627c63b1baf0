package tally_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/tally"
)

// frames is a Tally made of HTTP/2 frames: the n-th request of all, on whatever connection, is answered by the n-th step.
type frames struct {
	listener net.Listener
	settings []http2.Setting
	steps    []func(*h2conn, uint32)
	requests atomic.Int64
	served   sync.WaitGroup
}

// h2conn is one connection to a frames.
type h2conn struct {
	net.Conn
	*http2.Framer
	headers bytes.Buffer
	encoder *hpack.Encoder
}

// framed starts a frames behind TLS and returns a client for it; the last step serves all further requests.
func framed(t *testing.T, settings []http2.Setting, steps ...func(*h2conn, uint32)) (*frames, *tally.Client) {
	t.Helper()
	ca := newAuthority(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "localhost", nil)}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{listener: listener, settings: settings, steps: steps}
	f.served.Go(f.accept)
	client := clientFor(t, "https://localhost"+listener.Addr().String()[strings.LastIndex(listener.Addr().String(), ":"):], quick,
		func(c *tally.Config) {
			c.TLS = &tls.Config{RootCAs: ca.pool()}
			c.Limits.Total, c.Limits.Header = 3*time.Second, 3*time.Second
		})
	t.Cleanup(func() {
		client.Close()
		listener.Close()
		f.served.Wait()
	})
	return f, client
}

func (f *frames) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.served.Go(func() { f.serve(conn) })
	}
}

func (f *frames) serve(conn net.Conn) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	c := &h2conn{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	c.encoder = hpack.NewEncoder(&c.headers)
	_ = c.WriteSettings(f.settings...)
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = c.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = c.WritePing(true, frame.Data)
		case *http2.HeadersFrame:
			// The request is whole: with a body only once its last byte is here.
			if frame.StreamEnded() {
				f.step(c, frame.StreamID)
			} else if blocked(f.settings) {
				_ = c.WriteWindowUpdate(frame.StreamID, 1<<16)
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				f.step(c, frame.StreamID)
			}
		}
	}
}

// blocked tells that a body may not be sent before the window opens.
func blocked(settings []http2.Setting) bool {
	for _, s := range settings {
		if s.ID == http2.SettingInitialWindowSize && s.Val == 0 {
			return true
		}
	}
	return false
}

func (f *frames) step(c *h2conn, stream uint32) {
	n := int(f.requests.Add(1))
	f.steps[min(n, len(f.steps))-1](c, stream)
}

// fine answers a request with a form.
func fine(c *h2conn, stream uint32) {
	c.headers.Reset()
	_ = c.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.headers.Bytes(), EndHeaders: true})
	_ = c.WriteData(stream, true, []byte(okForm))
}

// goAway says that streams up to last were or may have been processed, and none above.
func goAway(last func(stream uint32) uint32) func(*h2conn, uint32) {
	return func(c *h2conn, stream uint32) {
		_ = c.WriteGoAway(last(stream), http2.ErrCodeNo, nil)
		c.Close()
	}
}

func rst(code http2.ErrCode) func(*h2conn, uint32) {
	return func(c *h2conn, stream uint32) { _ = c.WriteRSTStream(stream, code) }
}

func notSeen(uint32) uint32     { return 0 }
func seen(stream uint32) uint32 { return stream }
func flood(c *h2conn, stream uint32) {
	for range 200 {
		_ = c.WriteRSTStream(stream, http2.ErrCodeInternal)
	}
}

// TestHTTP2 covers row 51: a write goes out again only where the peer says that it did not process it, by REFUSED_STREAM or by a
// GOAWAY below its stream. wantRequests counts what reached Tally, refused ones included.
func TestHTTP2(t *testing.T) {
	unknown := func(kind tally.Kind, requests int64) faultWant {
		return faultWant{kind, tally.OutcomeUnknown, requests}
	}
	ok := func(requests int64) faultWant { return faultWant{requests: requests} }
	tests := []struct {
		name                string
		steps               []func(*h2conn, uint32)
		wantRead, wantWrite faultWant
	}{
		{"fine", []func(*h2conn, uint32){fine}, ok(1), ok(1)},
		{"refused stream, then fine", []func(*h2conn, uint32){rst(http2.ErrCodeRefusedStream), fine}, ok(2), ok(2)},
		{"goaway below, then fine", []func(*h2conn, uint32){goAway(notSeen), fine}, ok(2), ok(2)},
		{"goaway above, then fine", []func(*h2conn, uint32){goAway(seen), fine}, ok(2), unknown(tally.KindReset, 1)},
		{"reset, then fine", []func(*h2conn, uint32){rst(http2.ErrCodeInternal), fine}, ok(2), unknown(tally.KindReset, 1)},
		{"reset with cancel, then fine", []func(*h2conn, uint32){rst(http2.ErrCodeCancel), fine}, ok(2), unknown(tally.KindReset, 1)},
		{"flood of resets, then fine", []func(*h2conn, uint32){flood, fine}, ok(2), unknown(tally.KindReset, 1)},
		{"reset for ever", []func(*h2conn, uint32){rst(http2.ErrCodeInternal)}, unknown(tally.KindReset, 2), unknown(tally.KindReset, 1)},
	}
	for _, test := range tests {
		for i, call := range []func() (proto.Message, proto.Message){read, write} {
			effect, want := []string{"read", "write"}[i], []faultWant{test.wantRead, test.wantWrite}[i]
			t.Run(test.name+"/"+effect, func(t *testing.T) {
				f, client := framed(t, nil, test.steps...)
				req, resp := call()
				checkFault(t, client.Call(t.Context(), req, resp), want.kind, want.outcome)
				if got := f.requests.Load(); got != want.requests {
					t.Errorf("Tally saw %d requests, want %d", got, want.requests)
				}
			})
		}
	}
}

// TestHTTP2Limits covers row 52: one stream at a time, and a window that opens late, delay calls and lose none.
func TestHTTP2Limits(t *testing.T) {
	tests := []struct {
		name     string
		settings []http2.Setting
		steps    []func(*h2conn, uint32)
	}{
		{"one stream", []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, []func(*h2conn, uint32){fine}},
		{"window 0", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, []func(*h2conn, uint32){fine}},
		{"settings change", nil, []func(*h2conn, uint32){func(c *h2conn, stream uint32) {
			_ = c.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
			fine(c, stream)
		}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const calls = 20
			f, client := framed(t, test.settings, test.steps...)
			var all sync.WaitGroup
			for range calls {
				all.Go(func() {
					req, resp := write()
					if err := client.Call(t.Context(), req, resp); err != nil {
						t.Errorf("Call() = %v, want nil", err)
					}
				})
			}
			all.Wait()
			if got := f.requests.Load(); got != calls {
				t.Errorf("Tally saw %d requests, want %d", got, calls)
			}
		})
	}
}
