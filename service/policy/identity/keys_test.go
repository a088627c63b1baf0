package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tallyd/tallyd/service/policy/identity"
)

const (
	proven    = "jwt jwt:k:system:serviceaccount:shop:orders"
	byNoKey   = "the bearer token is signed by no key of its issuer"
	noKeysNow = "the keys of the bearer token's issuer cannot be read at the moment"
)

// jwks is an issuer's server of keys.
type jwks struct {
	url   string
	asked atomic.Int64
	body  atomic.Value // []byte; empty for a server that fails
}

func serveKeys(t testing.TB, body []byte) *jwks {
	t.Helper()
	j := &jwks{}
	j.body.Store(body)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		j.asked.Add(1)
		text := j.body.Load().([]byte)
		if len(text) == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write(text)
	}))
	t.Cleanup(server.Close)
	j.url = server.URL
	return j
}

// openAt is a door whose keys are read by a clock, and what is logged of them.
func openAt(t testing.TB, config identity.JWTConfig) (*door, *identity.Clock, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	clock := identity.NewClock(time.Now())
	config.Name, config.Issuer, config.Audience = "k", "https://issuer", "tallyd"
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	source, err := identity.JWTAt(config, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, identity.New(source), "tcp", insecure.NewCredentials()), clock, log
}

