package tally_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/tally"
)

// impatient limits the way to Tally far below the time for a whole request, so that it is seen which limit ended a call.
func impatient(c *tally.Config) {
	c.Limits.Connect, c.Limits.TLS = 200*time.Millisecond, 200*time.Millisecond
	c.Limits.Header, c.Limits.Total = 5*time.Second, 10*time.Second
}

// under gives the address of a fake another host name.
func under(t testing.TB, host, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = net.JoinHostPort(host, u.Port())
	return u.String()
}

// TestNameServer covers row 43: whatever is wrong with the name, nothing leaves, and it is known soon. The fake listens where a
// private answer leads, so that a client that follows it is seen.
func TestNameServer(t *testing.T) {
	private := func(addresses ...string) *nameServer {
		s := &nameServer{}
		for _, a := range addresses {
			s.addresses = append(s.addresses, netip.MustParseAddr(a))
		}
		return s
	}
	tests := []struct {
		name   string
		server *nameServer
	}{
		{"row 43: no such name", &nameServer{code: dnsmessage.RCodeNameError}},
		{"row 43: name server fails", &nameServer{code: dnsmessage.RCodeServerFailure}},
		{"row 43: name server refuses", &nameServer{code: dnsmessage.RCodeRefused}},
		{"row 43: name without address", &nameServer{}},
		{"row 43: name server takes longer than we wait", &nameServer{silent: true}},
		{"row 43: this machine", private("127.0.0.1")},
		{"row 43: this machine, IPv6", private("::1")},
		{"row 43: this machine, IPv4 in IPv6", private("::ffff:127.0.0.1")},
		{"row 43: any address", private("0.0.0.0", "::")},
		{"row 43: private network", private("10.0.0.1", "172.16.0.1", "192.168.0.1", "fd00::1")},
		{"row 43: link", private("169.254.169.254", "fe80::1")},
		{"row 43: carrier's network", private("100.64.0.1")},
		{"row 43: everybody", private("255.255.255.255", "224.0.0.1", "ff02::1")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := play(t, reply("201 Created", json, okForm))
			resolver := test.server.resolve(t)
			leavesNothing(t)
			client := clientFor(t, under(t, "api.tally.test", fake.url()), impatient, func(c *tally.Config) { c.Resolver = resolver })
			req, resp := write()
			begin := time.Now()
			checkFault(t, client.Call(t.Context(), req, resp), tally.KindDNS, tally.OutcomeNotSent)
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("Call() took %v, want about Limits.Connect at most", took)
			}
			if test.server.questions.Load() == 0 {
				t.Error("the name server was asked nothing")
			}
			if n := fake.connections.Load(); n != 0 {
				t.Errorf("the private address saw %d connections, want 0", n)
			}
		})
	}
}

// TestOwnNameServer shows that the fakes above work: a name that leads to Tally is called, and under its own name.
func TestOwnNameServer(t *testing.T) {
	server := &nameServer{addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	fake := play(t, reply("200 OK", json, okForm))
	resolver := server.resolve(t)
	leavesNothing(t)
	// Only a name that says openly that it is this machine may lead to it.
	address := under(t, "tally.localhost", fake.url())
	client := clientFor(t, address, func(c *tally.Config) { c.Resolver = resolver })
	req, resp := read()
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	if got := fake.last().Host; !strings.HasPrefix(got, "tally.localhost:") {
		t.Errorf("Host = %q, want the name", got)
	}
}

// blackHole listens at an address and swallows every packet that comes: its queue of connections is full and nobody accepts.
func blackHole(t testing.TB, network, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("no black hole: %v", err)
	}
	t.Cleanup(func() { listener.Close() })
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		conn, err := net.DialTimeout(network, listener.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return listener
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("no black hole: this system accepts more connections than were asked for")
	return nil
}

// TestUnreachable covers row 44: nothing leaves where nobody listens, and it is known within the limit.
func TestUnreachable(t *testing.T) {
	closed := listen(t)
	closed.Close()
	tests := []struct {
		name    string
		address string
	}{
		{"row 44: refused", closed.Addr().String()},
		{"row 44: black hole", blackHole(t, "tcp4", "127.0.0.1:0").Addr().String()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			leavesNothing(t)
			client := clientFor(t, "http://"+test.address, impatient)
			req, resp := write()
			begin := time.Now()
			checkFault(t, client.Call(t.Context(), req, resp), tally.KindConnect, tally.OutcomeNotSent)
			// Two attempts, each within Limits.Connect.
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("Call() took %v, want about twice Limits.Connect at most", took)
			}
		})
	}
}

