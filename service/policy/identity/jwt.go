package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// JWTConfig says whose tokens count.
type JWTConfig struct {
	// Name is the issuer's within identities: jwt:NAME:SUBJECT.
	Name string
	// Issuer and Audience are what tokens must carry as iss and, among others, as aud.
	Issuer, Audience string
	// JWKSFile or JWKSURL is where the issuer's public keys are.
	JWKSFile, JWKSURL string
	// CAFile holds the authorities of the URL's server, in PEM; empty for the system's.
	CAFile string
	// BearerFile holds a token to send to the URL, read each time; empty for none.
	BearerFile string
	// Algorithms are the signature algorithms that count; none means RS256 and ES256.
	Algorithms []string
	// Log is told of keys that cannot be read; may be nil.
	Log *slog.Logger
}

const (
	// leeway is how much the clocks of issuer and service may differ.
	leeway = 30 * time.Second
	// maxToken is the longest token, in bytes.
	maxToken = 16 << 10
	// maxRemembered bounds the tokens of which the verdict is remembered.
	maxRemembered = 10_000
)

// What is wrong with a token, as its bearer reads it.
var (
	errTokens      = errors.New("the call brings several authorization headers")
	errTokenLong   = errors.New("the bearer token is too long")
	errToken       = errors.New("the bearer token is no signed JSON Web Token")
	errAlgorithm   = errors.New("the bearer token is signed by an algorithm that this service does not accept")
	errSignature   = errors.New("the bearer token is signed by no key of its issuer")
	errExpired     = errors.New("the bearer token has expired")
	errNotYet      = errors.New("the bearer token is not valid yet")
	errAudience    = errors.New("the bearer token is for another audience")
	errNoExpiry    = errors.New("the bearer token never expires, which this service does not accept")
	errNoSubject   = errors.New("the bearer token names no subject")
	errKeysMissing = errors.New("the keys of the bearer token's issuer cannot be read at the moment")
)

// tokens is an issuer whose tokens count.
type tokens struct {
	config     JWTConfig
	algorithms []jose.SignatureAlgorithm
	keys       *keySet
	now        func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]verdict
}

// verdict is a token that was verified with the keys of one reading.
type verdict struct {
	name    string
	until   time.Time
	reading int
}

// JWT takes signed tokens in the header authorization. It returns an error for a configuration that would take no token or any.
func JWT(config JWTConfig) (Source, error) { return newTokens(config, time.Now) }

func newTokens(config JWTConfig, now func() time.Time) (*tokens, error) {
	t := &tokens{config: config, now: now, known: map[[sha256.Size]byte]verdict{}}
	if len(config.Algorithms) == 0 {
		config.Algorithms = []string{string(jose.RS256), string(jose.ES256)}
	}
	for _, name := range config.Algorithms {
		if name == "none" || strings.HasPrefix(name, "HS") {
			return nil, fmt.Errorf("jwt %s: algorithm %s would let everybody sign who can verify", config.Name, name)
		}
		t.algorithms = append(t.algorithms, jose.SignatureAlgorithm(name))
	}
	if config.Name == "" || config.Issuer == "" || config.Audience == "" {
		return nil, errors.New("jwt: name, issuer and audience are required")
	}
	var err error
	if t.keys, err = newKeySet(config, now); err != nil {
		return nil, fmt.Errorf("jwt %s: %w", config.Name, err)
	}
	return t, nil
}

func (t *tokens) close() { t.keys.close() }

func (t *tokens) identify(c call) (Identity, error) {
	token, err := bearer(c)
	if err != nil || token == "" {
		return Identity{}, err
	}
	digest := sha256.Sum256([]byte(token))
	if name := t.recall(digest); name != "" {
		return Identity{Name: name, Source: "jwt"}, nil
	}
	issuer, err := issuerOf(token)
	if err != nil || issuer != t.config.Issuer {
		return Identity{}, err
	}
	name, err := t.verify(c, token, digest)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Name: name, Source: "jwt"}, nil
}

