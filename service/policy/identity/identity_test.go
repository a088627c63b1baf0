package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tallyd/tallyd/service/policy/identity"
)

// door is a real server that tells each caller who it is.
type door struct {
	address  string
	resolver *identity.Resolver
}

// open serves behind a listener with credentials.
func open(t testing.TB, resolver *identity.Resolver, network string, creds credentials.TransportCredentials) *door {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			who, err := resolver.Resolve(ctx)
			if err != nil {
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
			return nil, status.Error(codes.OK+codes.AlreadyExists, who.Source+" "+who.Name)
		}))
	healthpb.RegisterHealthServer(server, nil)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
		resolver.Close()
	})
	d := &door{address: listener.Addr().String(), resolver: resolver}
	if network == "unix" {
		d.address = "unix:" + d.address
	}
	return d
}

// ask calls with metadata and returns what the server found: source and name, or its complaint.
func (d *door) ask(t testing.TB, creds credentials.TransportCredentials, md ...string) string {
	t.Helper()
	conn, err := grpc.NewClient(d.address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs(md...))
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if code := status.Code(err); code != codes.AlreadyExists && code != codes.Unauthenticated {
		t.Fatalf("Check() = %v, want the server's verdict", err)
	}
	return status.Convert(err).Message()
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	data, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(data)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}
}

// issue returns a certificate with these names, changed as the caller likes.
func (a *authority) issue(t testing.TB, uris, dns []string, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: dns, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, text := range uris {
		id, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, id)
	}
	for _, f := range change {
		f(template)
	}
	data, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
}

// TestMTLS holds which name of a verified certificate counts.
func TestMTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	server := func(auth tls.ClientAuthType) *door {
		return open(t, identity.New(identity.MTLS()), "tcp", credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.issue(t, nil, []string{"localhost"})},
			ClientAuth: auth, ClientCAs: ours.pool,
		}))
	}
	const (
		nobody  = "the call brings no identity that this service accepts"
		several = "the caller's certificate names several URIs, so that none of them is a SPIFFE identity"
		noID    = "the caller's SPIFFE id is not one: it must be spiffe://TRUST-DOMAIN/PATH and nothing more"
		signs   = "the caller's certificate is an authority's, which is no SPIFFE identity"
		long    = "the caller's name has spaces, control characters or more than 512 bytes"
	)
	isCA := func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }
	maySign := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }
	onlyCN := func(c *x509.Certificate) { c.Subject.CommonName = "orders.example" }
	tests := []struct {
		name      string
		by        *authority
		uris, dns []string
		change    func(*x509.Certificate)
		want      string
	}{
		{"SPIFFE id", ours, []string{"spiffe://prod/ns/shop/sa/orders"}, []string{"orders.example"}, nil, "mtls spiffe://prod/ns/shop/sa/orders"},
		{"DNS name", ours, nil, []string{"Orders.Example", "second.example"}, nil, "mtls dns:orders.example"},
		{"another URI", ours, []string{"https://orders.example"}, []string{"orders.example"}, nil, "mtls dns:orders.example"},
		{"two ids", ours, []string{"spiffe://prod/a", "spiffe://prod/b"}, []string{"orders.example"}, nil, several},
		{"an id behind another URI", ours, []string{"https://orders.example", "spiffe://prod/a"}, nil, nil, several},
		{"no SPIFFE id", ours, []string{"spiffe://prod:80/a"}, nil, nil, noID},
		{"scheme alone", ours, []string{"spiffe:a"}, []string{"orders.example"}, nil, noID},
		{"a way up", ours, []string{"spiffe://prod/ns/../sa"}, nil, nil, noID},
		{"a query", ours, []string{"spiffe://prod/a?b"}, nil, nil, noID},
		{"a hidden slash", ours, []string{"spiffe://prod/a%2Fb"}, nil, nil, noID},
		{"upper-case trust domain", ours, []string{"spiffe://Prod/a"}, nil, nil, noID},
		{"long id", ours, []string{"spiffe://prod/" + strings.Repeat("a", 512)}, nil, nil, long},
		{"an authority", ours, []string{"spiffe://prod/a"}, []string{"orders.example"}, isCA, signs},
		{"may sign", ours, []string{"spiffe://prod/a"}, nil, maySign, signs},
		{"common name alone", ours, nil, nil, onlyCN, nobody},
		{"no name", ours, nil, nil, nil, nobody},
		{"of another authority, not verified", theirs, []string{"spiffe://prod/ns/shop/sa/orders"}, nil, nil, nobody},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			auth := tls.RequireAndVerifyClientCert
			if test.by == theirs {
				auth = tls.RequireAnyClientCert // shown, but nobody vouches for it
			}
			var change []func(*x509.Certificate)
			if test.change != nil {
				change = append(change, test.change)
			}
			own := test.by.issue(t, test.uris, test.dns, change...)
			got := server(auth).ask(t, credentials.NewTLS(&tls.Config{
				RootCAs: ours.pool, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12,
			}))
			if got != test.want {
				t.Errorf("the caller is %q, want %q", got, test.want)
			}
		})
	}
}

