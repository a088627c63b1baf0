package tally_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// allocated returns how many bytes f allocates, those of the fake included. What lives at any moment is less.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// chunked gives an answer without a length.
func chunked(headers string, body []byte) []byte {
	text := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + headers + "\r\n"
	return append(append([]byte(text+strconv.FormatInt(int64(len(body)), 16)+"\r\n"), body...), "\r\n0\r\n\r\n"...)
}

// TestHugeBody covers row 27: a valid answer of 10 MB costs no more than the cap that it exceeds.
func TestHugeBody(t *testing.T) {
	const limit = 1 << 20
	huge := []byte(`{"id":"f1","name":"` + strings.Repeat("tally ", 10_000_000/6) + `"}`)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(huge)
	_ = w.Close()
	told := func(headers string, body []byte) []byte {
		return append([]byte("HTTP/1.1 200 OK\r\n"+headers+"Content-Length: "+itoa(len(body))+"\r\n\r\n"), body...)
	}
	tests := []struct {
		name   string
		answer []byte
	}{
		{"row 27: length told", told("", huge)},
		{"row 27: length not told", chunked("", huge)},
		{"row 27: gzip", told("Content-Encoding: gzip\r\n", packed.Bytes())},
		{"row 27: gzip, length not told", chunked("Content-Encoding: gzip\r\n", packed.Bytes())},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := play(t, func(c net.Conn, _ *http.Request) { _, _ = c.Write(test.answer) })
			leavesNothing(t)
			client := clientFor(t, fake.url(), func(c *tally.Config) { c.Limits.Body = limit })
			req, resp := read()
			var err error
			cost := allocated(func() { err = client.Call(t.Context(), req, resp) })
			checkFault(t, err, tally.KindTooLarge, tally.OutcomeUnknown)
			if cost > limit+2<<20 {
				t.Errorf("the call allocated %d KiB, want at most %d", cost>>10, (limit+2<<20)>>10)
			}
		})
	}
}

// protocols starts the same server once with HTTP/1.1 and once with HTTP/2.
func protocols(t *testing.T, name string, handler http.HandlerFunc, test func(t *testing.T, address string, trust func(*tally.Config))) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(name+"/"+protocol, func(t *testing.T) {
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = protocol == "HTTP/2"
			server.StartTLS()
			t.Cleanup(server.Close)
			leavesNothing(t)
			test(t, server.URL, func(c *tally.Config) { c.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig })
		})
	}
}

// TestHugeBodyFromServer covers row 27 with TLS, and with HTTP/2, whose transport reads ahead.
func TestHugeBodyFromServer(t *testing.T) {
	const limit = 1 << 20
	page := bytes.Repeat([]byte("tally "), 10_000_000/6)
	for name, length := range map[string]string{"row 27: length told": itoa(len(page)), "row 27: length not told": ""} {
		handler := func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			_, _ = w.Write(page)
		}
		protocols(t, name, handler, func(t *testing.T, address string, trust func(*tally.Config)) {
			client := clientFor(t, address, trust, func(c *tally.Config) { c.Limits.Body = limit })
			req, resp := read()
			var err error
			cost := allocated(func() { err = client.Call(t.Context(), req, resp) })
			checkFault(t, err, tally.KindTooLarge, tally.OutcomeUnknown)
			if cost > limit+2<<20 {
				t.Errorf("the call allocated %d KiB, want at most %d", cost>>10, (limit+2<<20)>>10)
			}
		})
	}
}

// drip sends text piece by piece, until all is sent or nobody listens.
func drip(text string, size int, every time.Duration, send func(string) bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for len(text) > 0 && send(text[:min(size, len(text))]) {
		text = text[min(size, len(text)):]
		<-tick.C
	}
}

// TestDrippingHeader covers row 46: each byte comes soon after the one before, the header never.
func TestDrippingHeader(t *testing.T) {
	endless := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1000)
	for i, call := range []func() (proto.Message, proto.Message){read, write} {
		t.Run("row 46: header/"+[]string{"read", "write"}[i], func(t *testing.T) {
			fake := play(t, func(c net.Conn, _ *http.Request) {
				drip(endless, 1, 10*time.Millisecond, func(piece string) bool {
					_, err := c.Write([]byte(piece))
					return err == nil
				})
			})
			leavesNothing(t)
			client := clientFor(t, fake.url(), quick)
			req, resp := call()
			checkFault(t, client.Call(t.Context(), req, resp), tally.KindTimeout, tally.OutcomeUnknown)
			if n := fake.requests.Load(); n != 1 {
				t.Errorf("Tally saw %d requests, want 1", n)
			}
		})
	}
}

// TestDrippingBody covers rows 46 and 55: a body that comes slowly is read, as long as the limit lasts, and other calls do not notice,
// not even those that share its connection.
func TestDrippingBody(t *testing.T) {
	page := `{"id":"f1","name":"` + strings.Repeat("x", 600_000) + `"}`
	rates := map[string]struct {
		size  int
		every time.Duration
	}{
		"/forms/loris": {1, 10 * time.Millisecond},
		"/forms/slow":  {6_000, 20 * time.Millisecond},
		"/forms/fair":  {20_000, 2 * time.Millisecond},
	}
	arrived := make(chan struct{}, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		rate, slow := rates[r.URL.Path]
		if !slow {
			_, _ = io.WriteString(w, okForm)
			return
		}
		arrived <- struct{}{}
		flush := http.NewResponseController(w)
		drip(page, rate.size, rate.every, func(piece string) bool {
			_, err := io.WriteString(w, piece)
			return err == nil && flush.Flush() == nil && r.Context().Err() == nil
		})
		if r.Context().Err() != nil {
			// A server that ended the body in good order might be heard while the client is still hanging up.
			panic(http.ErrAbortHandler)
		}
	}
	tests := []struct {
		name, id string
		total    time.Duration
		wantKind tally.Kind
	}{
		{"row 46: byte by byte", "loris", 500 * time.Millisecond, tally.KindTimeout},
		{"row 55: slower than the limit", "slow", 500 * time.Millisecond, tally.KindTimeout},
		{"row 55: slow", "fair", 10 * time.Second, 0},
	}
	const limit = 1 << 20
	for _, test := range tests {
		protocols(t, test.name, handler, func(t *testing.T, address string, trust func(*tally.Config)) {
			client := clientFor(t, address, trust, func(c *tally.Config) { c.Limits.Total, c.Limits.Body = test.total, limit })
			result := make(chan error, 1)
			cost := allocated(func() {
				go func() {
					result <- client.Call(t.Context(), &tallydv1.GetFormRequest{FormId: test.id}, &tallydv1.GetFormResponse{})
				}()
				<-arrived
				for range 10 {
					req, resp := read()
					if err := client.Call(t.Context(), req, resp); err != nil {
						t.Errorf("another call: Call() = %v, want nil", err)
					}
				}
				checkFault(t, <-result, test.wantKind, tally.OutcomeUnknown)
			})
			// The body once in pieces, once whole, once decoded, and what all the calls need besides.
			if cost > 3*limit+2<<20 {
				t.Errorf("the calls allocated %d KiB, want at most %d", cost>>10, (3*limit+2<<20)>>10)
			}
		})
	}
}
