package identity_test

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
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

// FuzzXFCC holds that no header panics, that whatever it proves is a well-formed identity, and that this stands in the last element as
// a slow reading of the header, character by character, finds it.
func FuzzXFCC(f *testing.F) {
	for _, seed := range []string{
		`By=spiffe://p/t;Hash=00;Subject="CN=\"x\"";URI=spiffe://p/a;DNS=a.example`, `URI=spiffe://p/a,URI=spiffe://p/b`,
		`Subject="a,URI=spiffe://p/f";URI=spiffe://p/r`, `DNS=a;DNS=b`, `URI=,URI="spiffe://p/a"`, `a=b;c`, `"`, `URI="\`,
	} {
		f.Add(seed)
	}
	resolver := identity.New(identity.XFCC(identity.DefaultPeers()))
	f.Fuzz(func(t *testing.T, header string) {
		who, err := resolver.Resolve(from(t.Context(), "x-forwarded-client-cert", header))
		if err != nil {
			return
		}
		values := slowly(header)
		if name, isDNS := strings.CutPrefix(who.Name, "dns:"); isDNS {
			if len(values["dns"]) == 0 || strings.ToLower(values["dns"][0]) != name {
				t.Errorf("Resolve(%q) = %q, want the first DNS name of %v", header, who.Name, values)
			}
			return
		}
		found := false
		for _, value := range values["uri"] {
			id, err := url.Parse(value)
			found = found || err == nil && id.String() == who.Name
		}
		if !found {
			t.Errorf("Resolve(%q) = %q, want a URI of %v", header, who.Name, values)
		}
	})
}

// slowly reads the last element with a flag for being between quotes and nothing else.
func slowly(header string) map[string][]string {
	var pairs []string
	var current strings.Builder
	quoted, escaped := false, false
	for i := range len(header) {
		c := header[i]
		switch {
		case escaped:
			current.WriteByte(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && c == ';':
			pairs = append(pairs, current.String())
			current.Reset()
		case !quoted && c == ',':
			pairs = nil
			current.Reset()
		default:
			current.WriteByte(c)
		}
	}
	values := map[string][]string{}
	for _, pair := range append(pairs, current.String()) {
		key, value, _ := strings.Cut(pair, "=")
		key = strings.ToLower(strings.TrimLeft(key, " "))
		values[key] = append(values[key], value)
	}
	return values
}

// FuzzTokens holds that no authorization header panics, and that none but the genuine token proves anybody.
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
		"Bearer " + genuine, "bearer " + genuine + "x", "Bearer " + unsigned(`{"alg":"none"}`, claims()), "Bearer a.b.c", "Bearer ", "Basic x", "..",
		"Bearer " + sign(f, jose.HS256, []byte(strings.Repeat("k", 32)), "e", claims()),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		who, err := resolver.Resolve(from(t.Context(), "authorization", header))
		if err == nil && !strings.Contains(header, genuine[:strings.LastIndexByte(genuine, '.')]) {
			t.Errorf("Resolve(%q) = %v, want nobody", header, who)
		}
	})
}

// BenchmarkResolve is what a proof costs for each call.
func BenchmarkResolve(b *testing.B) {
	i := newIssuer(b)
	file := filepath.Join(b.TempDir(), "keys.json")
	write(b, file, i.set(b))
	source, err := identity.JWT(identity.JWTConfig{Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSFile: file})
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name   string
		source identity.Source
		md     []string
	}{
		{"xfcc", identity.XFCC(identity.DefaultPeers()), []string{"x-forwarded-client-cert", `By=spiffe://p/t;Hash=00ff00ff;Subject="CN=x";URI=spiffe://p/ns/shop/sa/orders`}},
		{"jwt remembered", source, []string{"authorization", "Bearer " + sign(b, jose.RS256, i.rsa, "r", claims())}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			resolver, ctx := identity.New(bench.source), from(b.Context(), bench.md...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resolver.Resolve(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
