package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/tallyd/tallyd/service/policy/identity"
)

// BenchmarkResolve is what a proof costs for each call.
func BenchmarkResolve(b *testing.B) {
	i := newIssuer(b)
	file := filepath.Join(b.TempDir(), "keys.json")
	write(b, file, i.set(b))
	source, err := identity.JWT(identity.JWTConfig{Name: "k", Issuer: "https://issuer", Audience: "tallyd", JWKSFile: file})
	if err != nil {
		b.Fatal(err)
	}
	certificate := newAuthority(b).issue(b, []string{"spiffe://p/ns/shop/sa/orders"}, nil)
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		b.Fatal(err)
	}
	verified := credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}}
	for _, bench := range []struct {
		name   string
		source identity.Source
		md     []string
	}{
		{"mtls", identity.MTLS(), nil},
		{"xfcc", identity.XFCC(identity.DefaultPeers()), []string{"x-forwarded-client-cert", `By=spiffe://p/t;Hash=00ff00ff;Subject="CN=x";URI=spiffe://p/ns/shop/sa/orders`}},
		{"jwt remembered", source, []string{"authorization", "Bearer " + sign(b, jose.RS256, i.rsa, "r", claims())}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			resolver, ctx := identity.New(bench.source), from(b.Context(), bench.md...)
			at, _ := peer.FromContext(ctx)
			at.AuthInfo = verified
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resolver.Resolve(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
