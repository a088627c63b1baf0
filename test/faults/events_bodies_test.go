package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawDelivery is what a sender writes: its bytes as they are, then the rest over and over, a piece at a time with a pause between two.
type rawDelivery struct {
	name string
	text string
	rest []byte
	most int // pieces of the rest
	// pause is between two pieces; 0 for none.
	pause time.Duration

	want int // status; 0 for the end of the connection without a word
}

// send writes a delivery and returns the status of its answer; 0 when the connection ends without one.
func (r rawDelivery) send(t *testing.T, l *logger) (int, http.Header) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.hooks, "http://"))
	if err != nil {
		t.Error(err)
		return -1, nil
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Error(err)
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	defer writing.Wait()
	defer close(stop)
	writing.Go(func() { r.write(conn, stop) })
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err, ok := err.(net.Error); ok && err.Timeout() { //nolint:errorlint // it is the connection's own
		t.Errorf("%s has no answer after %v", r.name, patience)
		return -1, nil
	}
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// write writes a delivery until all of it is written, nobody takes it or it is told to stop.
func (r rawDelivery) write(conn net.Conn, stop <-chan struct{}) {
	_, err := io.WriteString(conn, r.text)
	every := time.NewTicker(max(r.pause, 1))
	defer every.Stop()
	for n := 0; n < r.most && err == nil && !closed(stop); n++ {
		if r.pause > 0 {
			select {
			case <-every.C:
			case <-stop:
			}
		}
		_, err = conn.Write(r.rest)
	}
}

// rawDeliveries are deliveries that are wrong in every way but their signature.
func rawDeliveries(d *deliverer) []rawDelivery {
	body := d.body("f1", "never", "x")
	signature := "Tally-Signature: " + sign(d.ourSigning, body) + "\r\n"
	head := func(more ...string) string {
		return "POST /hooks/f1 HTTP/1.1\r\nHost: hooks\r\n" + strings.Join(more, "\r\n") + "\r\n" + signature + "\r\n"
	}
	length := fmt.Sprintf("Content-Length: %d", len(body))
	whole := length + "\r\n" + signature + "\r\n" + string(body)
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", 64<<10, bytes.Repeat([]byte(" "), 64<<10))
	list := []rawDelivery{
		{name: "10 MB announced", text: head("Content-Length: 10485760"), want: 413},
		{name: "10 MB sent", text: head("Content-Length: 10485760"), rest: make([]byte, 1<<20), most: 10, want: 413},
		{name: "10 MB in chunks", text: head("Transfer-Encoding: chunked"), rest: chunk, most: 160, want: 413},
		{name: "chunks without end", text: head("Transfer-Encoding: chunked"), rest: chunk, most: 1 << 20, want: 413},
		{name: "gzip", text: head("Content-Encoding: gzip", length) + string(body), want: 415},
		{name: "no coding by name", text: head("Content-Encoding: identity", length) + string(body), want: 415},
		{name: "body that stops", text: head(length) + string(body[:20]), want: 408},
		{name: "chunk that stops", text: head("Transfer-Encoding: chunked"), rest: chunk[:100], most: 1, want: 408},
		{name: "body at 1 B/s", text: head(length), rest: []byte(" "), most: 1000, pause: time.Second, want: 408},
		{name: "chunks at 1 B/s", text: head("Transfer-Encoding: chunked"), rest: []byte("1\r\n \r\n"), most: 1000, pause: time.Second, want: 408},
		{name: "headers at 1 B/s", text: "POST /hooks/f1 HTTP/1.1\r\nHost: hooks\r\nX-Long: ", rest: []byte("x"), most: 1000, pause: time.Second},
		{name: "request line that stops", text: "POST /hooks/f1 HT", want: 400},
		{name: "headers that stop", text: "POST /hooks/f1 HTTP/1.1\r\nHost: ho"},
		{name: "nothing"},
		{name: "headers of 64 KiB", text: head("X-Long: " + strings.Repeat("x", 64<<10)), want: 431},
		{name: "another protocol", text: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: 400},
		{name: "no protocol at all", text: "\x16\x03\x01 hello\r\n\r\n", want: 400},
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
		list = append(list, rawDelivery{name: method, text: method + " /hooks/f1 HTTP/1.1\r\nHost: hooks\r\n" + whole, want: 405})
	}
	for _, path := range []string{"/", "/hooks/", "/hooks", "/hooks/f1/", "/hooks/f1/x", "/hook/f1", "/hooks/a.b", "/hooks/%2e%2e", "/hooks/f%2a", "/hooks/f%201", "/metrics", "/readyz", "/debug/pprof/", "/hooks/" + strings.Repeat("f", 65)} {
		list = append(list, rawDelivery{name: path, text: "POST " + path + " HTTP/1.1\r\nHost: hooks\r\n" + whole, want: 404})
	}
	return list
}

// TestOddDeliveries covers row 97: what is too large, too slow, compressed or at the wrong door is refused as the rest of its kind is, a
// few of each at the same time, in bounded memory, while honest deliveries are taken.
func TestOddDeliveries(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l, goroutines := d.settled(t)
	before := l.peak(t)
	meanwhile := d.deliverMeanwhile(t, l)
	var sending sync.WaitGroup
	for _, r := range rawDeliveries(d) {
		for range 4 {
			sending.Go(func() {
				got, header := r.send(t, l)
				if got != r.want {
					t.Errorf("%s is answered with %d, want %d", r.name, got, r.want)
				}
				if got == http.StatusMethodNotAllowed && header.Get("Allow") != http.MethodPost {
					t.Errorf("%s: Allow = %q, want POST", r.name, header.Get("Allow"))
				}
			})
		}
	}
	sending.Wait()
	taken := meanwhile()
	if len(taken) < 10 {
		t.Errorf("%d honest deliveries were taken meanwhile, want many", len(taken))
	}
	l.checkPeak(t, before, 96)
	l.checkLog(t, "f1", taken...)
	d.checkAfter(t, l, goroutines)
}

// deliverMeanwhile delivers one submission after the other until the returned function is called, which returns them and fails if one of
// them was not taken.
func (d *deliverer) deliverMeanwhile(t *testing.T, l *logger) func() []string {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan error, 1)
	var taken []string
	go func() {
		ended <- repeat(stop, func() error {
			id := fmt.Sprintf("s%d", len(taken)+1)
			got, err := d.deliver(t.Context(), l, "f1", d.body("f1", id, "x"))
			if err == nil && got.status != http.StatusOK {
				err = fmt.Errorf("delivering %s: %d %s", id, got.status, got.body)
			}
			taken = append(taken, id)
			return err
		})
	}()
	return func() []string {
		close(stop)
		if err := <-ended; err != nil {
			t.Errorf("a delivery meanwhile: %v", err)
		}
		return taken
	}
}

// TestSlowBodiesHoldUpNobody covers row 97 in numbers: three times as many bodies that do not come as may be waited for cost those that
// come nothing.
func TestSlowBodiesHoldUpNobody(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l, goroutines := d.settled(t)
	meanwhile := d.deliverMeanwhile(t, l)
	body := d.body("f1", "never", "x")
	slow := rawDelivery{
		name: "body that stops", want: http.StatusRequestTimeout,
		text: fmt.Sprintf("POST /hooks/f1 HTTP/1.1\r\nHost: hooks\r\nContent-Length: %d\r\nTally-Signature: %s\r\n\r\n{", len(body), sign(d.ourSigning, body)),
	}
	var sending sync.WaitGroup
	for range 3 * 256 {
		sending.Go(func() {
			if got, _ := slow.send(t, l); got != slow.want {
				t.Errorf("%s is answered with %d, want %d", slow.name, got, slow.want)
			}
		})
	}
	sending.Wait()
	l.checkLog(t, "f1", meanwhile()...)
	d.checkAfter(t, l, goroutines)
}
