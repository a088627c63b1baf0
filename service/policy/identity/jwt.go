package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // the one that tells iss from ISS and takes no name twice
	"github.com/go-jose/go-jose/v4/jwt"
)

// JWTConfig says whose tokens count.
type JWTConfig struct {
	// Name is the issuer's within identities: jwt:NAME:SUBJECT. It is a word without a colon.
	Name string
	// Issuer and Audience are what tokens must carry as iss and, among others, as aud.
	Issuer, Audience string
	// JWKSFile or JWKSURL is where the issuer's public keys are.
	JWKSFile, JWKSURL string
	// CAFile holds the authorities of the URL's server, in PEM; empty for the system's.
	CAFile string
	// BearerFile holds a token to send to the URL, read each time; empty for none.
	BearerFile string
	// Algorithms are the signature algorithms that count; none means RS256, ES256 and EdDSA.
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
	errCritical    = errors.New("the bearer token demands extensions that this service does not know")
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
	if config.Name == "" || config.Issuer == "" || config.Audience == "" {
		return nil, errors.New("jwt: name, issuer and audience are required")
	}
	if !issuerName.MatchString(config.Name) {
		return nil, fmt.Errorf("jwt %q: the name must be a word without a colon, so that identities are told apart", config.Name)
	}
	var err error
	if t.algorithms, err = algorithms(config.Algorithms); err != nil {
		return nil, fmt.Errorf("jwt %s: %w", config.Name, err)
	}
	if t.keys, err = newKeySet(config, now); err != nil {
		return nil, fmt.Errorf("jwt %s: %w", config.Name, err)
	}
	return t, nil
}

var issuerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// algorithms reads the names of signature algorithms that only the owner of a private key can use.
func algorithms(names []string) ([]jose.SignatureAlgorithm, error) {
	if len(names) == 0 {
		return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}, nil
	}
	list := make([]jose.SignatureAlgorithm, 0, len(names))
	for _, name := range names {
		if upper := strings.ToUpper(name); upper == "NONE" || strings.HasPrefix(upper, "HS") {
			return nil, fmt.Errorf("algorithm %s would let everybody sign who can verify", name)
		}
		list = append(list, jose.SignatureAlgorithm(name))
		if !slices.Contains([]jose.SignatureAlgorithm{
			jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
		}, list[len(list)-1]) {
			return nil, fmt.Errorf("algorithm %q is not known", name)
		}
	}
	return list, nil
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
	if token = strings.TrimSpace(token); token == "" {
		return "", errToken // a proof was announced: to go on without one would be to fall back
	}
	return token, nil
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
	if held := t.keys.held(); !known || at.reading != held.number || t.keys.due(held) || !t.now().Before(at.until) {
		return ""
	}
	return at.name
}

// verify returns the name in a token.
func (t *tokens) verify(c call, token string, digest [sha256.Size]byte) (string, error) {
	parsed, err := jose.ParseSignedCompact(token, t.algorithms)
	if err != nil {
		return "", parseError(err)
	}
	// The library knows the extension b64, which RFC 7797 forbids in tokens; every other one would fail later as a bad signature.
	if extra := parsed.Signatures[0].Protected.ExtraHeaders; extra["crit"] != nil || extra["b64"] != nil {
		return "", errCritical
	}
	keys, err := t.keys.current(c.ctx)
	if err != nil {
		return "", err
	}
	payload := genuine(parsed, keys.set)
	if payload == nil {
		old := keys.number
		if keys, err = t.keys.renewed(c.ctx); err != nil {
			return "", err
		}
		if keys.number != old {
			payload = genuine(parsed, keys.set)
		}
	}
	if payload == nil {
		return "", errSignature
	}
	claims := &jwt.Claims{}
	if json.Unmarshal(payload, claims) != nil {
		return "", errToken
	}
	if err := t.accept(claims); err != nil {
		return "", err
	}
	name := "jwt:" + t.config.Name + ":" + claims.Subject
	t.remember(digest, verdict{name: name, until: claims.Expiry.Time().Add(leeway), reading: keys.number})
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

// genuine returns what a token says if one of the keys that its header may mean signed it; else nil. A key in the header itself, or an
// address of one, means nothing.
func genuine(token *jose.JSONWebSignature, keys []jose.JSONWebKey) []byte {
	header := token.Signatures[0].Protected
	tried := 0
	for i := range keys {
		if !suits(&keys[i], header) {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		if payload, err := token.Verify(keys[i].Key); err == nil {
			return payload
		}
	}
	return nil
}

// suits tells whether a key is meant: by its id, and for no other algorithm than its own and those of its type.
func suits(key *jose.JSONWebKey, header jose.Header) bool {
	if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return false
	}
	switch key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(header.Algorithm, "RS") || strings.HasPrefix(header.Algorithm, "PS")
	case *ecdsa.PublicKey:
		return strings.HasPrefix(header.Algorithm, "ES")
	case ed25519.PublicKey:
		return header.Algorithm == string(jose.EdDSA)
	default:
		return false
	}
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