// TestForwarded holds what a proxy's word is worth: its last element, by the grammar, and only from a peer that is trusted.
func TestForwarded(t *testing.T) {
	const (
		nobody  = "the call brings no identity that this service accepts"
		grammar = "the header x-forwarded-client-cert does not keep its grammar"
		several = "the call has several headers x-forwarded-client-cert, of which nobody knows which one the proxy set"
		noID    = "the caller's SPIFFE id is not one: it must be spiffe://TRUST-DOMAIN/PATH and nothing more"
		uris    = "the caller's certificate names several URIs, so that none of them is a SPIFFE identity"
	)
	header := func(values ...string) (md []string) {
		for _, value := range values {
			md = append(md, "x-forwarded-client-cert", value)
		}
		return md
	}
	tests := []struct {
		name string
		md   []string
		want string
	}{
		{"SPIFFE id", header(`By=spiffe://prod/ns/t/sa/tallyd;Hash=00ff;Subject="CN=x";URI=spiffe://prod/ns/shop/sa/orders`), "xfcc spiffe://prod/ns/shop/sa/orders"},
		{"DNS name", header(`Hash=00;DNS=Orders.example;DNS=b.example`), "xfcc dns:orders.example"},
		{"the last hop counts", header(`URI=spiffe://prod/first,URI=spiffe://prod/last`), "xfcc spiffe://prod/last"},
		{"keys of any case", header(`uri=spiffe://prod/a`), "xfcc spiffe://prod/a"},
		{"quotes hide commas", header(`Subject="a,URI=spiffe://prod/forged";URI=spiffe://prod/real`), "xfcc spiffe://prod/real"},
		{"quotes hide semicolons", header(`Subject="a;URI=spiffe://prod/forged\";URI=spiffe://prod/worse";DNS=real.example`), "xfcc dns:real.example"},
		{"last element without a name", header(`URI=spiffe://prod/first,Hash=00`), nobody},
		{"By is not the client", header(`By=spiffe://prod/tallyd;Hash=00`), nobody},
		{"open quote", header(`Subject="a;URI=spiffe://prod/a`), grammar},
		{"text behind a quote", header(`Subject="a"b;URI=spiffe://prod/a`), grammar},
		{"pair behind a quote", header(`Subject="a"xURI=spiffe://prod/forged`), grammar},
		{"quote in the middle", header(`Subject=a"b;URI=spiffe://prod/a`), grammar},
		{"no pair", header(`URI`), grammar},
		{"empty element", header(`URI=spiffe://prod/a,`), grammar},
		{"strange key", header(`U RI=spiffe://prod/a`), grammar},
		{"two different ids", header(`URI=spiffe://prod/a;URI=spiffe://prod/b`), uris},
		{"an id beside another URI", header(`URI=https://a.example;URI=spiffe://prod/a`), uris},
		{"one id twice", header(`URI=spiffe://prod/a;URI="spiffe://prod/a"`), "xfcc spiffe://prod/a"},
		{"upper-case scheme", header(`URI=SPIFFE://prod/a;DNS=weaker.example`), noID},
		{"scheme alone", header(`URI=spiffe:a;DNS=weaker.example`), noID},
		{"an empty fragment", header(`URI=spiffe://prod/a#;DNS=weaker.example`), noID},
		{"another URI", header(`URI=https://a.example;DNS=a.example`), "xfcc dns:a.example"},
		{"empty DNS name", header(`URI=;DNS=;DNS=a.example`), "the caller's DNS name is not one"},
		{"quotes and escapes end where they end", header(`Subject="\\";URI=spiffe://prod/real`), "xfcc spiffe://prod/real"},
		{"a quote opened in an earlier element", header(`URI=spiffe://prod/forged;Subject=",By=spiffe://prod/t;Subject="CN=x";URI=spiffe://prod/real`), grammar},
		{"an escape at the end of an earlier element", header(`URI=spiffe://prod/forged;Subject="\,By=spiffe://prod/t;Subject="";URI=spiffe://prod/real`), grammar},
		{"line break in an id", header(`URI="spiffe://prod/a%0Ab"`), noID},
		{"long id", header("URI=spiffe://prod/" + strings.Repeat("a", 512)), "the caller's name has spaces, control characters or more than 512 bytes"},
		{"long header", header("URI=spiffe://prod/a;Cert=" + strings.Repeat("a", 8<<10)), "the header x-forwarded-client-cert is too long"},
		{"upper-case key of the metadata", []string{"X-Forwarded-Client-Cert", "URI=spiffe://prod/a"}, "xfcc spiffe://prod/a"},
		{"no id", header(`URI="spiffe://prod/a b"`), noID},
		{"two headers", header(`URI=spiffe://prod/a`, `URI=spiffe://prod/b`), several},
		{"empty", header(``), nobody},
		{"Linkerd", []string{"l5d-client-id", "orders.shop.serviceaccount.identity.linkerd.cluster.local"}, "linkerd linkerd:orders.shop.serviceaccount.identity.linkerd.cluster.local"},
		{"Linkerd with SPIFFE", []string{"l5d-client-id", "spiffe://prod/ns/shop/sa/orders"}, "linkerd spiffe://prod/ns/shop/sa/orders"},
		{"Linkerd, upper-case scheme", []string{"l5d-client-id", "SPIFFE://prod/a"}, "the caller's DNS name is not one"},
		{"Linkerd, two in one", []string{"l5d-client-id", "a.example,b.example"}, "the caller's DNS name is not one"},
		{"Linkerd, no name", []string{"l5d-client-id", "orders shop"}, "the caller's DNS name is not one"},
		{"Linkerd twice", []string{"l5d-client-id", "a", "l5d-client-id", "b"}, "the call has several headers l5d-client-id, of which nobody knows which one the proxy set"},
	}
	trusting := identity.DefaultPeers()
	far, err := identity.ParsePeers([]string{"10.0.0.0/8", "fd00::1"})
	if err != nil {
		t.Fatal(err)
	}
	near := open(t, identity.New(identity.XFCC(trusting), identity.Linkerd(trusting)), "tcp", insecure.NewCredentials())
	socket := open(t, identity.New(identity.XFCC(trusting), identity.Linkerd(trusting)), "unix", insecure.NewCredentials())
	stranger := open(t, identity.New(identity.XFCC(far), identity.Linkerd(far)), "tcp", insecure.NewCredentials())
	noSocket := open(t, identity.New(identity.XFCC(far), identity.Linkerd(far)), "unix", insecure.NewCredentials())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, d := range []*door{near, socket} {
				if got := d.ask(t, insecure.NewCredentials(), test.md...); got != test.want {
					t.Errorf("a trusted peer's %q = %q, want %q", test.md, got, test.want)
				}
			}
			for _, d := range []*door{stranger, noSocket} {
				if got := d.ask(t, insecure.NewCredentials(), test.md...); got != nobody {
					t.Errorf("anybody's %q = %q, want nobody", test.md, got)
				}
			}
		})
	}
}

