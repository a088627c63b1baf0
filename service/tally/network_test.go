package tally_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tallyd/tallyd/service/tally"
)

// nameServer answers over UDP on this machine and returns a resolver that asks it alone.
func nameServer(t *testing.T, answer func(dnsmessage.Question) (*dnsmessage.Message, bool)) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var asked dnsmessage.Message
			if asked.Unpack(buffer[:n]) != nil || len(asked.Questions) != 1 {
				continue
			}
			reply, ok := answer(asked.Questions[0])
			if !ok {
				continue
			}
			reply.ID, reply.Response, reply.Questions = asked.ID, true, asked.Questions
			if packed, err := reply.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// addresses answers with the addresses of the kind that is asked for.
func addresses(all ...string) func(dnsmessage.Question) (*dnsmessage.Message, bool) {
	return func(q dnsmessage.Question) (*dnsmessage.Message, bool) {
		m := &dnsmessage.Message{}
		for _, text := range all {
			addr := netip.MustParseAddr(text)
			header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
			switch {
			case addr.Is4() && q.Type == dnsmessage.TypeA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
			case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
			}
		}
		return m, true
	}
}

func failing(code dnsmessage.RCode) func(dnsmessage.Question) (*dnsmessage.Message, bool) {
	return func(dnsmessage.Question) (*dnsmessage.Message, bool) {
		return &dnsmessage.Message{Header: dnsmessage.Header{RCode: code}}, true
	}
}

// TestNameServer covers row 43: whatever the name server does, nothing is sent, and a public name that leads into a private network
// is no place for the key.
func TestNameServer(t *testing.T) {
	inside := play(t, reply("200 OK", json, okForm))
	port := inside.url()[strings.LastIndex(inside.url(), ":"):]
	tests := []struct {
		name   string
		answer func(dnsmessage.Question) (*dnsmessage.Message, bool)
	}{
		{"no such name", failing(dnsmessage.RCodeNameError)},
		{"server failure", failing(dnsmessage.RCodeServerFailure)},
		{"refused", failing(dnsmessage.RCodeRefused)},
		{"no address", addresses()},
		{"silence", func(dnsmessage.Question) (*dnsmessage.Message, bool) { return nil, false }},
		{"loopback", addresses("127.0.0.1", "::1")},
		{"loopback in IPv6 clothes", addresses("::ffff:127.0.0.1")},
		{"private network", addresses("10.1.2.3", "192.168.0.1", "172.16.0.1", "fd00::1")},
		{"cloud metadata", addresses("169.254.169.254", "fe80::1")},
		{"carrier's own", addresses("100.64.0.1")},
		{"unspecified", addresses("0.0.0.0", "::")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := clientFor(t, "https://tally.example"+port, quick, func(c *tally.Config) {
				c.Resolver, c.Limits.Connect = nameServer(t, test.answer), 100*time.Millisecond
			})
			req, resp := write()
			checkFault(t, client.Call(t.Context(), req, resp), tally.KindDNS, tally.OutcomeNotSent)
		})
	}
	if n := inside.connections(); n != 0 {
		t.Errorf("%d connections reached the private address, want 0", n)
	}
}

// swallow listens at an address in such a way that a connection to it is neither made nor refused: its queue is full.
func swallow(t *testing.T, address string) {
	t.Helper()
	addr := netip.MustParseAddrPort(address)
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := os.NewSyscallError("v6only", syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}); err != nil {
		t.Skipf("no IPv6 loopback here: %v", err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		conn, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
		if err != nil {
			return // the queue is full
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("the queue of this system never fills")
}

// TestBlackHole covers row 44: an address that answers nothing at all ends within the limit for connecting.
func TestBlackHole(t *testing.T) {
	port := freePort(t)
	swallow(t, "[::1]:"+port)
	client := clientFor(t, "http://[::1]:"+port, quick)
	req, resp := write()
	checkFault(t, client.Call(t.Context(), req, resp), tally.KindConnect, tally.OutcomeNotSent)
}

// TestHappyEyeballs covers row 56: an IPv6 that swallows everything costs a call 300 ms at most, since IPv4 works. The limit for
// connecting is longer than that, so that a call which waits it out fails.
func TestHappyEyeballs(t *testing.T) {
	fake := play(t, reply("200 OK", json, okForm))
	port := fake.url()[strings.LastIndex(fake.url(), ":")+1:]
	swallow(t, "[::1]:"+port)
	client := clientFor(t, "http://both.localhost:"+port, func(c *tally.Config) {
		c.Resolver = nameServer(t, addresses("::1", "127.0.0.1"))
		// Were IPv6 given its share of the limit before IPv4 is tried, the limit for the whole call would pass.
		c.Limits.Connect, c.Limits.Total = 10*time.Second, 2*time.Second
	})
	req, resp := read()
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Errorf("Call() = %v, want nil", err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback here: %v", err)
	}
	defer listener.Close()
	return strconv.Itoa(int(netip.MustParseAddrPort(listener.Addr().String()).Port()))
}

// TestThinLine covers row 55: a page that trickles in at 10 KB/s ends at the limit, with no more memory than the limit on answers,
// and one that fits in the time is read whole.
func TestThinLine(t *testing.T) {
	page := `{"id":"f1","name":"` + strings.Repeat("x", 20_000) + `"}`
	trickle := func(pause time.Duration) step {
		return func(conn net.Conn, _ *http.Request) {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(page)) + "\r\n\r\n"))
			for rest := page; rest != ""; {
				n := min(len(rest), 1000)
				if _, err := conn.Write([]byte(rest[:n])); err != nil {
					return
				}
				rest = rest[n:]
				time.Sleep(pause) // it is the line that is slow, not the test that waits
			}
		}
	}
	req, resp := read()
	if err := clientFor(t, play(t, trickle(time.Millisecond)).url()).Call(t.Context(), req, resp); err != nil {
		t.Errorf("Call() = %v, want nil", err)
	}
	slow := clientFor(t, play(t, trickle(100*time.Millisecond)).url(), quick)
	checkFault(t, slow.Call(t.Context(), req, resp), tally.KindTimeout, tally.OutcomeUnknown)
}

// TestSlowCallHoldsUpNoOther covers the rest of row 46.
func TestSlowCallHoldsUpNoOther(t *testing.T) {
	var first atomic.Bool
	arrived, release := make(chan struct{}), make(chan struct{})
	client := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(false, true) {
			close(arrived)
			<-release
		}
		answers(http.StatusOK, okForm)(w, nil)
	})
	slow := make(chan error, 1)
	go func() {
		req, resp := read()
		slow <- client.Call(t.Context(), req, resp)
	}()
	<-arrived
	for range 20 {
		req, resp := read()
		if err := client.Call(t.Context(), req, resp); err != nil {
			t.Errorf("Call() = %v, want nil", err)
		}
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("the slow call = %v, want nil", err)
	}
}
