package tally_test

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

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
