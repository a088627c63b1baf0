package faults

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// before puts a proxy in front of a Tally that can be made to misbehave, and returns it.
func before(t *testing.T, tally *fakeTally) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, "tally", "127.0.0.1:0", tally.Listener.Addr().String())
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// TestRow54SlowTally covers row 54: each answer of Tally takes 2 s, a second more or less. Callers with less time hear of it from us,
// within 20 ms of their deadline, callers with more get their answer, and when Tally is quick again so are we. What stands against
// latency are the deadline, the cap on the work in flight and the breaker alone: by decision no limit adapts itself to it
// (docs/decisions/0008-one-breaker-one-cap.md). Callers' deadlines do not open the breaker.
func TestRow54SlowTally(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	proxy := before(t, tally)
	p := serve(t, nil, "--tally-url", "http://"+proxy.Listen, "--key-file", write(t, []byte(newKey()), 0o600))
	forms := tallydv1.NewFormServiceClient(p.dial(t))
	call := func(within time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		begin := time.Now()
		_, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "f1"})
		return time.Since(begin), err
	}
	if _, err := call(patience); err != nil {
		t.Fatal(err)
	}
	toxic := `{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":2000,"jitter":1000}}`
	if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for _, within := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond, patience} {
		for range 6 {
			calls.Go(func() {
				took, err := call(within)
				wantInTime(t, within, took, err)
			})
		}
	}
	calls.Wait()
	if err := proxy.Toxics.RemoveToxic(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	if _, err := call(patience); err != nil {
		t.Errorf("GetForm() after the latency = %v, want nil", err)
	}
	if _, metrics := get(t, p.admin+"/metrics"); !strings.Contains(metrics, "\ntallyd_circuit_open 0\n") {
		t.Error("the breaker opened because of callers' deadlines")
	}
}

// wantInTime demands an answer, or for a caller with less time than Tally may take the end of its deadline, no later than 20 ms after.
func wantInTime(t *testing.T, within, took time.Duration, err error) {
	t.Helper()
	const slowest = 3 * time.Second
	if took > within+20*time.Millisecond {
		t.Errorf("GetForm() within %v took %v, want the deadline kept", within, took)
	}
	code, reason := reasonOf(err)
	if err == nil && within > time.Second || code == codes.DeadlineExceeded && within < slowest && (reason == "" || reason == "DEADLINE_IN_FLIGHT") {
		return
	}
	t.Errorf("GetForm() within %v = %v, want an answer or DEADLINE_IN_FLIGHT", within, err)
}