// TestOrder holds that the first proof wins, and that what an untrusted peer says does not stop a better one.
func TestOrder(t *testing.T) {
	ours := newAuthority(t)
	creds := credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.issue(t, nil, []string{"localhost"})},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ours.pool,
	})
	far, err := identity.ParsePeers([]string{"10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	client := credentials.NewTLS(&tls.Config{
		RootCAs: ours.pool, Certificates: []tls.Certificate{ours.issue(t, []string{"spiffe://prod/cert"}, nil)}, MinVersion: tls.VersionTLS12,
	})
	const good, bad = "URI=spiffe://prod/header", "URI=spiffe://prod/header;"
	trusted := identity.XFCC(identity.DefaultPeers())
	tests := []struct {
		name    string
		sources []identity.Source
		header  string
		want    string
	}{
		{"certificate first", []identity.Source{identity.MTLS(), trusted}, good, "mtls spiffe://prod/cert"},
		{"header first", []identity.Source{trusted, identity.MTLS()}, good, "xfcc spiffe://prod/header"},
		{"bad header first", []identity.Source{trusted, identity.MTLS()}, bad, "the header x-forwarded-client-cert does not keep its grammar"},
		{"header of an untrusted peer", []identity.Source{identity.XFCC(far), identity.MTLS()}, good, "mtls spiffe://prod/cert"},
		{"bad header of an untrusted peer", []identity.Source{identity.XFCC(far), identity.MTLS()}, bad, "mtls spiffe://prod/cert"},
		{"nothing to try", nil, good, "the call brings no identity that this service accepts"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := open(t, identity.New(test.sources...), "tcp", creds).ask(t, client, "x-forwarded-client-cert", test.header)
			if got != test.want {
				t.Errorf("the caller is %q, want %q", got, test.want)
			}
		})
	}
}

