package tally

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"github.com/tallyd/tallyd/service/quota"
)

// departure follows an attempt on its way out.
//
// Over HTTP/2 the transport repeats a request by itself when its stream was refused or lies beyond a GOAWAY, which is safe, but also
// when its stream ended with PROTOCOL_ERROR, which Tally may say after it acted. So writes give the transport no means to rewind
// their bodies; it then says why it would have repeated. A write without a body it repeats all the same, and is stopped when it
// comes for the second connection. Over HTTP/1.1 it repeats a write only when nothing of it was written.
type departure struct {
	left  atomic.Bool // bytes of the request have left, or are in the transport's buffer
	noTLS atomic.Bool // the handshake failed
	conn  net.Conn    // in use; only the transport's hook touches it
	slot  *quota.Slot // that pays for it; nil without a quota
}

var (
	// errStreamRefused is an HTTP/2 stream that was refused, with the connection left as it is.
	errStreamRefused = errors.New("the stream was refused")
	// errStreamBroken is an HTTP/2 stream that ended for a reason that the transport keeps to itself.
	errStreamBroken = errors.New("the stream ended without an answer")
)

// board notes the connection that a write is about to use. It returns an error when the transport must not use it: the write has
// left before.
func (d *departure) board(conn net.Conn) error {
	before := d.conn
	d.conn = conn
	if !d.left.Load() {
		return nil
	}
	switch {
	case !isHTTP2(before):
		d.left.Store(false)
		return nil
	case before == conn:
		// Any other end that the transport repeats after makes the connection unusable.
		return errStreamRefused
	default:
		return errStreamBroken
	}
}

func isHTTP2(conn net.Conn) bool {
	encrypted, ok := conn.(*tls.Conn)
	return ok && encrypted.ConnectionState().NegotiatedProtocol == "h2"
}

// unprocessed tells that the other side vouches for not having processed a request whose bytes have left. The transport has no types
// for that. What the other side can put into its texts comes after these beginnings.
func unprocessed(err error) bool {
	if errors.Is(err, errStreamRefused) {
		return true
	}
	text := err.Error()
	if strings.HasPrefix(text, "http2: Transport received GOAWAY from server ErrCode:") {
		return true
	}
	reason, repeats := strings.CutPrefix(text, "http2: Transport: cannot retry err [")
	return repeats && (strings.HasPrefix(reason, "http2: Transport received Server's graceful shutdown GOAWAY]") ||
		strings.HasPrefix(reason, "stream error: ") && strings.Contains(reason, "; REFUSED_STREAM; "))
}

// trace runs the caller's hook when a connection is there, counts the request, and notes when its bytes leave.
func (x *exchange) trace(cancel context.CancelCauseFunc, sent *departure) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if x.method.effect != Read {
				if err := sent.board(info.Conn); err != nil {
					cancel(err)
					return
				}
			}
			x.call.requests.Add(1)
			if x.method.effect == Read || x.call.BeforeSend == nil {
				return
			}
			if !x.hooked {
				x.hooked, x.hookErr = true, x.call.BeforeSend()
			}
			if x.hookErr != nil {
				stop(cancel, info.Conn, x.hookErr)
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { sent.noTLS.Store(err != nil) },
		WroteHeaders:     func() { sent.left.Store(true) },
	}
}

// stop keeps a request from being written to a connection that was found for it.
func stop(cancel context.CancelCauseFunc, conn net.Conn, cause error) {
	cancel(cause)
	// Over HTTP/1.1 the transport would write all the same; a closed connection takes nothing. Over HTTP/2 it looks at the context
	// first, and the connection carries the requests of others.
	if !isHTTP2(conn) {
		_ = conn.Close()
	}
}
