package identity_test

import (
	"bytes"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tallyd/tallyd/service/policy/identity"
)

// TestIssuers holds that a token's issuer selects who judges it, that the verdict is final, and that a token of nobody's issuer leaves
// the word to the next source.
func TestIssuers(t *testing.T) {
	a, b, xfcc := newIssuer(t), newIssuer(t), identity.XFCC(identity.DefaultPeers())
	source := func(name, issuer string, keys *issuer) identity.Source {
		made, err := identity.JWT(identity.JWTConfig{Name: name, Issuer: issuer, Audience: "tallyd", JWKSURL: serveKeys(t, keys.set(t)).url})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	d := open(t, identity.New(source("a", "https://a", a), source("b", "https://b", b), xfcc), "tcp", insecure.NewCredentials())
	tests := []struct {
		name, token, want string
	}{
		{"of the first", sign(t, jose.RS256, a.rsa, "r", claims(with("iss", "https://a"), with("sub", "x"))), "jwt jwt:a:x"},
		{"of the second", sign(t, jose.RS256, b.rsa, "r", claims(with("iss", "https://b"), with("sub", "x"))), "jwt jwt:b:x"},
		{"an id as subject", sign(t, jose.RS256, b.rsa, "r", claims(with("iss", "https://b"), with("sub", "spiffe://prod/a"))), "jwt jwt:b:spiffe://prod/a"},
		{"the first's key in the second's name", sign(t, jose.RS256, a.rsa, "r", claims(with("iss", "https://b"))), byNoKey},
		{"expired", sign(t, jose.RS256, a.rsa, "r", claims(with("iss", "https://a"), with("exp", 1))), "the bearer token has expired"},
		{"none", unsigned(t, `{"alg":"none"}`, claims(with("iss", "https://a"))), "the bearer token is signed by an algorithm that this service does not accept"},
		{"malformed", "x.y", "the bearer token is no signed JSON Web Token"},
		{"empty", "", "the bearer token is no signed JSON Web Token"},
		{"of nobody's issuer", sign(t, jose.RS256, a.rsa, "r", claims()), "xfcc spiffe://prod/proxy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := d.ask(t, insecure.NewCredentials(), "authorization", "Bearer "+test.token, "x-forwarded-client-cert", "URI=spiffe://prod/proxy")
			if got != test.want {
				t.Errorf("the caller is %q, want %q", got, test.want)
			}
		})
	}
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
