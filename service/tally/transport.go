package tally

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/tallyd/tallyd/service/apikey"
)

// Limits bound what a request to Tally may take. DefaultLimits returns what production uses.
type Limits struct {
	// Connect bounds the dial, name resolution included.
	Connect time.Duration
	// TLS bounds the handshake.
	TLS time.Duration
	// Header bounds the wait for the answer's header, from the last byte of the request.
	Header time.Duration
	// Total bounds one attempt, body included.
	Total time.Duration
	// Body is the largest answer in bytes, after inflation.
	Body int64
	// Answer is the largest message in bytes that a call may return.
	Answer int
}

// DefaultLimits returns the limits that production uses.
func DefaultLimits() Limits {
	return Limits{
		Connect: 3 * time.Second,
		TLS:     3 * time.Second,
		Header:  20 * time.Second,
		Total:   30 * time.Second,
		Body:    16 << 20,
		Answer:  defaultAnswerLimit,
	}
}

const (
	// maxIdle is how many connections are kept for the next requests: as many as a burst may have in flight, since dialling costs
	// more than the request.
	maxIdle = 256
	// maxHeaderBytes bounds the answer's header.
	maxHeaderBytes = 64 << 10
	// maxReadAhead bounds what the transport holds of an HTTP/2 body that nobody has read yet, on top of Limits.Body.
	maxReadAhead = 256 << 10
)

// errPrivateAddress is a public name that resolved into a private network: somebody wants the key.
var errPrivateAddress = errors.New("the name leads to a private address")

// newTransport returns the transport for Tally and what ends its connections. It follows no redirect, asks no proxy, and inflates
// nothing by itself, so that the limit on inflated bytes is ours.
func newTransport(config Config) (*http.Transport, context.CancelFunc) {
	limits := config.Limits
	life, end := context.WithCancel(context.Background())
	dialer := &net.Dialer{
		Resolver:      config.Resolver,
		Timeout:       limits.Connect,
		FallbackDelay: 250 * time.Millisecond,
		KeepAlive:     30 * time.Second,
	}
	if guarded(config.URL) {
		dialer.Control = refusePrivate
	}
	transport := &http.Transport{
		Proxy:                  nil,
		DialContext:            dialWithin(life, dialer),
		TLSClientConfig:        tlsConfig(config.TLS),
		TLSHandshakeTimeout:    limits.TLS,
		ResponseHeaderTimeout:  limits.Header,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			// A connection that died without a word would otherwise take every call with it until the kernel gives up.
			SendPingTimeout: limits.Header, PingTimeout: limits.Connect,
			MaxReceiveBufferPerStream: maxReadAhead,
		},
	}
	return transport, func() {
		transport.CloseIdleConnections()
		end()
	}
}

// boundConn ends with its client at the latest.
type boundConn struct {
	net.Conn
	unbind func() bool
}

// Close is net.Conn's.
func (c *boundConn) Close() error {
	c.unbind()
	return c.Conn.Close()
}

// dialWithin ends the connections it made when life ends. The transport by itself forgets an HTTP/2 connection that seems busy at
// that moment because a call on it was cancelled a moment before.
func dialWithin(life context.Context, dialer *net.Dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &boundConn{Conn: conn, unbind: context.AfterFunc(life, func() { _ = conn.Close() })}, nil
	}
}

func tlsConfig(config *tls.Config) *tls.Config {
	own := &tls.Config{MinVersion: tls.VersionTLS12}
	if config != nil {
		own = config.Clone()
		own.MinVersion = tls.VersionTLS12
	}
	return own
}

// guarded tells that a private address would be a trick: the URL names a public host, not an address or this machine.
func guarded(base *url.URL) bool {
	host := base.Hostname()
	_, err := netip.ParseAddr(host)
	return err != nil && host != "localhost" && !strings.HasSuffix(host, ".localhost")
}

// sharedSpace is the carriers' own address space (RFC 6598), private in all but name.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// refusePrivate runs after name resolution and before the connection is made.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := addr.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedSpace.Contains(ip) {
		return errPrivateAddress
	}
	return nil
}

// keyTransport is the innermost round tripper: the only place where the key becomes text.
type keyTransport struct {
	next http.RoundTripper
}

type keyContext struct{}

// RoundTrip sends the request with the key of its context. It returns the errors of the transport below.
func (t keyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	key, ok := req.Context().Value(keyContext{}).(apikey.Key)
	if !ok {
		return nil, errors.New("the request carries no key")
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+key.Reveal())
	return t.next.RoundTrip(req)
}

func withKey(ctx context.Context, key apikey.Key) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// reply is an answer of Tally's, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
	pause  time.Duration // for which a 429 stops everything
}

// errTooLarge is an answer over the limit.
var errTooLarge = errors.New("the answer is larger than the limit")

// errEncoding is an answer in an encoding that was not asked for, or that is damaged.
var errEncoding = errors.New("the answer's encoding cannot be read")

// readReply reads an answer's body, inflated, up to limit bytes. It returns errTooLarge, errEncoding, or the error of the
// connection.
func readReply(resp *http.Response, limit int64) (*reply, error) {
	r := &reply{status: resp.StatusCode, header: resp.Header}
	var body io.Reader = resp.Body
	known := resp.ContentLength
	switch encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		known = -1
		inflated, err := gzip.NewReader(&taggedReader{r: resp.Body})
		if err != nil {
			return r, encodingError(err)
		}
		body = inflated
	default:
		return r, fmt.Errorf("%q: %w", clip(encoding, 32), errEncoding)
	}
	var err error
	r.body, err = readAll(body, known, limit)
	return r, encodingError(err)
}

// taggedReader marks errors of the connection, to tell them from damage in what it carried.
type taggedReader struct{ r io.Reader }

type connectionError struct{ error }

func (e connectionError) Unwrap() error { return e.error }

func (t *taggedReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = connectionError{err}
	}
	return n, err
}

func encodingError(err error) error {
	var connection connectionError
	switch {
	case errors.As(err, &connection):
		return connection.error
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return fmt.Errorf("%w: %w", errEncoding, err)
	default:
		return err
	}
}

// firstChunk and lastChunk are the sizes between which chunks double.
const (
	firstChunk = 4 << 10
	lastChunk  = 64 << 10
)

// readAll reads up to limit bytes, in chunks when the size is not told, so that a body over the limit never costs more than it.
func readAll(r io.Reader, known, limit int64) ([]byte, error) {
	if known > limit {
		return nil, errTooLarge
	}
	if known >= 0 {
		body := make([]byte, known)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	var chunks [][]byte
	total := int64(0)
	for size := firstChunk; ; size = min(2*size, lastChunk) {
		chunk := make([]byte, size)
		n, err := fill(r, chunk)
		if total += int64(n); total > limit {
			return nil, errTooLarge
		}
		chunks = append(chunks, chunk[:n])
		if errors.Is(err, io.EOF) {
			return join(chunks), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func join(chunks [][]byte) []byte {
	if len(chunks) == 1 {
		return chunks[0]
	}
	return bytes.Join(chunks, nil)
}

// fill reads until the chunk is full. Unlike io.ReadFull it passes on the reader's own io.ErrUnexpectedEOF as the only one, which
// is how a cut connection shows.
func fill(r io.Reader, chunk []byte) (n int, err error) {
	for n < len(chunk) && err == nil {
		var m int
		m, err = r.Read(chunk[n:])
		n += m
	}
	return n, err
}
