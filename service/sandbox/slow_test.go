package sandbox

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrip(t *testing.T) {
	for _, tc := range []struct {
		name, rule string
		want       time.Duration
	}{
		{"a byte a second", `"drip":1,"body":"abcd"`, 4 * time.Second},
		{"a hundred", `"drip":100,"body":"` + strings.Repeat("x", 200) + `"`, 2 * time.Second},
		{"the header too", `"drip":1000,"dripHead":true,"body":""`, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script, err := ParseFaults(strings.NewReader(`[{"route":"*",` + tc.rule + `}]`))
				if err != nil {
					t.Fatalf("ParseFaults() = %v, want no error", err)
				}
				p := newPlayer(script, &Sandbox{})
				defer p.stop()
				near, far := net.Pipe()
				go func() {
					f := script.rules[0]
					code, header, body := f.compose(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder())
					p.send(far, f, wire(f, code, header, body))
					far.Close()
				}()
				begin := time.Now()
				read, err := io.ReadAll(near)
				if err != nil || !bytes.HasPrefix(read, []byte("HTTP/1.1 200 OK\r\n")) {
					t.Fatalf("read %q (%v), want an answer", read, err)
				}
				took := time.Since(begin)
				if tc.want > 0 && took != tc.want || tc.want == 0 && took < 100*time.Millisecond {
					t.Errorf("took %v, want %v", took, tc.want)
				}
			})
		})
	}
}

func TestDripOverTheWire(t *testing.T) {
	b := faulty(t, `[{"route":"*","drip":2000,"body":"`+strings.Repeat("x", 100)+`"}]`)
	b.do("GET /users/me").want(200).wantBody(strings.Repeat("x", 100))
}

func TestDelay(t *testing.T) {
	for _, tc := range []struct {
		name, rule string
		wantSeen   bool
	}{{"before", `"delay":"2s"`, false}, {"after", `"delay":"2s","after":true`, true}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script, err := ParseFaults(strings.NewReader(`[{"route":"*",` + tc.rule + `}]`))
				if err != nil {
					t.Fatalf("ParseFaults() = %v, want no error", err)
				}
				p := newPlayer(script, &Sandbox{})
				defer p.stop()
				var seen atomic.Bool
				begin := time.Now()
				inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					seen.Store(true)
					w.Write([]byte("done"))
				})
				rec := httptest.NewRecorder()
				done := make(chan time.Duration)
				go func() {
					p.play(rec, httptest.NewRequest("GET", "/", nil), "GET /", inner)
					done <- time.Since(begin)
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				if got := seen.Load(); got != tc.wantSeen {
					t.Errorf("processed within the delay = %v, want %v", got, tc.wantSeen)
				}
				if took := <-done; took != 2*time.Second || rec.Body.String() != "done" {
					t.Errorf("took %v for %q, want 2s for done", took, rec.Body)
				}
			})
		})
	}
}

func TestCloseEndsDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(nil, &Sandbox{})
		done := make(chan bool)
		go func() {
			p.wait(t.Context(), time.Hour)
			close(done)
		}()
		synctest.Wait()
		begin := time.Now()
		p.stop()
		<-done
		if took := time.Since(begin); took != 0 {
			t.Errorf("wait took %v after stop, want 0", took)
		}
	})
}

func TestTakeOverNeedsAConnection(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	defer s.Close()
	script, err := ParseFaults(strings.NewReader(`[{"route":"*","reset":true}]`))
	if err != nil {
		t.Fatalf("ParseFaults() = %v, want no error", err)
	}
	s.SetFaults(script)
	defer func() {
		got, _ := recover().(error)
		if !errors.Is(got, http.ErrAbortHandler) {
			t.Errorf("recover() = %v, want %v", got, http.ErrAbortHandler)
		}
	}()
	s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/users/me", nil))
}
