package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tallyd/tallyd/service/policy/identity"
)

// issuer signs tokens and publishes its keys.
type issuer struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{rsa: r, ec: e}
}

// set returns the public keys under their ids.
func (i *issuer) set(t testing.TB) []byte {
	t.Helper()
	return keySet(t,
		jose.JSONWebKey{Key: i.rsa.Public(), KeyID: "r", Use: "sig"}, jose.JSONWebKey{Key: i.ec.Public(), KeyID: "e", Use: "sig", Algorithm: "ES256"})
}

func keySet(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claims(change ...func(map[string]any)) map[string]any {
	c := map[string]any{
		"iss": "https://issuer", "aud": []string{"tallyd"}, "sub": "system:serviceaccount:shop:orders",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "nbf": time.Now().Unix(),
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func with(key string, value any) func(map[string]any) {
	return func(c map[string]any) { c[key] = value }
}

// sign returns a token; headers may say more than the library would.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c map[string]any, headers ...string) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		options.WithHeader(jose.HeaderKey(headers[i]), headers[i+1])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func jwtDoor(t testing.TB, config identity.JWTConfig) *door {
	t.Helper()
	source, err := identity.JWT(config)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, identity.New(source), "tcp", insecure.NewCredentials())
}

func (d *door) bear(t testing.TB, token string) string {
	t.Helper()
	return d.ask(t, insecure.NewCredentials(), "authorization", "Bearer "+token)
}

func unsigned(header string, c map[string]any) string {
	payload, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

// TestTokens holds which tokens prove somebody, and that each forged one is refused with a sentence.
func TestTokens(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, i.set(t))
	d := jwtDoor(t, identity.JWTConfig{Name: "k8s", Issuer: "https://issuer", Audience: "tallyd", JWKSFile: file})
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicKey(t, i.rsa.Public())})
	const (
		good      = "jwt jwt:k8s:system:serviceaccount:shop:orders"
		nobody    = "the call brings no identity that this service accepts"
		signature = "the bearer token is signed by no key of its issuer"
		algorithm = "the bearer token is signed by an algorithm that this service does not accept"
		noToken   = "the bearer token is no signed JSON Web Token"
		expired   = "the bearer token has expired"
		notYet    = "the bearer token is not valid yet"
	)
	ago, ahead := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	rs := func(c map[string]any, headers ...string) string {
		return sign(t, jose.RS256, i.rsa, "r", c, headers...)
	}
	tests := []struct {
		name, token, want string
	}{
		{"RS256", rs(claims()), good},
		{"ES256", sign(t, jose.ES256, i.ec, "e", claims()), good},
		{"without a key id", sign(t, jose.RS256, i.rsa, "", claims()), good},
		{"one audience of two", rs(claims(with("aud", []string{"other", "tallyd"}))), good},
		{"audience as text", rs(claims(with("aud", "tallyd"))), good},
		{"subject that looks like another kind", rs(claims(with("sub", "spiffe://prod/ns/shop/sa/orders"))), "jwt jwt:k8s:spiffe://prod/ns/shop/sa/orders"},
		{"none", unsigned(`{"alg":"none"}`, claims()), algorithm},
		{"None", unsigned(`{"alg":"None","kid":"r"}`, claims()), algorithm},
		{"public key as shared secret", sign(t, jose.HS256, publicPEM, "r", claims()), algorithm},
		{"algorithm not listed", sign(t, jose.PS256, i.rsa, "r", claims()), algorithm},
		{"key id of another key", sign(t, jose.RS256, i.rsa, "e", claims()), signature},
		{"unknown key id", sign(t, jose.RS256, i.rsa, "x", claims()), signature},
		{"another's key under a known id", sign(t, jose.RS256, other.rsa, "r", claims()), signature},
		{"jku", sign(t, jose.RS256, other.rsa, "r", claims(), "jku", "https://evil.example/keys"), signature},
		{"expired", rs(claims(with("exp", ago))), expired},
		{"of the future", rs(claims(with("nbf", ahead))), notYet},
		{"issued in the future", rs(claims(with("iat", ahead))), notYet},
		{"never expires", rs(claims(func(c map[string]any) { delete(c, "exp") })), "the bearer token never expires, which this service does not accept"},
		{"another audience", rs(claims(with("aud", "vault"))), "the bearer token is for another audience"},
		{"no audience", rs(claims(func(c map[string]any) { delete(c, "aud") })), "the bearer token is for another audience"},
		{"no subject", rs(claims(with("sub", ""))), "the bearer token names no subject"},
		{"another issuer", rs(claims(with("iss", "https://other"))), nobody},
		{"critical header", rs(claims(), "crit", "x"), signature},
		{"subject with a line break", rs(claims(with("sub", "a\nb"))), "the caller's name has spaces, control characters or more than 512 bytes"},
		{"no token", "x", noToken},
		{"too long", strings.Repeat("x", 17<<10), "the bearer token is too long"},
		{"cut", rs(claims())[:200], noToken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := d.bear(t, test.token); got != test.want {
				t.Errorf("the bearer is %q, want %q", got, test.want)
			}
		})
	}
	if got := d.ask(t, insecure.NewCredentials(), "authorization", "Bearer "+rs(claims()), "authorization", "Bearer "+rs(claims())); got != "the call brings several authorization headers" {
		t.Errorf("two headers: %q", got)
	}
	if got := d.ask(t, insecure.NewCredentials(), "authorization", "Basic eDp5"); got != nobody {
		t.Errorf("another scheme: %q, want nobody", got)
	}
}

