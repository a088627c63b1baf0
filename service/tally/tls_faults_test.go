package tally_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/tally"
)

// recorder is a listener that keeps all that its connections read: after TLS when it wraps a TLS listener, else the bytes on the wire.
type recorder struct {
	net.Listener
	mu   sync.Mutex
	seen bytes.Buffer
}

type recordedConn struct {
	net.Conn
	to *recorder
}

// Accept is net.Listener's.
func (r *recorder) Accept() (net.Conn, error) {
	conn, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &recordedConn{conn, r}, nil
}

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	c.to.seen.Write(p[:n])
	return n, err
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen.String()
}

// TestDistrustedTLS covers row 45: a server that cannot show who it is gets no byte of the request, the key least of all. The first
// server is in order, which shows that the scan would find the key.
func TestDistrustedTLS(t *testing.T) {
	home, stranger := newAuthority(t), newAuthority(t)
	good := home.issue(t, nil)
	expired := home.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	future := home.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	elsewhere := home.issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"api.tally.so"} })
	none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate") }
	tests := []struct {
		name     string
		server   *tls.Config
		wantKind tally.Kind
	}{
		{"nothing wrong", &tls.Config{Certificates: []tls.Certificate{good}}, 0},
		{"row 45: expired", &tls.Config{Certificates: []tls.Certificate{expired}}, tally.KindTLS},
		{"row 45: not valid yet", &tls.Config{Certificates: []tls.Certificate{future}}, tally.KindTLS},
		{"row 45: wrong name", &tls.Config{Certificates: []tls.Certificate{elsewhere}}, tally.KindTLS},
		{"row 45: unknown authority", &tls.Config{Certificates: []tls.Certificate{stranger.issue(t, nil)}}, tally.KindTLS},
		{"row 45: TLS 1.1 at most", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, tally.KindTLS},
		{"row 45: no common cipher", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, tally.KindTLS},
		{"row 45: no certificate", &tls.Config{GetCertificate: none}, tally.KindTLS},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := &recorder{Listener: listenTLS(t, test.server)}
			fake := playOn(t, "https", server, reply("201 Created", json, okForm))
			leavesNothing(t)
			client := clientFor(t, fake.url(), impatient, home.trusted)
			req, resp := write()
			checkFault(t, client.Call(t.Context(), req, resp), test.wantKind, tally.OutcomeNotSent)
			fake.stop()
			if seen := server.text(); test.wantKind == 0 && !strings.Contains(seen, testKey) || test.wantKind != 0 && seen != "" {
				t.Errorf("the server saw %q, want the request with its key from a server in order, else nothing", seen)
			}
		})
	}
}

// TestNoTLSAtAll covers the servers of row 45 that never get as far as a certificate.
func TestNoTLSAtAll(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn)
	}{
		{"row 45: plain HTTP", func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			reply("400 Bad Request", "", "this is no TLS")(conn, nil)
		}},
		{"row 45: closed at once", func(net.Conn) {}},
		{"row 45: handshake that hangs", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }},
		{"row 45: handshake that breaks", func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			reset(conn, nil)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := &recorder{Listener: listen(t)}
			fake := playRaw(t, "https", server, test.serve)
			leavesNothing(t)
			client := clientFor(t, fake.url(), impatient)
			req, resp := write()
			begin := time.Now()
			checkFault(t, client.Call(t.Context(), req, resp), tally.KindTLS, tally.OutcomeNotSent)
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("Call() took %v, want about Limits.TLS at most", took)
			}
			fake.stop()
			if strings.Contains(server.text(), testKey) {
				t.Error("the key went over the wire as it is")
			}
		})
	}
}

// TestNoHTTP2 covers row 53: an upstream that speaks only HTTP/1.1, or no longer speaks HTTP/2.
func TestNoHTTP2(t *testing.T) {
	home := newAuthority(t)
	certificates := []tls.Certificate{home.issue(t, nil)}
	tests := []struct {
		name   string
		offers [][]string // what each connection offers, the last one again and again
		want   []string   // what the requests speak
	}{
		{"row 53: only HTTP/1.1", [][]string{{"http/1.1"}}, []string{"HTTP/1.1", "HTTP/1.1"}},
		{"row 53: no choice offered", [][]string{nil}, []string{"HTTP/1.1", "HTTP/1.1"}},
		{"row 53: HTTP/2 and then not", [][]string{{"h2", "http/1.1"}, {"http/1.1"}}, []string{"HTTP/2.0", "HTTP/1.1"}},
		{"row 53: HTTP/1.1 and then HTTP/2", [][]string{{"http/1.1"}, {"h2"}}, []string{"HTTP/1.1", "HTTP/2.0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var connections atomic.Int64
			seen := make(chan string, 3)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen <- r.Proto
				// Each request needs a connection of its own, so that each offer is made.
				w.Header().Set("Connection", "close")
				_, _ = io.WriteString(w, okForm)
			}))
			server.EnableHTTP2 = true
			server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				n := min(int(connections.Add(1)), len(test.offers))
				return &tls.Config{Certificates: certificates, NextProtos: test.offers[n-1]}, nil
			}}
			server.StartTLS()
			t.Cleanup(server.Close)
			leavesNothing(t)
			client := clientFor(t, server.URL, home.trusted)
			for i, call := range []func() (proto.Message, proto.Message){read, write} {
				req, resp := call()
				if err := client.Call(t.Context(), req, resp); err != nil {
					t.Fatalf("call %d: Call() = %v, want nil", i, err)
				}
				if got := <-seen; got != test.want[i] {
					t.Errorf("call %d: %s, want %s", i, got, test.want[i])
				}
			}
		})
	}
}
