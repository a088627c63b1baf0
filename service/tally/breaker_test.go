package tally_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallyd/tallyd/service/tally"
)

// trip answers a request without a network.
type trip func(*http.Request) (*http.Response, error)

// RoundTrip is http.RoundTripper's.
func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering answers with a status, and a form where that is a success.
func answering(code int, headers ...string) trip {
	return func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: code, Header: http.Header{}, Request: r, ContentLength: -1, Body: io.NopCloser(strings.NewReader(okForm))}
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			resp.Header.Set(name, value)
		}
		return resp, nil
	}
}

// broken is a request that ended without an answer.
func broken(err error) trip {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// virtual is a client in virtual time: it is answered by what trip is at that moment.
type virtual struct {
	*tally.Client

	trip     trip
	requests int
	circuit  []bool
	log      bytes.Buffer
}

func newVirtual(t *testing.T, first trip) *virtual {
	t.Helper()
	v := &virtual{trip: first}
	v.Client = clientFor(t, "http://127.0.0.1", func(c *tally.Config) {
		c.Circuit = func(open bool) { v.circuit = append(v.circuit, open) }
		c.Log = slog.New(slog.NewJSONHandler(&v.log, nil))
	})
	v.SetTransport(trip(func(r *http.Request) (*http.Response, error) {
		v.requests++
		return v.trip(r)
	}))
	return v
}

// write creates a workspace: a call that is never repeated.
func (v *virtual) write(ctx context.Context, options ...tally.Option) *tally.Error {
	req, resp := write()
	failure, _ := errors.AsType[*tally.Error](v.Call(ctx, req, resp, options...))
	return failure
}

// isOpen tells whether a call is refused without a request.
func (v *virtual) isOpen(t *testing.T) bool {
	t.Helper()
	before := v.requests
	failure := v.write(t.Context())
	refused := failure != nil && failure.Kind == tally.KindCircuitOpen
	if refused != (v.requests == before) {
		t.Fatalf("Call() = %v with %d requests, want the word of the breaker or a request", failure, v.requests-before)
	}
	if refused && (failure.Outcome != tally.OutcomeNotSent || failure.Attempts != 0 || failure.RetryAfter <= 0 || failure.RetryAfter > 10*time.Second) {
		t.Errorf("Call() = %v after %d attempts with RetryAfter %v, want not_sent, 0 and at most 10 s", failure, failure.Attempts, failure.RetryAfter)
	}
	return refused
}

// TestBreakerTrips says after how many requests that end the same way the breaker opens; 0 for never.
func TestBreakerTrips(t *testing.T) {
	certificate := x509.UnknownAuthorityError{}
	tests := []struct {
		name string
		trip trip
		want int
	}{
		{"500", answering(500), 5},
		{"502", answering(502), 5},
		{"503", answering(503), 5},
		{"504", answering(504), 5},
		{"520", answering(520), 5},
		{"526", answering(526), 5},
		{"530", answering(530), 5},
		{"599", answering(599), 5},
		{"999", answering(999), 5},
		{"no connection", broken(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), 5},
		{"no name", broken(&net.DNSError{Err: "no such host"}), 5},
		{"handshake broken", broken(errors.New("remote error: tls: handshake failure")), 5},
		{"certificate", broken(certificate), 1},
		{"challenge", answering(403, "Cf-Mitigated: challenge"), 1},
		{"challenge with 503", answering(503, "Cf-Mitigated: challenge"), 1},
		{"200", answering(200), 0},
		{"200 without sense", func(r *http.Request) (*http.Response, error) {
			resp, err := answering(200)(r)
			resp.Body = io.NopCloser(strings.NewReader(html))
			return resp, err
		}, 0},
		{"302", answering(302, "Location: https://example.com/"), 0},
		{"400", answering(400), 0},
		{"401", answering(401), 0},
		{"403", answering(403), 0},
		{"404", answering(404), 0},
		{"408", answering(408), 0},
		{"429", answering(429, "Retry-After: 1"), 0},
		{"501", answering(501), 0},
		{"505", answering(505), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVirtual(t, test.trip)
				got := 0
				for range 20 {
					if v.write(t.Context()); len(v.circuit) > 0 {
						got = v.requests
						break
					}
				}
				if got != test.want {
					t.Errorf("open after %d, want %d", got, test.want)
				}
				if open := v.isOpen(t); open != (test.want > 0) {
					t.Errorf("next call refused = %v, want %v", open, test.want > 0)
				}
			})
		})
	}
}