// bearer returns the token of the call; empty without one.
func bearer(c call) (string, error) {
	values := c.md.Get("authorization")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errTokens
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "", nil
	}
	if len(token) > maxToken {
		return "", errTokenLong
	}
	return strings.TrimSpace(token), nil
}

// issuerOf says which issuer a token claims to be of: only to find the source that will verify it.
func issuerOf(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errToken
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errToken
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return "", errToken
	}
	return claims.Issuer, nil
}

// recall returns the name in a token that was verified before, while it lasts and the keys are the same and new enough; else nothing.
func (t *tokens) recall(digest [sha256.Size]byte) string {
	t.mu.Lock()
	at, known := t.known[digest]
	t.mu.Unlock()
	if _, reading, looked := t.keys.held(); !known || at.reading != reading || t.now().Sub(looked) >= t.keys.age || !t.now().Before(at.until) {
		return ""
	}
	return at.name
}

// verify returns the name in a token.
func (t *tokens) verify(c call, token string, digest [sha256.Size]byte) (string, error) {
	keys, reading, err := t.keys.current(c.ctx)
	if err != nil {
		return "", err
	}
	parsed, err := jwt.ParseSigned(token, t.algorithms)
	if err != nil {
		return "", parseError(err)
	}
	claims, err := check(parsed, keys)
	if errors.Is(err, errSignature) {
		// The issuer may have a new key.
		if keys, reading, err = t.keys.renewed(c.ctx, reading); err != nil {
			return "", err
		}
		claims, err = check(parsed, keys)
	}
	if err != nil {
		return "", err
	}
	if err := t.accept(claims); err != nil {
		return "", err
	}
	name := "jwt:" + t.config.Name + ":" + claims.Subject
	t.remember(digest, verdict{name: name, until: claims.Expiry.Time().Add(leeway), reading: reading})
	return name, nil
}

func parseError(err error) error {
	if _, other := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); other {
		return errAlgorithm
	}
	return errToken
}

// maxTried bounds the keys that a token without a key id is tried with.
const maxTried = 10

// check verifies the signature with the keys that the token's header may mean. A key in the header itself means nothing.
func check(token *jwt.JSONWebToken, keys *jose.JSONWebKeySet) (*jwt.Claims, error) {
	header := token.Headers[0]
	tried := 0
	for i := range keys.Keys {
		key := &keys.Keys[i]
		if !suits(key, header) || tried >= maxTried {
			continue
		}
		tried++
		claims := &jwt.Claims{}
		if token.Claims(key.Key, claims) == nil {
			return claims, nil
		}
	}
	return nil, errSignature
}

// suits tells whether a key is meant: by its id, for signatures, and for no other algorithm than its own. That its type fits the
// algorithm the library demands.
func suits(key *jose.JSONWebKey, header jose.Header) bool {
	return key.IsPublic() && key.Valid() &&
		(header.KeyID == "" || key.KeyID == header.KeyID) &&
		(key.Use == "" || key.Use == "sig") &&
		(key.Algorithm == "" || key.Algorithm == header.Algorithm)
}

// accept checks what a genuine token says.
func (t *tokens) accept(claims *jwt.Claims) error {
	expected := jwt.Expected{Issuer: t.config.Issuer, AnyAudience: jwt.Audience{t.config.Audience}, Time: t.now()}
	err := claims.ValidateWithLeeway(expected, leeway)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return errExpired
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return errNotYet
	case errors.Is(err, jwt.ErrInvalidAudience):
		return errAudience
	case err != nil:
		return errToken
	case claims.Expiry == nil:
		return errNoExpiry
	case claims.Subject == "":
		return errNoSubject
	}
	return nil
}

// remember keeps the bound: what is too old goes first, and all of it when nothing is.
func (t *tokens) remember(digest [sha256.Size]byte, at verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxRemembered {
		now := t.now()
		for known, old := range t.known {
			if now.After(old.until) || old.reading != at.reading {
				delete(t.known, known)
			}
		}
		if len(t.known) >= maxRemembered {
			clear(t.known)
		}
	}
	t.known[digest] = at
}
