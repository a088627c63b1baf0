package faults

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// most is how many calls of one connection tallyd works on at a time.
const most = 1000

// crowd is a Tally that keeps the requests for one form until their caller leaves, and counts those that it has at a time.
type crowd struct {
	// fill says that it has as many as it may get.
	fill func()

	mu        sync.Mutex
	now, peak int
}

func (c *crowd) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/forms/f1" {
		aForm(w, r)
		return
	}
	c.count(1)
	defer c.count(-1)
	<-r.Context().Done()
}

// count notes that a request came or went, and returns the most that there were at a time.
func (c *crowd) count(more int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += more
	if c.peak = max(c.peak, c.now); c.now == most {
		c.fill()
	}
	return c.peak
}

// TestRapidReset covers row 80: a client opens streams and resets them at once, as fast as it can. No more calls are worked on than one
// connection may have, others are answered meanwhile, and the memory is that of those calls.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	full := make(chan struct{})
	c := &crowd{fill: sync.OnceFunc(func() { close(full) })}
	// Garbage may grow to four times what lives, and more where the collector gets no processor: here what lives is in question.
	tally := newTally(t, alive(c.answer))
	p := serve(t, []string{"GOGC=50"}, "--tally-url", tally.URL, "--key-file", write(t, []byte(newKey()), 0o600))
	before := p.peak(t)
	w := connect(t, p.address)
	go func() { _, _ = io.Copy(io.Discard, w.Conn) }()
	calls := callMeanwhile(t, p)
	message := encode(t, &tallydv1.GetFormRequest{FormId: "f1"})
	// Twice as many as may be open: the limit holds without any reset.
	for range 2 * most {
		w.send(t, anew(), message)
	}
	await(t, full, "as many requests as one connection may have")
	var err error
	for n := 0; n < 100_000 && err == nil; n++ {
		err = w.openAndReset(n, message)
	}
	if err != nil {
		t.Errorf("the flood ended in %v, want it held back by its own pace alone", err)
	}
	calls(t)
	// Tally learns of a reset a little after its place was given away.
	if peak := c.count(0); peak > most*3/2 {
		t.Errorf("Tally had %d requests at a time, want about %d", peak, most)
	}
	p.checkPeak(t, before, 200)
}

// anew are the headers of a call that wants a request to Tally of its own: others for the same would share one.
func anew() []field {
	return usual("/tallyd.v1.FormService/GetForm", field{"cache-control", "no-cache"})
}

// openAndReset takes back the oldest stream and opens another, which is whole each second time and taken back at once else.
func (w *wire) openAndReset(n int, message []byte) error {
	headers, id := anew(), w.stream
	w.stream += 2
	if n%2 == 0 {
		err := w.sendWhole(id, headers, message)
		return errors.Join(err, w.frames.WriteRSTStream(uint32(n+1), http2.ErrCodeCancel))
	}
	return errors.Join(w.sendHeaders(id, headers), w.frames.WriteRSTStream(id, http2.ErrCodeCancel))
}

// callMeanwhile calls over another connection until the returned function is called, which fails if one of the calls did.
func callMeanwhile(t *testing.T, p *process) func(*testing.T) {
	t.Helper()
	forms := tallydv1.NewFormServiceClient(p.dial(t))
	call := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "f2"})
		return err
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- repeat(stop, call) }()
	return func(t *testing.T) {
		t.Helper()
		close(stop)
		if err := errors.Join(<-ended, call()); err != nil {
			t.Errorf("GetForm() of another client during the flood and after it = %v, want nil", err)
		}
	}
}

// checkPeak demands that the memory of a process never grew by more than some MiB.
func (p *process) checkPeak(t *testing.T, before, most int) {
	t.Helper()
	if grown := p.peak(t) - before; grown > most {
		t.Errorf("the peak of memory grew by %d MiB, want at most %d", grown, most)
	}
}

