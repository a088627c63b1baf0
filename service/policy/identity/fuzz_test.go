package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/tallyd/tallyd/service/policy/identity"
)

// from is a call of a neighbour with metadata, as a resolver meets it.
func from(ctx context.Context, md ...string) context.Context {
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}})
	return metadata.NewIncomingContext(ctx, metadata.Pairs(md...))
}

// FuzzXFCC holds that no header panics, and that the parser agrees with a slow reading by regular expressions: on what keeps the grammar
// and on what the last element says.
func FuzzXFCC(f *testing.F) {
	for _, seed := range []string{
		`By=spiffe://p/t;Hash=00;Subject="CN=\"x\"";URI=spiffe://p/a;DNS=a.example`, `URI=spiffe://p/a,URI=spiffe://p/b`, `uri=spiffe://p/a`,
		`Subject="a,URI=spiffe://p/f";URI=spiffe://p/r`, `DNS=a;DNS=b`, `URI=,URI="spiffe://p/a"`, `a=b;c`, `"`, `URI="\`, `URI=a;`, `DNS=a,  DNS=b`,
		`URI=spiffe://p/f;Subject=",By=spiffe://p/t;Subject="";URI=spiffe://p/r`, `Subject="\\";DNS=a`, `Subject="\";DNS=a`, `DNS="a"b`, ",", "=", "",
		`URI=spiffe://p/a;URI=https://a`, `URI=SPIFFE://p/a;DNS=a`, "Subject=\"\n\";DNS=a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		uris, dns, err := identity.LastElement(header)
		wantURIs, wantDNS, wellFormed := slowly(header)
		if (err == nil) != wellFormed {
			t.Fatalf("LastElement(%q) = %v, want well-formed: %t", header, err, wellFormed)
		}
		if err == nil && (!slices.Equal(uris, wantURIs) || !slices.Equal(dns, wantDNS)) {
			t.Fatalf("LastElement(%q) = %q, %q, want %q, %q", header, uris, dns, wantURIs, wantDNS)
		}
		who, err := identity.New(identity.XFCC(identity.DefaultPeers())).Resolve(from(t.Context(), "x-forwarded-client-cert", header))
		name, isDNS := strings.CutPrefix(who.Name, "dns:")
		switch {
		case err != nil && who != identity.Identity{}:
			t.Errorf("Resolve(%q) = %v with the error %v, want nobody", header, who, err)
		case err == nil && isDNS && strings.ToLower(wantDNS[0]) != name, err == nil && !isDNS && wantURIs[0] != who.Name:
			t.Errorf("Resolve(%q) = %q, want a name of %q, %q", header, who.Name, wantURIs, wantDNS)
		}
	})
}

// The grammar as regular expressions, from the inside out.
const (
	pairForm    = `[A-Za-z]+=(?:"(?:[^"\\]|\\.)*"|[^",;\\]*)`
	elementForm = pairForm + `(?:;` + pairForm + `)*`
)

var (
	headerForm  = regexp.MustCompile(`(?s)\A` + elementForm + `(?:, *` + elementForm + `)*\z`)
	elementsOf  = regexp.MustCompile(`(?s)` + elementForm)
	pairsOf     = regexp.MustCompile(`(?s)([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;\\]*)`)
	escapesOf   = regexp.MustCompile(`(?s)\\(.)`)
	quotesAbout = regexp.MustCompile(`(?s)\A"(.*)"\z`)
)

// slowly reads the last element of a header that keeps the grammar.
func slowly(header string) (uris, dns []string, wellFormed bool) {
	// Regular expressions read an invalid byte as one character but write it as another: letters of Latin-1 stand for the bytes.
	runes := make([]rune, len(header))
	for i := range len(header) {
		runes[i] = rune(header[i])
	}
	text := string(runes)
	if !headerForm.MatchString(text) {
		return nil, nil, false
	}
	elements := elementsOf.FindAllString(text, -1)
	for _, pair := range pairsOf.FindAllStringSubmatch(elements[len(elements)-1], -1) {
		value := pair[2]
		if inner := quotesAbout.FindStringSubmatch(value); inner != nil {
			value = escapesOf.ReplaceAllString(inner[1], "$1")
		}
		var bytes []byte
		for _, r := range value {
			bytes = append(bytes, byte(r))
		}
		switch strings.ToLower(pair[1]) {
		case "uri":
			uris = append(uris, string(bytes))
		case "dns":
			dns = append(dns, string(bytes))
		}
	}
	return uris, dns, true
}

// FuzzTokens holds that no authorization header panics, and that none proves anybody but by a signature that the standard library
// finds genuine too.
func FuzzTokens(f *testing.F) {
	i := newIssuer(f)
	file := filepath.Join(f.TempDir(), "keys.json")
	write(f, file, i.set(f))
	source, err := identity.JWT(identity.JWTConfig{Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSFile: file})
	if err != nil {
		f.Fatal(err)
	}
	resolver := identity.New(source)
	genuine := sign(f, jose.ES256, i.ec, "e", claims())
	for _, seed := range []string{
		"Bearer " + genuine, "bearer " + genuine + "x", "Bearer " + unsigned(f, `{"alg":"none"}`, claims()), "Bearer a.b.c", "Bearer ", "Basic x", "..",
		"Bearer " + sign(f, jose.HS256, []byte(strings.Repeat("k", 32)), "e", claims()), "Bearer " + sign(f, jose.RS256, i.rsa, "r", claims()),
		"Bearer " + sign(f, jose.EdDSA, i.ed, "", claims()), "Bearer " + sign(f, jose.ES256, i.ec, "e", claims(), "crit", []string{"b64"}, "b64", false),
		"Bearer " + unsigned(f, `{"alg":"ES256","jwk":{"kty":"EC"}}`, claims()) + "AA", "Bearer " + unsigned(f, `{"alg":7,"kid":{}}`, claims()),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		who, err := resolver.Resolve(from(t.Context(), "authorization", header))
		switch {
		case err != nil && who != identity.Identity{}:
			t.Errorf("Resolve(%q) = %v with the error %v, want nobody", header, who, err)
		case err == nil && !i.signed(header):
			t.Errorf("Resolve(%q) = %v, want nobody: none of the keys signed it", header, who)
		}
	})
}

// signed tells by the standard library whether a key of the issuer signed the token in a header, whatever the token says of itself.
func (i *issuer) signed(header string) bool {
	_, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil || dot < 0 {
		return false
	}
	digest := sha256.Sum256([]byte(token[:dot]))
	r, s := new(big.Int).SetBytes(signature[:len(signature)/2]), new(big.Int).SetBytes(signature[len(signature)/2:])
	return ecdsa.Verify(&i.ec.PublicKey, digest[:], r, s) || rsa.VerifyPKCS1v15(&i.rsa.PublicKey, crypto.SHA256, digest[:], signature) == nil ||
		ed25519.Verify(i.ed.Public().(ed25519.PublicKey), []byte(token[:dot]), signature)
}
