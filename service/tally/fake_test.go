package tally_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// script is a Tally made of bytes: each connection reads requests and answers the n-th request of all with the n-th step.
type script struct {
	listener    net.Listener
	scheme      string
	connections atomic.Int64
	requests    atomic.Int64
	latest      atomic.Pointer[http.Request]
	steps       []func(net.Conn, *http.Request)
	served      sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
}

// play starts a script; the last step serves all further requests.
func play(t testing.TB, steps ...func(net.Conn, *http.Request)) *script {
	t.Helper()
	return playOn(t, "http", listen(t), steps...)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// playOn starts a script on a listener of the test's making, such as one with TLS.
func playOn(t testing.TB, scheme string, listener net.Listener, steps ...func(net.Conn, *http.Request)) *script {
	t.Helper()
	s := &script{steps: steps}
	s.start(t, scheme, listener, s.serve)
	return s
}

// playRaw starts a Tally that does with each connection what serve does, and then closes it.
func playRaw(t testing.TB, scheme string, listener net.Listener, serve func(net.Conn)) *script {
	t.Helper()
	s := &script{}
	s.start(t, scheme, listener, serve)
	return s
}

func (s *script) start(t testing.TB, scheme string, listener net.Listener, serve func(net.Conn)) {
	s.scheme, s.listener, s.open = scheme, listener, map[net.Conn]bool{}
	s.served.Go(func() { s.accept(serve) })
	t.Cleanup(s.stop)
}

func (s *script) url() string { return s.scheme + "://" + s.listener.Addr().String() }

// last returns the latest request, without its body.
func (s *script) last() *http.Request { return s.latest.Load() }

func (s *script) accept(serve func(net.Conn)) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.connections.Add(1)
		s.mu.Lock()
		s.open[conn] = true
		s.mu.Unlock()
		s.served.Go(func() {
			defer conn.Close()
			serve(conn)
			s.mu.Lock()
			delete(s.open, conn)
			s.mu.Unlock()
		})
	}
}

func (s *script) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		s.latest.Store(req)
		n := int(s.requests.Add(1))
		s.steps[min(n, len(s.steps))-1](conn, req)
	}
}

func (s *script) stop() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.open {
		conn.Close()
	}
	s.mu.Unlock()
	s.served.Wait()
}

// say writes bytes as they are.
func say(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) { _, _ = io.WriteString(conn, text) }
}

// reply writes an answer with headers given as lines.
func reply(status, headers, body string) func(net.Conn, *http.Request) {
	if headers != "" {
		headers = strings.ReplaceAll(headers, "\n", "\r\n") + "\r\n"
	}
	return say("HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
}

// reset ends the connection with a RST.
func reset(conn net.Conn, _ *http.Request) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// hang answers nothing until the connection ends.
func hang(conn net.Conn, _ *http.Request) { _, _ = conn.Read(make([]byte, 1)) }

// cut closes after some bytes.
func cut(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, text)
		conn.Close()
	}
}