// TestFrameFloods covers row 81: whatever frames a client sends without end, and without reading what they are answered, the memory
// stays, others are answered meanwhile, and where the frames break HTTP/2 the connection ends.
func TestFrameFloods(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		frame   func(w *wire, n int) error
		wantEnd bool
	}{
		{"CONTINUATION", func(w *wire, n int) error {
			if n == 0 {
				return w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
			}
			return w.frames.WriteContinuation(1, false, literal)
		}, true},
		{"empty CONTINUATION", func(w *wire, n int) error {
			if n == 0 {
				return w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
			}
			return w.frames.WriteContinuation(1, false, nil)
		}, false},
		{"SETTINGS", func(w *wire, n int) error {
			return w.frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(n)})
		}, false},
		{"PING", func(w *wire, _ int) error { return w.frames.WritePing(false, [8]byte{}) }, true},
		{"window update of the connection", func(w *wire, _ int) error { return w.frames.WriteWindowUpdate(0, 1) }, false},
		{"window update of a stream", func(w *wire, _ int) error { return w.frames.WriteWindowUpdate(1, 1) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := serveWith(t, newTally(t, alive(aForm)), newKey())
			before := p.peak(t)
			w := connect(t, p.address)
			calls := callMeanwhile(t, p)
			// A peer that reads no more is as good as one that hangs up.
			if err := w.SetWriteDeadline(time.Now().Add(3 * time.Second)); err != nil {
				t.Fatal(err)
			}
			var err error
			// On a busy machine the end of the connection may come after many frames; the deadline above bounds them.
			for n := 0; (test.wantEnd || n < 300_000) && err == nil; n++ {
				err = test.frame(w, n)
			}
			if ended := err != nil && !errors.Is(err, os.ErrDeadlineExceeded); ended != test.wantEnd {
				t.Errorf("the flood ended in %v, want the end of the connection: %v", err, test.wantEnd)
			}
			calls(t)
			p.checkPeak(t, before, 48)
		})
	}
}

// literal is a header of 1 KiB, in the simplest encoding.
var literal = append([]byte{0x00, 0x01, 'x', 0x7f, 0x81, 0x07}, strings.Repeat("v", 1024)...)

// TestSlowPreface covers half of row 82: who does not get to the point within the time limit of a handshake is cut off.
func TestSlowPreface(t *testing.T) {
	t.Parallel()
	p := serveWith(t, newTally(t, alive(aForm)), newKey())
	var both sync.WaitGroup
	for name, pace := range map[string]time.Duration{"silent": time.Hour, "a byte a second": time.Second} {
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		stop := make(chan struct{})
		both.Go(func() { drip(conn, pace, stop) })
		began := time.Now()
		both.Go(func() {
			defer close(stop)
			_ = conn.SetReadDeadline(began.Add(patience))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection is open after %v, want it closed", name, patience)
			}
		})
	}
	both.Wait()
}

// drip sends the preface at a pace.
func drip(conn net.Conn, pace time.Duration, stop <-chan struct{}) {
	every := time.NewTicker(pace)
	defer every.Stop()
	for n := range len(http2.ClientPreface) {
		select {
		case <-every.C:
			if _, err := io.WriteString(conn, http2.ClientPreface[n:n+1]); err != nil {
				return
			}
		case <-stop:
			return
		}
	}
}

// TestIdleConnections covers the other half of row 82: 10,000 connections that do nothing cost little, and others are answered.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	p := serveWith(t, newTally(t, alive(aForm)), newKey())
	before, idle := p.peak(t), fewer(t, 10_000)
	calls := callMeanwhile(t, p)
	for n := range idle {
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		defer conn.Close()
		// Every other one does as far as a client goes before its first call.
		if n%2 == 0 {
			if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
				t.Fatal(err)
			}
			if err := http2.NewFramer(conn, nil).WriteSettings(); err != nil {
				t.Fatal(err)
			}
		}
	}
	calls(t)
	p.checkPeak(t, before, idle*32/1024+32)
}

// fewer returns n, or as many connections as this system lets a process have.
func fewer(t *testing.T, n int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const spare = 500
	if limit.Cur < uint64(n+spare) {
		t.Logf("only %d connections: the system allows %d open files", limit.Cur-spare, limit.Cur)
		return int(limit.Cur - spare)
	}
	return n
}