// TestPeers holds which addresses a list means: IPv4 within IPv6 is IPv4, and an empty list means nobody.
func TestPeers(t *testing.T) {
	tests := []struct {
		name  string
		peers []string
		addr  net.Addr
		want  bool
	}{
		{"in the range", []string{"10.0.0.0/8"}, &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3).To4()}, true},
		{"IPv4 within IPv6", []string{"10.0.0.0/8"}, &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3).To16()}, true},
		{"a range of IPv4 within IPv6", []string{"::ffff:10.0.0.0/104"}, &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3)}, true},
		{"an address of IPv4 within IPv6", []string{"::ffff:10.1.2.3"}, &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3)}, true},
		{"outside a range of IPv4 within IPv6", []string{"::ffff:10.0.0.0/104"}, &net.TCPAddr{IP: net.IPv4(11, 1, 2, 3)}, false},
		{"outside", []string{"10.0.0.0/8"}, &net.TCPAddr{IP: net.IPv4(11, 1, 2, 3)}, false},
		{"with a zone", []string{"fe80::/10"}, &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, true},
		{"socket", []string{"unix"}, &net.UnixAddr{Net: "unix"}, true},
		{"socket not listed", []string{"0.0.0.0/0", "::/0"}, &net.UnixAddr{Net: "unix"}, false},
		{"no list", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
		{"no address", []string{"0.0.0.0/0", "::/0", "unix"}, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			peers, err := identity.ParsePeers(test.peers)
			if err != nil {
				t.Fatal(err)
			}
			ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: test.addr})
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("l5d-client-id", "a.example"))
			if _, err := identity.New(identity.Linkerd(peers)).Resolve(ctx); (err == nil) != test.want {
				t.Errorf("Resolve() of a call by %v = %v, want trust in %q: %t", test.addr, err, test.peers, test.want)
			}
		})
	}
	for _, misspelt := range []string{"sidecar", "10.0.0.0/33", "UNIX", " unix", "fe80::1%eth0", ""} {
		if _, err := identity.ParsePeers([]string{"10.0.0.0/8", misspelt}); err == nil || !strings.Contains(err.Error(), strconv.Quote(misspelt)) {
			t.Errorf("ParsePeers(%q) = %v, want an error that names it", misspelt, err)
		}
	}
}