// TestKeysThatCount holds that a key set's other content neither helps an attacker nor hinders the good keys.
func TestKeysThatCount(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	keyR := jose.JSONWebKey{Key: i.rsa.Public(), KeyID: "r"}
	keyOther := jose.JSONWebKey{Key: other.rsa.Public(), KeyID: "o"}
	rs := sign(t, jose.RS256, i.rsa, "r", claims())
	secret := []byte(strings.Repeat("k", 32))
	tests := []struct {
		name, token string
		keys        []any
		want        string
	}{
		{"kinds that nobody knows", rs, []any{
			map[string]string{"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "r"}, map[string]string{"kty": "new"}, map[string]string{}, 7, nil, keyR,
		}, proven},
		{"a broken key", rs, []any{map[string]string{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, keyR}, proven},
		{"two keys of an id", rs, []any{jose.JSONWebKey{Key: other.rsa.Public(), KeyID: "r"}, keyR}, proven},
		{"no id, the tenth key", sign(t, jose.RS256, i.rsa, "", claims()), append(slices.Repeat([]any{keyOther}, 9), keyR), proven},
		{"no id, too many keys to try", sign(t, jose.RS256, i.rsa, "", claims()), append(slices.Repeat([]any{keyOther}, 10), keyR), byNoKey},
		{"for encryption", rs, []any{jose.JSONWebKey{Key: i.rsa.Public(), KeyID: "r", Use: "enc"}}, byNoKey},
		{"for another algorithm", rs, []any{jose.JSONWebKey{Key: i.rsa.Public(), KeyID: "r", Algorithm: "PS256"}}, byNoKey},
		{"a private key", rs, []any{jose.JSONWebKey{Key: i.rsa, KeyID: "r"}}, byNoKey},
		{
			"a shared secret", sign(t, jose.HS256, secret, "r", claims()),
			[]any{jose.JSONWebKey{Key: secret, KeyID: "r"}, keyR},
			"the bearer token is signed by an algorithm that this service does not accept",
		},
		{"none at all", rs, []any{}, byNoKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text, err := json.Marshal(map[string]any{"keys": test.keys})
			if err != nil {
				t.Fatal(err)
			}
			d, _, _ := openAt(t, identity.JWTConfig{JWKSURL: serveKeys(t, text).url})
			if got := d.bear(t, test.token); got != test.want {
				t.Errorf("the bearer is %q, want %q", got, test.want)
			}
		})
	}
}

// TestRevocation holds that remembered tokens end at the next reading, even when the issuer takes back every key, and that nonsense in
// the place of keys is no revocation.
func TestRevocation(t *testing.T) {
	i := newIssuer(t)
	server := serveKeys(t, i.set(t))
	d, clock, log := openAt(t, identity.JWTConfig{JWKSURL: server.url})
	token := sign(t, jose.RS256, i.rsa, "r", claims())
	steps := []struct {
		name, body string
		later      time.Duration
		want       string
	}{
		{"first reading", string(i.set(t)), 0, proven},
		{"a page instead of keys", "<html>", 6 * time.Minute, proven},
		{"no keys in it", "{}", 6 * time.Minute, proven},
		{"every key taken back, not yet read", `{"keys":[]}`, 59 * time.Second, proven},
		{"every key taken back", `{"keys":[]}`, 2 * time.Second, byNoKey},
	}
	for _, step := range steps {
		server.body.Store([]byte(step.body))
		clock.Add(step.later)
		for range 2 {
			if got := d.bear(t, token); got != step.want {
				t.Errorf("%s: the bearer is %q, want %q", step.name, got, step.want)
			}
		}
	}
	if complaints := strings.Count(log.String(), "no JSON Web Key Set"); complaints != 1 {
		t.Errorf("the log complains %d times, want once: %s", complaints, log)
	}
}

// TestOutage holds that a server of keys which was down for a moment is asked again soon: what it took back meanwhile ends within
// failedAge of its return, not after a whole keysAge.
func TestOutage(t *testing.T) {
	old, next := newIssuer(t), newIssuer(t)
	server := serveKeys(t, old.set(t))
	d, clock, _ := openAt(t, identity.JWTConfig{JWKSURL: server.url})
	token := sign(t, jose.RS256, old.rsa, "r", claims())
	steps := []struct {
		name      string
		body      []byte
		later     time.Duration
		want      string
		wantAsked int64
	}{
		{"first reading", old.set(t), 0, proven, 1},
		{"down", nil, 6 * time.Minute, proven, 2},
		{"down, a moment later", nil, 50 * time.Second, proven, 2},
		{"up with other keys", next.set(t), 11 * time.Second, byNoKey, 3},
	}
	for _, step := range steps {
		server.body.Store(step.body)
		clock.Add(step.later)
		got := d.bear(t, token)
		if asked := server.asked.Load(); got != step.want || asked != step.wantAsked {
			t.Errorf("%s: the bearer is %q after %d readings, want %q after %d", step.name, got, asked, step.want, step.wantAsked)
		}
	}
}

// TestFlood holds that many tokens of unknown keys at once make one reading between them, and none hinders a good one.
func TestFlood(t *testing.T) {
	i := newIssuer(t)
	server := serveKeys(t, i.set(t))
	d, clock, _ := openAt(t, identity.JWTConfig{JWKSURL: server.url})
	good := sign(t, jose.RS256, i.rsa, "r", claims())
	if got := d.bear(t, good); got != proven {
		t.Fatalf("the bearer is %q, want %q", got, proven)
	}
	clock.Add(11 * time.Second)
	var callers sync.WaitGroup
	for n := range 40 {
		token := sign(t, jose.RS256, i.rsa, fmt.Sprintf("unknown-%d", n), claims())
		callers.Go(func() {
			if _, err := d.resolver.Resolve(from(t.Context(), "authorization", "Bearer "+token)); err == nil || err.Error() != byNoKey {
				t.Errorf("Resolve(a token of an unknown key) = %v, want %q", err, byNoKey)
			}
		})
	}
	callers.Wait()
	if got := d.bear(t, good); got != proven {
		t.Errorf("the good bearer is %q, want %q", got, proven)
	}
	if asked := server.asked.Load(); asked != 2 {
		t.Errorf("the server was asked %d times, want 2", asked)
	}
}

// TestHangingServer holds that whoever waits for another's reading waits no longer than its own call, and that a call which ends does
// not spoil the reading for those who wait.
func TestHangingServer(t *testing.T) {
	i := newIssuer(t)
	entered, release := make(chan struct{}, 9), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-release
		_, _ = w.Write(i.set(t))
	}))
	t.Cleanup(server.Close)
	d, _, _ := openAt(t, identity.JWTConfig{JWKSURL: server.URL})
	header := []string{"authorization", "Bearer " + sign(t, jose.RS256, i.rsa, "r", claims())}
	resolve := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := d.resolver.Resolve(from(ctx, header...))
			done <- err
		}()
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := resolve(ctx)
	<-entered
	cancel()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := <-resolve(ended); err == nil || err.Error() != noKeysNow {
		t.Errorf("Resolve(a call that is over) = %v, want %q", err, noKeysNow)
	}
	waiting := resolve(t.Context())
	close(release)
	for _, done := range []chan error{first, waiting} {
		if err := <-done; err != nil {
			t.Errorf("Resolve() = %v, want the keys that the first call read", err)
		}
	}
}

