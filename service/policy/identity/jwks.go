package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysAge is how long a reading of a URL is taken for the newest.
	keysAge = 5 * time.Minute
	// fileAge is how long a reading of a file is.
	fileAge = time.Second
	// renewAge is how soon keys may be read again for a token that none of them signed, or after a failure: whoever sends such tokens
	// must not hammer the issuer.
	renewAge = 10 * time.Second
	// fetchTimeout bounds one reading.
	fetchTimeout = 5 * time.Second
	// maxKeys bounds the answer, in bytes.
	maxKeys = 1 << 20
)

// keySet is an issuer's public keys, read when they are needed. The last good ones stay when they cannot be read.
type keySet struct {
	config JWTConfig
	client *http.Client
	age    time.Duration
	now    func() time.Time

	reading sync.Mutex // held by the one who reads
	mu      sync.Mutex
	keys    *jose.JSONWebKeySet
	text    string
	number  int // of the reading that brought other keys
	looked  time.Time
}

func newKeySet(config JWTConfig, now func() time.Time) (*keySet, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	k := &keySet{config: config, age: fileAge, now: now}
	if (config.JWKSFile == "") == (config.JWKSURL == "") {
		return nil, errors.New("exactly one of jwks_file and jwks_url is required")
	}
	if config.JWKSFile != "" {
		return k, k.read(context.Background())
	}
	address, err := url.Parse(config.JWKSURL)
	if err != nil || address.Host == "" || address.Scheme != "https" && (address.Scheme != "http" || !isLoopback(address.Hostname())) {
		return nil, errors.New("jwks_url must be an https address, or http on this machine")
	}
	transport := &http.Transport{
		TLSHandshakeTimeout: fetchTimeout, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if config.CAFile != "" {
		authorities, err := os.ReadFile(config.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", config.CAFile)
		}
	}
	k.age = keysAge
	k.client = &http.Client{
		Transport: transport, Timeout: fetchTimeout,
		// A token for one server must not travel to another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return k, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (k *keySet) close() {
	if k.client != nil {
		k.client.CloseIdleConnections()
	}
}

// current returns the keys and the number of their reading. One call reads them anew when they are too old; others meanwhile use what
// is there, or wait if nothing is.
func (k *keySet) current(ctx context.Context) (*jose.JSONWebKeySet, int, error) {
	keys, number, looked := k.held()
	if age := k.now().Sub(looked); age < k.age && (keys != nil || age < renewAge) {
		return keys, number, missing(keys)
	}
	if keys != nil && !k.reading.TryLock() {
		return keys, number, nil
	} else if keys == nil {
		k.reading.Lock()
	}
	defer k.reading.Unlock()
	return k.look(ctx, looked)
}

// renewed returns keys that were read after those of a reading, unless they were read a moment ago.
func (k *keySet) renewed(ctx context.Context, after int) (*jose.JSONWebKeySet, int, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	keys, number, looked := k.held()
	if number != after || k.now().Sub(looked) < min(renewAge, k.age) {
		return keys, number, missing(keys)
	}
	return k.look(ctx, looked)
}

// look reads the keys unless somebody else did while this call waited.
func (k *keySet) look(ctx context.Context, before time.Time) (*jose.JSONWebKeySet, int, error) {
	if _, _, looked := k.held(); looked.Equal(before) {
		if err := k.read(ctx); err != nil {
			k.config.Log.Error("the keys of an issuer of tokens cannot be read: the last good ones stay",
				slog.String("issuer", k.config.Name), slog.String("error", err.Error()))
		}
	}
	keys, number, _ := k.held()
	return keys, number, missing(keys)
}

func missing(keys *jose.JSONWebKeySet) error {
	if keys == nil {
		return errKeysMissing
	}
	return nil
}

func (k *keySet) held() (*jose.JSONWebKeySet, int, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys, k.number, k.looked
}

// read takes the keys as they are now.
func (k *keySet) read(ctx context.Context) error {
	text, err := k.fetch(ctx)
	keys := &jose.JSONWebKeySet{}
	if err == nil {
		if json.Unmarshal(text, keys) != nil {
			err = errors.New("what is there is no JSON Web Key Set")
		} else if len(keys.Keys) == 0 {
			err = errors.New("the JSON Web Key Set holds no key that can be used")
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked = k.now()
	if err != nil {
		return err
	}
	if k.keys == nil || string(text) != k.text {
		k.keys, k.text = keys, string(text)
		k.number++
	}
	return nil
}

// fetch returns the bytes of the file or the URL. It outlives the call that it was made for, since others wait for it too.
func (k *keySet) fetch(ctx context.Context) ([]byte, error) {
	if k.client == nil {
		return os.ReadFile(k.config.JWKSFile)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.config.JWKSURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	if k.config.BearerFile != "" {
		token, err := os.ReadFile(k.config.BearerFile)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, hostOnly(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server of the keys answers %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	if err == nil && len(text) > maxKeys {
		err = fmt.Errorf("the key set is larger than %d bytes", maxKeys)
	}
	return text, err
}

// hostOnly keeps what an address may hold beside the host out of the log.
func hostOnly(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
