package service

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// lookAgain is how long loaded certificates are taken for the newest.
const lookAgain = time.Second

// TLSFiles name what a server proves itself with and whom it lets in. The files are read again when they change; connections that
// are there go on. A change that cannot be used is logged and the last good one kept.
type TLSFiles struct {
	// Cert and Key hold the server's certificate chain and its private key, in PEM.
	Cert, Key string
	// ClientCA holds the authorities of callers' certificates, in PEM. Empty asks callers for none.
	ClientCA string
	// Optional lets callers in without a certificate, for a policy that takes other proofs of who they are; one that is shown must be
	// good all the same.
	Optional bool
	// Log is told of changes; may be nil.
	Log *slog.Logger
}

// Credentials reads the files and returns the server's credentials: TLS 1.2 at least, 1.3 where the caller can. It returns an error
// that names the file that cannot be used, never what is in it.
func (f TLSFiles) Credentials() (credentials.TransportCredentials, error) {
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	k := &keyring{files: f}
	if err := k.load(time.Now()); err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current(time.Now()), nil },
	}), nil
}

// keyring holds the configuration for the next handshake. It looks at the files itself when a caller arrives: a library's watcher
// would print the private key where certificate and key do not match, as they do for a moment when they are replaced one by one.
type keyring struct {
	files TLSFiles

	mu        sync.Mutex
	config    *tls.Config
	read      [3][]byte // what config was made of
	complaint string    // the last one, so that each is logged once
	looked    time.Time
}

func (k *keyring) current(now time.Time) *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.looked) >= lookAgain {
		if err := k.reload(now); err != nil {
			k.files.Log.Error("certificates cannot be used: the last good ones stay", slog.String("error", err.Error()))
		}
	}
	return k.config
}

func (k *keyring) load(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reload(now)
}

// reload takes what the files hold, if that is new. It returns each complaint once.
func (k *keyring) reload(now time.Time) error {
	k.looked = now
	content, err := k.files.read()
	if err == nil && k.config != nil && slices.EqualFunc(content[:], k.read[:], bytes.Equal) {
		k.complaint = ""
		return nil
	}
	var config *tls.Config
	if err == nil {
		config, err = k.files.config(content)
	}
	if err != nil {
		repeated := err.Error() == k.complaint
		k.complaint = err.Error()
		if repeated {
			return nil
		}
		return err
	}
	if k.config != nil {
		k.files.Log.Info("certificates were read again", slog.String("file", k.files.Cert))
	}
	k.config, k.read, k.complaint = config, content, ""
	return nil
}

// probe returns the credentials with which a process asks after another that has the same files: it trusts their certificate alone,
// whatever name it was called by, and shows it where callers must show one.
func (f TLSFiles) probe() (credentials.TransportCredentials, error) {
	own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", f.Cert, f.Key, err)
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       []tls.Certificate{own},
		InsecureSkipVerify: true, //nolint:gosec // the comparison below is stricter
		VerifyConnection: func(state tls.ConnectionState) error {
			if !bytes.Equal(state.PeerCertificates[0].Raw, own.Certificate[0]) {
				return fmt.Errorf("the server does not show the certificate of %s", f.Cert)
			}
			return nil
		},
	}), nil
}

// read returns the contents of certificate, key and authorities.
func (f TLSFiles) read() (content [3][]byte, err error) {
	for i, path := range []string{f.Cert, f.Key, f.ClientCA} {
		if path == "" {
			continue
		}
		data, failed := os.ReadFile(path) //nolint:gosec // the paths are the operator's
		if failed != nil {
			err = errors.Join(err, failed)
		}
		content[i] = data
	}
	return content, err
}

// config makes the configuration of one handshake.
func (f TLSFiles) config(content [3][]byte) (*tls.Config, error) {
	cert, err := tls.X509KeyPair(content[0], content[1])
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no certificate with its key in PEM: %w", f.Cert, f.Key, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if f.ClientCA == "" {
		return config, nil
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if f.Optional {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if !config.ClientCAs.AppendCertsFromPEM(content[2]) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", f.ClientCA)
	}
	return config, nil
}
