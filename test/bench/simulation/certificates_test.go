package simulation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs the certificates by which the five clients prove who they are.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{serial: 1}
	own := a.template("authority")
	own.IsCA, own.BasicConstraintsValid, own.KeyUsage = true, true, x509.KeyUsageCertSign
	a.certificate = own
	signed := a.sign(t, own)
	a.key = signed.PrivateKey.(*ecdsa.PrivateKey)
	a.certificate = signed.Leaf
	return a
}

func (a *authority) template(name string) *x509.Certificate {
	a.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// sign returns a certificate with a key of its own; the first is the authority's and signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(signed)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key, Leaf: leaf}
}

// client returns what a client shows and whom it trusts.
func (a *authority) client(t *testing.T, spiffe string) *tls.Config {
	t.Helper()
	id, err := url.Parse(spiffe)
	if err != nil {
		t.Fatal(err)
	}
	leaf := a.template("client")
	leaf.URIs = []*url.URL{id}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	return &tls.Config{Certificates: []tls.Certificate{a.sign(t, leaf)}, RootCAs: roots, MinVersion: tls.VersionTLS13}
}

// flags writes the server's certificate and what it checks clients against, and returns the flags that name the files.
func (a *authority) flags(t *testing.T) []string {
	t.Helper()
	leaf := a.template("tallyd")
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	signed := a.sign(t, leaf)
	private, err := x509.MarshalPKCS8PrivateKey(signed.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var flags []string
	for _, f := range []struct {
		flag, kind string
		data       []byte
	}{
		{"--tls-cert", "CERTIFICATE", signed.Certificate[0]},
		{"--tls-key", "PRIVATE KEY", private},
		{"--tls-client-ca", "CERTIFICATE", a.certificate.Raw},
	} {
		path := filepath.Join(dir, f.flag[2:]+".pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.data}), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, f.flag, path)
	}
	return flags
}
