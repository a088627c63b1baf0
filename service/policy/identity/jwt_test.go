package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tallyd/tallyd/service/policy/identity"
)

// issuer signs tokens and publishes its keys.
type issuer struct {
	rsa  *rsa.PrivateKey
	ec   *ecdsa.PrivateKey
	p384 *ecdsa.PrivateKey
	ed   ed25519.PrivateKey
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
	p, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{rsa: r, ec: e, p384: p, ed: d}
}

// set returns the public keys under their ids; those of p and d name no algorithm.
func (i *issuer) set(t testing.TB) []byte {
	t.Helper()
	return keySet(t,
		jose.JSONWebKey{Key: i.rsa.Public(), KeyID: "r", Use: "sig"}, jose.JSONWebKey{Key: i.ec.Public(), KeyID: "e", Use: "sig", Algorithm: "ES256"},
		jose.JSONWebKey{Key: i.p384.Public(), KeyID: "p"}, jose.JSONWebKey{Key: i.ed.Public(), KeyID: "d"})
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
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c any, headers ...any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		options.WithHeader(jose.HeaderKey(headers[i].(string)), headers[i+1])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	var token string
	if raw, isRaw := c.(json.RawMessage); isRaw {
		signed, signErr := signer.Sign(raw)
		if signErr != nil {
			t.Fatal(signErr)
		}
		token, err = signed.CompactSerialize()
	} else {
		token, err = jwt.Signed(signer).Claims(c).Serialize()
	}
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

// bear calls with a token, and holds that no part of it comes back.
func (d *door) bear(t testing.TB, token string) string {
	t.Helper()
	got := d.ask(t, insecure.NewCredentials(), "authorization", "Bearer "+token)
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(got, part) {
			t.Errorf("the server's verdict %q repeats the token", got)
		}
	}
	return got
}