func write(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func publicKey(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	data, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRotation holds that a new key counts at once, that a removed one counts no more, that the last good keys stay when the server of
// the keys is down, and that tokens of unknown keys do not hammer it.
func TestRotation(t *testing.T) {
	old, next := newIssuer(t), newIssuer(t)
	var published atomic.Value
	var asked, status atomic.Int64
	published.Store(old.set(t))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if code := int(status.Load()); code != 0 {
			w.WriteHeader(code)
			return
		}
		_, _ = w.Write(published.Load().([]byte))
	}))
	t.Cleanup(server.Close)
	clock := identity.NewClock(time.Now())
	source, err := identity.JWTAt(identity.JWTConfig{Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSURL: server.URL}, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, identity.New(source), "tcp", insecure.NewCredentials())
	first := sign(t, jose.RS256, old.rsa, "r", claims())
	const good, none = "jwt jwt:k:system:serviceaccount:shop:orders", "the bearer token is signed by no key of its issuer"
	for range 5 {
		if got := d.bear(t, first); got != good {
			t.Fatalf("the bearer is %q, want %q", got, good)
		}
	}
	published.Store(next.set(t))
	second := sign(t, jose.RS256, next.rsa, "r", claims())
	for range 5 {
		if got := d.bear(t, second); got != none {
			t.Errorf("a moment after a reading the new key's bearer is %q, want %q", got, none)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the server was asked %d times, want once: unknown keys must not hammer it", asked.Load())
	}
	clock.Add(11 * time.Second)
	if got := d.bear(t, second); got != good {
		t.Errorf("the new key's bearer is %q, want %q", got, good)
	}
	if got := d.bear(t, first); got != none {
		t.Errorf("the old key's bearer is %q, want %q, though it was remembered", got, none)
	}
	status.Store(500)
	clock.Add(6 * time.Minute)
	if got := d.bear(t, second); got != good {
		t.Errorf("with the server down the bearer is %q, want %q by the last good keys", got, good)
	}
}

// TestKeysThatNobodyHas holds that a first failure says so, and ends when the server comes up.
func TestKeysThatNobodyHas(t *testing.T) {
	i := newIssuer(t)
	var up atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() || r.Header.Get("Authorization") != "Bearer mine" {
			http.Redirect(w, r, "https://elsewhere.example", http.StatusFound)
			return
		}
		_, _ = w.Write(i.set(t))
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca, bearer := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	write(t, bearer, []byte("mine\n"))
	var log bytes.Buffer
	clock := identity.NewClock(time.Now())
	source, err := identity.JWTAt(identity.JWTConfig{
		Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSURL: server.URL, CAFile: ca, BearerFile: bearer,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	}, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, identity.New(source), "tcp", insecure.NewCredentials())
	token := sign(t, jose.RS256, i.rsa, "r", claims())
	if got := d.bear(t, token); got != "the keys of the bearer token's issuer cannot be read at the moment" {
		t.Errorf("without keys: %q", got)
	}
	up.Store(true)
	clock.Add(11 * time.Second)
	if got := d.bear(t, token); got != "jwt jwt:k:system:serviceaccount:shop:orders" {
		t.Errorf("with keys: %q", got)
	}
	if text := log.String(); !strings.Contains(text, "answers 302") || strings.Contains(text, "mine") || strings.Contains(text, "elsewhere") {
		t.Errorf("the log says %s, want the status and nothing secret", text)
	}
}

// TestBadJWTConfig holds that what would let anybody in, or nobody, is refused at start.
func TestBadJWTConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, newIssuer(t).set(t))
	empty := filepath.Join(t.TempDir(), "empty.json")
	write(t, empty, []byte(`{"keys":[]}`))
	whole := identity.JWTConfig{Name: "k", Issuer: "i", Audience: "a", JWKSFile: file}
	tests := []struct {
		name   string
		change func(*identity.JWTConfig)
		want   string
	}{
		{"none", func(c *identity.JWTConfig) { c.Algorithms = []string{"none"} }, "algorithm none"},
		{"shared secret", func(c *identity.JWTConfig) { c.Algorithms = []string{"RS256", "HS512"} }, "algorithm HS512"},
		{"no audience", func(c *identity.JWTConfig) { c.Audience = "" }, "audience are required"},
		{"no keys", func(c *identity.JWTConfig) { c.JWKSFile = "" }, "exactly one of"},
		{"two places", func(c *identity.JWTConfig) { c.JWKSURL = "https://x" }, "exactly one of"},
		{"plain http", func(c *identity.JWTConfig) { c.JWKSFile, c.JWKSURL = "", "http://issuer.example/keys" }, "must be an https address"},
		{"no file", func(c *identity.JWTConfig) { c.JWKSFile += "x" }, "no such file"},
		{"empty set", func(c *identity.JWTConfig) { c.JWKSFile = empty }, "holds no key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := whole
			test.change(&config)
			if _, err := identity.JWT(config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("JWT() = %v, want an error with %q", err, test.want)
			}
		})
	}
}