// TestBreakerIsNeutralToCallers: who leaves, or runs out of time, neither opens the breaker nor hides that Tally fails.
func TestBreakerIsNeutralToCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		v := newVirtual(t, hangs)
		leave := func() {
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				v.write(ctx)
				cancel()
			}
		}
		leave()
		v.trip = answering(503)
		for range 4 {
			v.write(t.Context())
		}
		v.trip = hangs
		leave()
		if len(v.circuit) != 0 {
			t.Fatal("the breaker opened before the fifth failure of Tally")
		}
		v.trip = answering(503)
		v.write(t.Context())
		if !v.isOpen(t) {
			t.Error("the breaker is closed after five failures of Tally with callers that left between them")
		}
	})
}

// TestBreakerAnswerBetween: what Tally answers between its failures ends the row of them.
func TestBreakerAnswerBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, nil)
		for _, code := range slices.Repeat([]int{503, 503, 503, 503, 404}, 5) {
			v.trip = answering(code)
			v.write(t.Context())
		}
		if v.isOpen(t) {
			t.Error("the breaker is open though Tally answered between its failures")
		}
	})
}

// TestBreakerTrial: after 10 s one call is tried while the others go on being refused; its end decides.
func TestBreakerTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, answering(503))
		for range 5 {
			v.write(t.Context())
		}
		failure := v.write(t.Context())
		if failure == nil || failure.RetryAfter != 10*time.Second {
			t.Errorf("Call() = %v, want the whole open time to wait", failure)
		}
		time.Sleep(7 * time.Second)
		if failure = v.write(t.Context()); failure == nil || failure.RetryAfter != 3*time.Second {
			t.Errorf("Call() = %v, want 3 s to wait", failure)
		}
		time.Sleep(3*time.Second + time.Millisecond)
		if v.isOpen(t) || !v.isOpen(t) {
			t.Error("want one trial after the open time, and the breaker open again after it failed")
		}

		time.Sleep(10*time.Second + time.Millisecond)
		release, done := make(chan struct{}), make(chan *tally.Error)
		v.trip = func(r *http.Request) (*http.Response, error) {
			<-release
			return answering(200)(r)
		}
		go func() { done <- v.write(t.Context()) }()
		synctest.Wait()
		for range 3 {
			if !v.isOpen(t) {
				t.Error("a second call was let through beside the trial")
			}
		}
		close(release)
		<-done
		if v.isOpen(t) {
			t.Error("the breaker is open after a good trial")
		}
		if diff := cmp.Diff([]bool{true, false}, v.circuit); diff != "" {
			t.Errorf("Config.Circuit (-want +got):\n%s", diff)
		}
		for text, want := range map[string]int{"calls to tally suspended": 2, "one call to tally tried": 2, "calls to tally resumed": 1} {
			if got := strings.Count(v.log.String(), text); got != want {
				t.Errorf("the log says %q %d times, want %d:\n%s", text, got, want, v.log.String())
			}
		}
	})
}

// TestBreakerTrialOfOneWhoLeaves: the trial's caller leaves, and the next call is the trial.
func TestBreakerTrialOfOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, answering(503))
		for range 5 {
			v.write(t.Context())
		}
		time.Sleep(11 * time.Second)
		v.trip = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v.write(ctx)
		v.trip = answering(200)
		if v.isOpen(t) {
			t.Error("the call after a trial that told nothing was refused")
		}
	})
}

// TestBreakerLetsKeyChecksPass: whether the key lives must be known whatever became of calls.
func TestBreakerLetsKeyChecksPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, answering(503))
		for range 5 {
			v.write(t.Context())
		}
		check := tally.WithKey(newKey(t).Current())
		if failure := v.write(t.Context(), check); failure == nil || failure.Status != 503 {
			t.Errorf("Call() with a key to check = %v, want Tally's 503", failure)
		}
		time.Sleep(11 * time.Second)
		v.trip = answering(200)
		v.write(t.Context(), check)
		if diff := cmp.Diff([]bool{true, false}, v.circuit); diff != "" {
			t.Errorf("Config.Circuit after a good check as the trial (-want +got):\n%s", diff)
		}
	})
}

// TestRow5EndlessFailure: for five minutes Tally answers 503 and callers go on calling once a second; retries of our own respect the
// breaker too.
func TestRow5EndlessFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, answering(503))
		const calls = 300
		kinds := map[tally.Kind]int{}
		for range calls {
			req, resp := read()
			failure, ok := errors.AsType[*tally.Error](v.Call(t.Context(), req, resp))
			if !ok {
				t.Fatal("Call() = nil, want an error")
			}
			kinds[failure.Kind]++
			time.Sleep(time.Second)
		}
		if v.requests > calls*11/10 || v.requests > 45 || kinds[tally.KindCircuitOpen] < calls-45 {
			t.Errorf("Tally saw %d requests of %d calls, which ended in %v, want about one in 10 s", v.requests, calls, kinds)
		}
	})
}
