package service_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tallyd/tallyd/service"
)

// office issues certificates that a test's own authority signs.
type office struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newOffice(t *testing.T, name string) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir()}
	o.key = o.newKey()
	o.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	o.write("ca.pem", "CERTIFICATE", o.sign(o.cert, o.key))
	return o
}

func (o *office) newKey() *ecdsa.PrivateKey {
	o.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	return key
}

func (o *office) sign(template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	o.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, o.cert, key.Public(), o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return der
}

func (o *office) write(name, kind string, der []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// issue writes a certificate with its key as NAME.pem and NAME.key, with the given serial number.
func (o *office) issue(name string, serial int64) (cert, key string) {
	o.t.Helper()
	private := o.newKey()
	der := o.sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, private)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.write(name+".pem", "CERTIFICATE", der), o.write(name+".key", "PRIVATE KEY", pkcs8)
}

func (o *office) path(name string) string { return filepath.Join(o.dir, name) }

// client returns the TLS configuration of a caller that trusts the office and may show a certificate.
func (o *office) client(certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	data, err := os.ReadFile(o.path("ca.pem"))
	if err != nil || !pool.AppendCertsFromPEM(data) {
		o.t.Fatalf("authority: %v", err)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: certs, MinVersion: tls.VersionTLS12}
}

func (o *office) load(name string) tls.Certificate {
	o.t.Helper()
	cert, err := tls.LoadX509KeyPair(o.path(name+".pem"), o.path(name+".key"))
	if err != nil {
		o.t.Fatal(err)
	}
	return cert
}

// overTLS serves with the files and calls with the configuration.
func overTLS(t *testing.T, files service.TLSFiles, client *tls.Config) error {
	t.Helper()
	creds, err := files.Credentials()
	if err != nil {
		t.Fatalf("Credentials() = %v, want nil", err)
	}
	w := newWorld(t, body(`{"id":"f1"}`), func(c *service.Config) { c.Credentials = creds })
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(credentials.NewTLS(client)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return getForm("f1")(ctx, &world{conn: conn})
}

// TestTLS tries callers that may and may not come in.
func TestTLS(t *testing.T) {
	own, stranger := newOffice(t, "own"), newOffice(t, "stranger")
	cert, key := own.issue("server", 2)
	own.issue("caller", 3)
	stranger.issue("caller", 3)
	open := service.TLSFiles{Cert: cert, Key: key}
	mutual := service.TLSFiles{Cert: cert, Key: key, ClientCA: own.path("ca.pem")}
	old := own.client()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	tests := []struct {
		name   string
		files  service.TLSFiles
		client *tls.Config
		want   codes.Code
	}{
		{"anybody", open, own.client(), codes.OK},
		{"server that the caller does not trust", open, stranger.client(), codes.Unavailable},
		{"TLS 1.1", open, old, codes.Unavailable},
		{"caller with a certificate", mutual, own.client(own.load("caller")), codes.OK},
		{"caller without a certificate", mutual, own.client(), codes.Unavailable},
		{"caller with another authority's certificate", mutual, own.client(stranger.load("caller")), codes.Unavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := overTLS(t, test.files, test.client); status.Code(err) != test.want {
				t.Errorf("GetForm() = %v, want %v", err, test.want)
			}
		})
	}
}

// TestProbeOverTLS asks a server that wants to see certificates with its own, and refuses one that shows another.
func TestProbeOverTLS(t *testing.T) {
	o := newOffice(t, "own")
	cert, key := o.issue("server", 2)
	otherCert, otherKey := o.issue("other", 3)
	files := service.TLSFiles{Cert: cert, Key: key, ClientCA: o.path("ca.pem")}
	creds, err := files.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, body("{}"), func(c *service.Config) { c.Credentials = creds })
	tests := []struct {
		name  string
		files service.TLSFiles
		want  string
	}{
		{"its own", files, ""},
		{"another's", service.TLSFiles{Cert: otherCert, Key: otherKey}, "does not show the certificate"},
		{"none", service.TLSFiles{}, "Unavailable"},
		{"not there", service.TLSFiles{Cert: o.path("none"), Key: key}, o.path("none")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := service.Probe(ctx, w.address, "", test.files)
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Probe() = %v, want %q", err, test.want)
			}
		})
	}
}

func TestBadTLSFiles(t *testing.T) {
	o := newOffice(t, "own")
	cert, key := o.issue("server", 2)
	_, other := o.issue("other", 3)
	empty := o.write("empty.pem", "NOTHING", nil)
	tests := []struct {
		name  string
		files service.TLSFiles
		want  string
	}{
		{"no certificate", service.TLSFiles{Cert: o.path("none"), Key: key}, o.path("none")},
		{"no key", service.TLSFiles{Cert: cert, Key: o.path("none")}, o.path("none")},
		{"key of another", service.TLSFiles{Cert: cert, Key: other}, "are no certificate with its key"},
		{"no authority", service.TLSFiles{Cert: cert, Key: key, ClientCA: empty}, empty + " holds no certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.files.Credentials()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Credentials() = %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestCertificatesAreReadAgain replaces the files under a server: the next handshake shows the new certificate, files that do not fit
// together keep the old one and are complained of once, and neither complaint nor log holds the private key.
func TestCertificatesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "own")
		cert, key := o.issue("server", 2)
		var log lockedBuffer
		creds, err := service.TLSFiles{Cert: cert, Key: key, Log: slog.New(slog.NewTextHandler(&log, nil))}.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		wantSerial := func(want int64) {
			t.Helper()
			time.Sleep(2 * time.Second)
			if got := serialShown(t, creds, o.client()); got != want {
				t.Errorf("the server shows certificate %d, want %d", got, want)
			}
		}
		wantSerial(2)
		old, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		o.issue("server", 4)
		wantSerial(4)
		if err := os.WriteFile(key, old, 0o600); err != nil {
			t.Fatal(err)
		}
		wantSerial(4)
		wantSerial(4)
		if n := strings.Count(log.String(), "cannot be used"); n != 1 {
			t.Errorf("the log complains %d times, want once:\n%s", n, &log)
		}
		o.issue("server", 5)
		wantSerial(5)
		if strings.Contains(log.String(), strings.Split(string(old), "\n")[1]) {
			t.Error("the log holds the private key")
		}
	})
}

// serialShown makes one handshake with a server and returns the serial number of its certificate.
func serialShown(t *testing.T, server credentials.TransportCredentials, client *tls.Config) int64 {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	served := make(chan error, 1)
	go func() {
		conn, _, err := server.ServerHandshake(theirs)
		served <- err
		if err == nil {
			conn.Close()
		}
	}()
	client.NextProtos = []string{"h2"}
	conn := tls.Client(ours, client)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("handshake = %v, want nil", err)
	}
	if err := <-served; err != nil {
		t.Fatalf("ServerHandshake() = %v, want nil", err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}