// TestHugeKeySet holds that an answer without end is not read to its end.
func TestHugeKeySet(t *testing.T) {
	i := newIssuer(t)
	huge := append(i.set(t), bytes.Repeat([]byte(" "), 1<<20)...)
	d, _, log := openAt(t, identity.JWTConfig{JWKSURL: serveKeys(t, huge).url})
	if got := d.bear(t, sign(t, jose.RS256, i.rsa, "r", claims())); got != noKeysNow {
		t.Errorf("the bearer is %q, want %q", got, noKeysNow)
	}
	if !strings.Contains(log.String(), "larger than 1048576 bytes") {
		t.Errorf("the log says %s, want the bound", log)
	}
}

// TestKeyFile holds that a file is read again when it changes, and that a bad one changes nothing.
func TestKeyFile(t *testing.T) {
	old, next := newIssuer(t), newIssuer(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, old.set(t))
	d, clock, _ := openAt(t, identity.JWTConfig{JWKSFile: file})
	before, after := sign(t, jose.RS256, old.rsa, "r", claims()), sign(t, jose.RS256, next.rsa, "r", claims())
	steps := []struct {
		name                  string
		content               []byte
		wantBefore, wantAfter string
	}{
		{"as it was", old.set(t), proven, byNoKey},
		{"half written", old.set(t)[:100], proven, byNoKey},
		{"changed", next.set(t), byNoKey, proven},
	}
	for _, step := range steps {
		write(t, file, step.content)
		clock.Add(2 * time.Second)
		if gotBefore, gotAfter := d.bear(t, before), d.bear(t, after); gotBefore != step.wantBefore || gotAfter != step.wantAfter {
			t.Errorf("%s: the bearers are %q and %q, want %q and %q", step.name, gotBefore, gotAfter, step.wantBefore, step.wantAfter)
		}
	}
}

// TestRememberedTokenEnds holds that being remembered does not prolong a token.
func TestRememberedTokenEnds(t *testing.T) {
	i := newIssuer(t)
	d, clock, _ := openAt(t, identity.JWTConfig{JWKSURL: serveKeys(t, i.set(t)).url})
	token := sign(t, jose.RS256, i.rsa, "r", claims(with("exp", clock.Now().Add(time.Minute).Unix())))
	for _, step := range []struct {
		later time.Duration
		want  string
	}{{0, proven}, {80 * time.Second, proven}, {15 * time.Second, "the bearer token has expired"}} {
		clock.Add(step.later)
		if got := d.bear(t, token); got != step.want {
			t.Errorf("%v later the bearer is %q, want %q", step.later, got, step.want)
		}
	}
}

// TestRememberedTokensAreFew holds that many callers do not fill the memory, and that what has ended goes first.
func TestRememberedTokensAreFew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, newIssuer(t).set(t))
	source, err := identity.JWT(identity.JWTConfig{Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSFile: file})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	identity.Remember(source, 9_000, now.Add(-time.Minute))
	identity.Remember(source, 1_000, now.Add(time.Hour))
	if got := identity.Remember(source, 1, now.Add(time.Hour)); got != 1_001 {
		t.Errorf("%d tokens are remembered when 9000 of 10000 have ended, want 1001", got)
	}
	if got := identity.Remember(source, 10_000, now.Add(time.Hour)); got > 10_000 {
		t.Errorf("%d tokens are remembered, want at most 10000", got)
	}
}

// TestClose holds that no connection to the server of keys stays.
func TestClose(t *testing.T) {
	i := newIssuer(t)
	closed := make(chan struct{}, 9)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(i.set(t)) }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	source, err := identity.JWT(identity.JWTConfig{Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	resolver := identity.New(source)
	if _, err := resolver.Resolve(from(t.Context(), "authorization", "Bearer "+sign(t, jose.RS256, i.rsa, "r", claims()))); err != nil {
		t.Fatal(err)
	}
	resolver.Close()
	select {
	case <-closed:
	case <-time.After(3 * time.Second):
		t.Error("the connection is still open after Close()")
	}
}
