// Command certificates makes the certificates of the policy guide: an authority, the server's, and one for each caller. They are for a
// trial; in production a mesh or an issuer such as cert-manager makes them.
//
// usage: go run ./examples/policy/certificates DIR
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: certificates DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// names are what each certificate says of its owner.
var names = []struct {
	file, spiffe string
	dns          []string
}{
	{file: "server", dns: []string{"localhost"}},
	{file: "orders", spiffe: "spiffe://example.org/ns/shop/sa/orders"},
	{file: "desk", spiffe: "spiffe://example.org/ns/crm/sa/desk"},
	{file: "hiring", dns: []string{"hiring.example.org"}},
	{file: "stranger", dns: []string{"stranger.example.org"}},
}

// write makes the authority and signs what the others need.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // the folder is what the user asks for
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := template(1)
	authority.Subject = pkix.Name{CommonName: "Trial authority"}
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	signed, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "ca.pem"), "CERTIFICATE", signed); err != nil {
		return err
	}
	for i, name := range names {
		leaf := template(int64(i + 2))
		leaf.Subject, leaf.DNSNames = pkix.Name{CommonName: name.file}, name.dns
		leaf.KeyUsage = x509.KeyUsageDigitalSignature
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if name.file == "server" {
			leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		}
		if name.spiffe != "" {
			id, err := url.Parse(name.spiffe)
			if err != nil {
				return err
			}
			leaf.URIs = []*url.URL{id}
		}
		if err := sign(dir, name.file, leaf, authority, key); err != nil {
			return err
		}
	}
	return nil
}

func template(serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
	}
}

// sign writes a certificate with a key of its own.
func sign(dir, file string, leaf, authority *x509.Certificate, by *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), by)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, file+".pem"), "CERTIFICATE", signed); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, file+".key"), "PRIVATE KEY", private)
}

func writePEM(path, kind string, data []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600) //nolint:gosec // the same
}
