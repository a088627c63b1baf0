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
	// renewAge is how soon keys may be read again for a token that none of them signed, or when there are none: whoever sends such
	// tokens must not hammer the issuer.
	renewAge = 10 * time.Second
	// failedAge is how soon keys are read again after a failure. The call that reads may wait for fetchTimeout, so this is not less.
	failedAge = time.Minute
	// fetchTimeout bounds one reading.
	fetchTimeout = 5 * time.Second
	// maxKeys and maxHeaders bound the answer, in bytes.
	maxKeys    = 1 << 20
	maxHeaders = 64 << 10
)

// keySet is an issuer's public keys, read when they are needed. The last good ones stay when they cannot be read.
type keySet struct {
	config JWTConfig
	client *http.Client
	age    time.Duration
	now    func() time.Time

	busy      chan struct{} // holds something while somebody reads
	complaint string        // the last one, so that each is logged once; of the one who reads

	mu   sync.Mutex
	last reading
	text string // of the last good reading
}

// reading is what is known of the keys.
type reading struct {
	set    []jose.JSONWebKey // nil if they were never read
	number int               // of the reading that brought other keys than the one before
	looked time.Time
	failed bool // whether the look brought nothing
}

func (r reading) missing() error {
	if r.set == nil {
		return errKeysMissing
	}
	return nil
}

func newKeySet(config JWTConfig, now func() time.Time) (*keySet, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	k := &keySet{config: config, age: fileAge, now: now, busy: make(chan struct{}, 1)}
	if (config.JWKSFile == "") == (config.JWKSURL == "") {
		return nil, errors.New("exactly one of jwks_file and jwks_url is required")
	}
	if config.JWKSFile != "" {
		if err := k.read(context.Background()); err != nil {
			return nil, err
		}
		if len(k.last.set) == 0 {
			return nil, fmt.Errorf("%s holds no key that can be used", config.JWKSFile)
		}
		return k, nil
	}
	address, err := url.Parse(config.JWKSURL)
	if err != nil || address.Host == "" || address.Scheme != "https" && (address.Scheme != "http" || !isLoopback(address.Hostname())) {
		return nil, errors.New("jwks_url must be an https address, or http on this machine")
	}
	transport := &http.Transport{
		TLSHandshakeTimeout: fetchTimeout, IdleConnTimeout: fetchTimeout, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: maxHeaders,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
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

// due tells whether a reading is too old.
func (k *keySet) due(r reading) bool {
	age := k.age
	switch {
	case r.set == nil:
		age = min(age, renewAge)
	case r.failed:
		age = min(age, failedAge)
	}
	return k.now().Sub(r.looked) >= age
}

// current returns the keys. One call reads them anew when they are too old; others meanwhile use what is there, or wait if nothing is.
func (k *keySet) current(ctx context.Context) (reading, error) {
	held := k.held()
	if !k.due(held) {
		return held, held.missing()
	}
	if held.set == nil {
		return k.inTurn(ctx, k.due)
	}
	select {
	case k.busy <- struct{}{}:
		defer func() { <-k.busy }()
		return k.look(ctx, k.due)
	default:
		return held, nil
	}
}

// renewed returns keys that were read a moment ago.
func (k *keySet) renewed(ctx context.Context) (reading, error) {
	return k.inTurn(ctx, func(held reading) bool { return k.now().Sub(held.looked) >= min(renewAge, k.age) })
}

// inTurn waits for the one who reads, but no longer than the call lasts, and then reads if that is still wanted.
func (k *keySet) inTurn(ctx context.Context, wanted func(reading) bool) (reading, error) {
	select {
	case k.busy <- struct{}{}:
		defer func() { <-k.busy }()
		return k.look(ctx, wanted)
	case <-ctx.Done():
		return reading{}, errKeysMissing
	}
}

// look reads the keys if that is wanted, for somebody else may have done so. A complaint is logged when it is a new one.
func (k *keySet) look(ctx context.Context, wanted func(reading) bool) (reading, error) {
	if wanted(k.held()) {
		complaint := ""
		if err := k.read(ctx); err != nil {
			complaint = err.Error()
		}
		if complaint != "" && complaint != k.complaint {
			k.config.Log.Error("the keys of an issuer of tokens cannot be read: the last good ones stay",
				slog.String("issuer", k.config.Name), slog.String("error", complaint))
		}
		k.complaint = complaint
	}
	held := k.held()
	return held, held.missing()
}

func (k *keySet) held() reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// read takes the keys as they are now.
func (k *keySet) read(ctx context.Context) error {
	text, err := k.fetch(ctx)
	var keys []jose.JSONWebKey
	if err == nil {
		keys, err = parseKeys(text)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last.looked, k.last.failed = k.now(), err != nil
	if err != nil {
		return err
	}
	if k.last.set == nil || string(text) != k.text {
		k.last.set, k.text = keys, string(text)
		k.last.number++
	}
	return nil
}

// parseKeys returns the public keys for signatures in a key set, and no error when there are none: an issuer may revoke them all. A key
// of a kind that is not understood is passed over, as RFC 7517 section 5 has it, lest it take the others along.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil || set.Keys == nil {
		return nil, errors.New("what is there is no JSON Web Key Set")
	}
	keys := []jose.JSONWebKey{}
	for _, one := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) == nil && key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	return keys, nil
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
