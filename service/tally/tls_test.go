package tally_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/tally"
)

// authority is a certificate authority of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	key := newECKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for a host, valid until an hour from now unless change says otherwise.
func (a *authority) issue(t *testing.T, host string, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	key := newECKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// tlsTally starts a Tally that speaks TLS as config says, and returns its address and the number of requests that came through.
func tlsTally(t *testing.T, config *tls.Config) (string, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		answers(http.StatusOK, okForm)(w, nil)
	}))
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return "https://localhost" + server.URL[strings.LastIndex(server.URL, ":"):], &requests
}

// TestTLS covers rows 45 and 53: a handshake that fails for any reason sends nothing, the key least of all.
func TestTLS(t *testing.T) {
	trusted, stranger := newAuthority(t), newAuthority(t)
	good := trusted.issue(t, "localhost", nil)
	serve := func(cert tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{cert}} }
	expired := trusted.issue(t, "localhost", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	future := trusted.issue(t, "localhost", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	client := trusted.issue(t, "localhost", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	tests := []struct {
		name   string
		config *tls.Config
		want   tally.Kind
	}{
		{"good", serve(good), 0},
		{"row 53: HTTP/1.1 alone", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"http/1.1"}}, 0},
		{"expired", serve(expired), tally.KindTLS},
		{"not valid yet", serve(future), tally.KindTLS},
		{"other name", serve(trusted.issue(t, "tally.example", nil)), tally.KindTLS},
		{"unknown authority", serve(stranger.issue(t, "localhost", nil)), tally.KindTLS},
		{"certificate of a client", serve(client), tally.KindTLS},
		{"TLS 1.1", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, tally.KindTLS},
		{"wants a certificate of ours", &tls.Config{
			Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12,
		}, tally.KindTLS},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			address, requests := tlsTally(t, test.config)
			client := clientFor(t, address, func(c *tally.Config) { c.TLS = &tls.Config{RootCAs: trusted.pool()} })
			req, resp := write()
			checkFault(t, client.Call(t.Context(), req, resp), test.want, tally.OutcomeNotSent)
			want := int64(0)
			if test.want == 0 {
				want = 1
			}
			if got := requests.Load(); got != want {
				t.Errorf("Tally saw %d requests, want %d", got, want)
			}
		})
	}
}

// TestHangingHandshake is row 45 with a peer that says nothing: the time limit for the handshake ends it.
func TestHangingHandshake(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan []byte, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		all, _ := io.ReadAll(conn)
		heard <- all
	}()
	client := clientFor(t, "https://"+listener.Addr().String(), func(c *tally.Config) { c.Limits.TLS = 100 * time.Millisecond })
	req, resp := write()
	checkFault(t, client.Call(t.Context(), req, resp), tally.KindTLS, tally.OutcomeNotSent)
	if got := <-heard; strings.Contains(string(got), testKey) {
		t.Error("the key went to a peer that never proved who it is")
	}
}