// TestDeadlineInBlackHole covers row 44: a caller's deadline ends before the limit does.
func TestDeadlineInBlackHole(t *testing.T) {
	hole := blackHole(t, "tcp4", "127.0.0.1:0")
	leavesNothing(t)
	client := clientFor(t, "http://"+hole.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, resp := write()
	checkFault(t, client.Call(ctx, req, resp), tally.KindDeadline, tally.OutcomeNotSent)
}

// TestIPv6BlackHole covers row 56: when packets over IPv6 vanish, IPv4 is tried after a quarter of a second, long before the dial's
// limit.
func TestIPv6BlackHole(t *testing.T) {
	fake := play(t, reply("200 OK", json, okForm))
	_, port, err := net.SplitHostPort(fake.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	blackHole(t, "tcp6", net.JoinHostPort("::1", port))
	server := &nameServer{addresses: []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}}
	resolver := server.resolve(t)
	leavesNothing(t)
	client := clientFor(t, under(t, "tally.localhost", fake.url()), func(c *tally.Config) { c.Resolver = resolver })
	req, resp := read()
	begin := time.Now()
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if took < 200*time.Millisecond {
		t.Errorf("Call() took %v: IPv6 was not tried first, so this test shows nothing", took)
	}
	if took > time.Second {
		t.Errorf("Call() took %v, want 300 ms and a little", took)
	}
}

// TestStaleConnection covers row 49: Tally closed the connection between two calls. A write goes out once, on a new one.
func TestStaleConnection(t *testing.T) {
	closeAfter := func(c net.Conn, r *http.Request) {
		reply("200 OK", json, okForm)(c, r)
		c.Close()
	}
	fake := play(t, closeAfter, reply("201 Created", json, okForm))
	leavesNothing(t)
	client := clientFor(t, fake.url())
	req, resp := read()
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	req, resp = write()
	err := client.Call(t.Context(), req, resp)
	if err == nil && fake.requests.Load() != 2 {
		t.Errorf("Tally saw %d requests, want the read and the write", fake.requests.Load())
	}
	if err != nil {
		// The client saw the end only after it wrote. Nobody knows what became of it, so it must not have been sent again.
		checkFault(t, err, tally.KindReset, tally.OutcomeUnknown)
		if fake.requests.Load() != 1 {
			t.Errorf("Tally saw %d requests, want the read alone", fake.requests.Load())
		}
	}
}

// TestKeptConnectionDies covers rows 49 and 50: on a connection that served before, Go's client takes an end without answer for an
// idle connection's and sends again what it may. It may not a write.
func TestKeptConnectionDies(t *testing.T) {
	ends := map[string]step{"closed": cut(""), "reset": reset}
	tests := []struct {
		name         string
		call         func() (proto.Message, proto.Message)
		wantKind     tally.Kind
		wantOutcome  tally.Outcome
		wantRequests int64
	}{
		{"read", read, 0, "", 3},
		{"write", write, tally.KindReset, tally.OutcomeUnknown, 2},
		{"write without a body", retry, tally.KindReset, tally.OutcomeUnknown, 2},
		{"delete", remove, 0, "", 3},
	}
	for end, dies := range ends {
		for _, test := range tests {
			t.Run("row 49: "+end+"/"+test.name, func(t *testing.T) {
				fake := play(t, reply("200 OK", json, okForm), dies, reply("200 OK", json, okForm))
				leavesNothing(t)
				client := clientFor(t, fake.url())
				req, resp := read()
				if err := client.Call(t.Context(), req, resp); err != nil {
					t.Fatal(err)
				}
				req, resp = test.call()
				checkFault(t, client.Call(t.Context(), req, resp), test.wantKind, test.wantOutcome)
				if got := fake.requests.Load(); got != test.wantRequests {
					t.Errorf("Tally saw %d requests, want %d", got, test.wantRequests)
				}
			})
		}
	}
}

// proxyTest names the variable by which TestProxyOfTheEnvironment knows that it is the child.
const proxyTest = "TALLYD_TEST_PROXY_CHILD"

// TestProxyOfTheEnvironment covers row 57: the key does not go to a proxy that somebody set. It runs again as a child, since Go reads
// the environment once.
func TestProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv(proxyTest) != "" {
		callThroughEnvironment(t)
		return
	}
	proxy := play(t, reply("200 OK", json, okForm))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), program, "-test.run=^TestProxyOfTheEnvironment$", "-test.count=1")
	child.Env = append(os.Environ(), proxyTest+"=1", "NO_PROXY=", "no_proxy=", "REQUEST_METHOD=")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		child.Env = append(child.Env, name+"="+proxy.url())
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("the child failed: %v\n%s", err, out)
	}
	if n := proxy.connections.Load(); n != 0 {
		t.Errorf("the proxy saw %d connections, want 0", n)
	}
}

func callThroughEnvironment(t *testing.T) {
	home := newAuthority(t)
	// Go never asks a proxy for an address of this machine, so a name it must be.
	named := home.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"tally.localhost"} })
	server := &nameServer{addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	resolver := server.resolve(t)
	own := func(c *tally.Config) { c.Resolver = resolver }
	for _, fake := range []*script{
		play(t, reply("200 OK", json, okForm)),
		playOn(t, "https", listenTLS(t, &tls.Config{Certificates: []tls.Certificate{named}}), reply("200 OK", json, okForm)),
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, under(t, "tally.localhost", fake.url()), nil)
		if err != nil {
			t.Fatal(err)
		}
		if proxy, err := http.ProxyFromEnvironment(request); err != nil || proxy == nil {
			t.Fatalf("ProxyFromEnvironment(%v) = %v, %v, want the proxy, else this test shows nothing", request.URL, proxy, err)
		}
		client := clientFor(t, request.URL.String(), home.trusted, own)
		req, resp := read()
		if err := client.Call(t.Context(), req, resp); err != nil {
			t.Errorf("%s: Call() = %v, want nil", fake.scheme, err)
		}
		if n := fake.requests.Load(); n != 1 {
			t.Errorf("%s: Tally saw %d requests, want 1", fake.scheme, n)
		}
	}
}