func payload(t testing.TB, c map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unsigned(t testing.TB, header string, c map[string]any) string {
	t.Helper()
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload(t, c)) + "."
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
		demands   = "the bearer token demands extensions that this service does not know"
		expired   = "the bearer token has expired"
		notYet    = "the bearer token is not valid yet"
	)
	ago, ahead := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	embedding, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: other.rsa}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := jwt.Signed(embedding).Claims(claims()).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	rs := func(c any, headers ...any) string {
		return sign(t, jose.RS256, i.rsa, "r", c, headers...)
	}
	tests := []struct {
		name, token, want string
	}{
		{"RS256", rs(claims()), good},
		{"ES256", sign(t, jose.ES256, i.ec, "e", claims()), good},
		{"EdDSA", sign(t, jose.EdDSA, i.ed, "d", claims()), good},
		{"expired within the leeway", rs(claims(with("exp", in(-20*time.Second)))), good},
		{"expired beyond the leeway", rs(claims(with("exp", in(-40*time.Second)))), expired},
		{"early within the leeway", rs(claims(with("nbf", in(20*time.Second)), with("iat", in(20*time.Second)))), good},
		{"early beyond the leeway", rs(claims(with("nbf", in(40*time.Second)))), notYet},
		{"without a key id", sign(t, jose.RS256, i.rsa, "", claims()), good},
		{"one audience of two", rs(claims(with("aud", []string{"other", "tallyd"}))), good},
		{"audience as text", rs(claims(with("aud", "tallyd"))), good},
		{"subject that looks like another kind", rs(claims(with("sub", "spiffe://prod/ns/shop/sa/orders"))), "jwt jwt:k8s:spiffe://prod/ns/shop/sa/orders"},
		{"none", unsigned(t, `{"alg":"none"}`, claims()), algorithm},
		{"None", unsigned(t, `{"alg":"None","kid":"r"}`, claims()), algorithm},
		{"public key as shared secret", sign(t, jose.HS256, publicPEM, "r", claims()), algorithm},
		{"algorithm not listed", sign(t, jose.PS256, i.rsa, "r", claims()), algorithm},
		{"key id of another key", sign(t, jose.RS256, i.rsa, "e", claims()), signature},
		{"RS256 by the id of an EC key of no algorithm", sign(t, jose.RS256, i.rsa, "p", claims()), signature},
		{"ES256 by the id of a P-384 key", sign(t, jose.ES256, i.ec, "p", claims()), signature},
		{"ES256 by the id of an Ed25519 key", sign(t, jose.ES256, i.ec, "d", claims()), signature},
		{"ES256 by the id of an RSA key", sign(t, jose.ES256, i.ec, "r", claims()), signature},
		{"unknown key id", sign(t, jose.RS256, i.rsa, "x", claims()), signature},
		{"another's key under a known id", sign(t, jose.RS256, other.rsa, "r", claims()), signature},
		{"jku", sign(t, jose.RS256, other.rsa, "r", claims(), "jku", "https://evil.example/keys"), signature},
		{"x5u", sign(t, jose.RS256, other.rsa, "r", claims(), "x5u", "https://evil.example/cert"), signature},
		{"jwk", embedded, signature},
		{"claim of another type", rs(claims(with("exp", "tomorrow"))), noToken},
		{"claim twice", rs(json.RawMessage(strings.Replace(string(payload(t, claims())), "{", `{"sub":"admin",`, 1))), noToken},
		{"issuer in capitals", rs(claims(with("ISS", "https://issuer"), func(c map[string]any) { delete(c, "iss") })), nobody},
		{"audience in capitals", rs(claims(with("aud", "TALLYD"))), "the bearer token is for another audience"},
		{"audience with more", rs(claims(with("aud", "tallyd/"))), "the bearer token is for another audience"},
		{"expired", rs(claims(with("exp", ago))), expired},
		{"of the future", rs(claims(with("nbf", ahead))), notYet},
		{"issued in the future", rs(claims(with("iat", ahead))), notYet},
		{"never expires", rs(claims(func(c map[string]any) { delete(c, "exp") })), "the bearer token never expires, which this service does not accept"},
		{"another audience", rs(claims(with("aud", "vault"))), "the bearer token is for another audience"},
		{"no audience", rs(claims(func(c map[string]any) { delete(c, "aud") })), "the bearer token is for another audience"},
		{"no subject", rs(claims(with("sub", ""))), "the bearer token names no subject"},
		{"another issuer", rs(claims(with("iss", "https://other"))), nobody},
		{"critical extension", rs(claims(), "crit", []string{"x"}, "x", "y"), demands},
		{"critical extension that the library knows", rs(claims(), "crit", []string{"b64"}, "b64", true), demands},
		{"extension of the library, not even critical", rs(claims(), "b64", true), demands},
		{"critical nonsense", rs(claims(), "crit", "x"), demands},
		{"subject with a line break", rs(claims(with("sub", "a\nb"))), "the caller's name has spaces, control characters or more than 512 bytes"},
		{"long subject", rs(claims(with("sub", strings.Repeat("a", 512)))), "the caller's name has spaces, control characters or more than 512 bytes"},
		{"no token", "x", noToken},
		{"empty", "", noToken},
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

// TestBadJWTConfig holds that what would let anybody in, or nobody, is refused at start.
func TestBadJWTConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, newIssuer(t).set(t))
	empty := filepath.Join(t.TempDir(), "empty.json")
	write(t, empty, []byte(`{"keys":[]}`))
	private := filepath.Join(t.TempDir(), "private.json")
	write(t, private, keySet(t, jose.JSONWebKey{Key: newIssuer(t).ec, KeyID: "e"}))
	whole := identity.JWTConfig{Name: "k", Issuer: "i", Audience: "a", JWKSFile: file}
	tests := []struct {
		name   string
		change func(*identity.JWTConfig)
		want   string
	}{
		{"none", func(c *identity.JWTConfig) { c.Algorithms = []string{"none"} }, "algorithm none"},
		{"shared secret", func(c *identity.JWTConfig) { c.Algorithms = []string{"RS256", "HS512"} }, "algorithm HS512"},
		{"shared secret in small letters", func(c *identity.JWTConfig) { c.Algorithms = []string{"hs256"} }, "algorithm hs256"},
		{"misspelt algorithm", func(c *identity.JWTConfig) { c.Algorithms = []string{"RS257"} }, `algorithm "RS257" is not known`},
		{"name with a colon", func(c *identity.JWTConfig) { c.Name = "a:b" }, "without a colon"},
		{"http elsewhere with a local user", func(c *identity.JWTConfig) { c.JWKSFile, c.JWKSURL = "", "http://127.0.0.1@issuer.example/" }, "must be an https"},
		{"no audience", func(c *identity.JWTConfig) { c.Audience = "" }, "audience are required"},
		{"no keys", func(c *identity.JWTConfig) { c.JWKSFile = "" }, "exactly one of"},
		{"private keys alone", func(c *identity.JWTConfig) { c.JWKSFile = private }, "holds no key"},
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
