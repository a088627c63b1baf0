package tally_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers every question about any name in the same way.
type nameServer struct {
	conn      net.PacketConn
	code      dnsmessage.RCode
	addresses []netip.Addr
	silent    bool
	questions atomic.Int64
}

// resolve starts a name server and returns a resolver that asks it.
func (s *nameServer) resolve(t testing.TB) *net.Resolver {
	t.Helper()
	var err error
	if s.conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(s.serve)
	t.Cleanup(func() {
		s.conn.Close()
		served.Wait()
	})
	return askOnly(s.conn.LocalAddr().String())
}

func (s *nameServer) serve() {
	packet := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(packet[:n]) != nil || len(query.Questions) != 1 {
			continue
		}
		s.questions.Add(1)
		if !s.silent {
			s.answer(query, from)
		}
	}
}

func (s *nameServer) answer(query dnsmessage.Message, to net.Addr) {
	question := query.Questions[0]
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, RCode: s.code},
		Questions: query.Questions,
	}
	for _, address := range s.addresses {
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 60}
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case question.Type == dnsmessage.TypeAAAA && !address.Is4():
			message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	if packed, err := message.Pack(); err == nil {
		_, _ = s.conn.WriteTo(packed, to)
	}
}

// askOnly returns a resolver that knows one name server, whatever the system's configuration says.
func askOnly(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, server)
		if err == nil {
			// The resolver would wait its own five seconds for an answer that nobody needs any more.
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}}
}
