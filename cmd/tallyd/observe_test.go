package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/trace"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const observedKey = "tly-observed0123456789"

// seenTally is a Tally that notes the headers of each request.
type seenTally struct {
	mu      sync.Mutex
	headers []http.Header
}

// pretendSeen starts it: one form exists, with a field that nobody knows.
func pretendSeen(t *testing.T) (*seenTally, string) {
	t.Helper()
	s := &seenTally{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.headers = append(s.headers, r.Header.Clone())
		s.mu.Unlock()
		switch r.URL.Path {
		case "/users/me":
			_, _ = io.WriteString(w, `{"id":"u1","organizationId":"o1"}`)
		case "/forms/SecretForm":
			_, _ = io.WriteString(w, `{"id":"SecretForm","shiny":1}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"no SecretThing for `+observedKey+`"}`)
		}
	}))
	t.Cleanup(server.Close)
	return s, server.URL
}

// TestTraces sends a caller's trace through the whole program to a collector: the call is a child of the caller's span, the request to
// Tally a child of the call, by the names of the conventions. No id, no key and no word of Tally's goes with them, and Tally learns
// nothing of the trace.
func TestTraces(t *testing.T) {
	const parentID = "00f067aa0ba902b7"
	traceID := "4bf92f3577b34da6a3ce929d0e0e4736"
	seen, address := pretendSeen(t)
	c := collect(t)
	before := goleak.IgnoreCurrent()
	t.Run("calls", func(t *testing.T) {
		forms := tallydv1.NewFormServiceClient(connect(t, startTallyd(t, "--tally-url", address, "--key-file", keyFile(t, observedKey))))
		ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+traceID+"-"+parentID+"-01",
			"tracestate", "vendor=SecretState", "baggage", "user=SecretUser", "x-request-id", "SecretRequest")
		if _, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "SecretForm"}); err != nil {
			t.Fatal(err)
		}
		_, err := forms.DeleteForm(ctx, &tallydv1.DeleteFormRequest{FormId: "SecretMissing"})
		if status.Code(err) != codes.NotFound {
			t.Fatalf("DeleteForm() = %v, want NotFound", err)
		}
	})
	goleak.VerifyNone(t, before)
	tests := []struct {
		name, parent string // parent is a span's name, or the caller's span
		wantKind     otlptrace.Span_SpanKind
		wantStatus   otlptrace.Status_StatusCode
		want         map[string]string
	}{
		{"tallyd.v1.FormService/GetForm", parentID, otlptrace.Span_SPAN_KIND_SERVER, 0, map[string]string{
			"rpc.system.name": "grpc", "rpc.method": "tallyd.v1.FormService/GetForm", "rpc.response.status_code": "OK",
			"server.address": "127.0.0.1", "server.port": "PORT", "network.peer.address": "127.0.0.1", "network.peer.port": "PORT",
		}},
		{"GET /forms/{form_id}", "tallyd.v1.FormService/GetForm", otlptrace.Span_SPAN_KIND_CLIENT, 0, map[string]string{
			"http.request.method": "GET", "url.template": "/forms/{form_id}", "http.response.status_code": "200",
			"server.address": "127.0.0.1", "server.port": "PORT",
		}},
		{"tallyd.v1.FormService/DeleteForm", parentID, otlptrace.Span_SPAN_KIND_SERVER, 0, map[string]string{
			"rpc.system.name": "grpc", "rpc.method": "tallyd.v1.FormService/DeleteForm", "rpc.response.status_code": "NOT_FOUND",
			"server.address": "127.0.0.1", "server.port": "PORT", "network.peer.address": "127.0.0.1", "network.peer.port": "PORT",
			"tallyd.reason": "RESOURCE_NOT_FOUND",
		}},
		{"DELETE /forms/{form_id}", "tallyd.v1.FormService/DeleteForm", otlptrace.Span_SPAN_KIND_CLIENT, otlptrace.Status_STATUS_CODE_ERROR, map[string]string{
			"http.request.method": "DELETE", "url.template": "/forms/{form_id}", "http.response.status_code": "404", "error.type": "404",
			"server.address": "127.0.0.1", "server.port": "PORT",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			span := c.span(t, test.name)
			wantParent := test.parent
			if wantParent != parentID {
				wantParent = hex.EncodeToString(c.span(t, test.parent).GetSpanId())
			}
			if got := hex.EncodeToString(span.GetParentSpanId()); got != wantParent || hex.EncodeToString(span.GetTraceId()) != traceID {
				t.Errorf("parent = %s in trace %x, want %s in %s", got, span.GetTraceId(), wantParent, traceID)
			}
			if diff := cmp.Diff(test.want, textOf(span.GetAttributes())); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if span.GetKind() != test.wantKind || span.GetStatus().GetCode() != test.wantStatus || span.GetStatus().GetMessage() != "" || len(span.GetEvents()) != 0 {
				t.Errorf("span = %s %s with %d events, want %s %s with none", span.GetKind(), span.GetStatus(), len(span.GetEvents()), test.wantKind, test.wantStatus)
			}
		})
	}
	wantNoSecrets(t, c, traceID)
	wantNoTrace(t, seen)
}

// wantNoSecrets scans all that came for what has no business in a trace. The caller's own tracestate travels, as the W3C has it.
func wantNoSecrets(t *testing.T, c *collector, traceID string) {
	t.Helper()
	id, err := trace.TraceIDFromHex(traceID)
	if err != nil || !bytes.Contains(c.raw, id[:]) {
		t.Fatal("the scan does not see what came")
	}
	for _, secret := range []string{"SecretForm", "SecretMissing", "SecretThing", "SecretUser", "SecretRequest", observedKey, "tly-"} {
		if bytes.Contains(c.raw, []byte(secret)) {
			t.Errorf("the collector was told %q", secret)
		}
	}
}

// wantNoTrace demands that Tally sees the headers of the allow-list and nothing of a trace.
func wantNoTrace(t *testing.T, seen *seenTally) {
	t.Helper()
	allowed := []string{"Accept", "Accept-Encoding", "Authorization", "Tally-Version", "User-Agent"}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.headers) < 3 {
		t.Errorf("Tally saw %d requests, want the key's check and two calls", len(seen.headers))
	}
	for _, header := range seen.headers {
		for name := range header {
			if !slices.Contains(allowed, name) {
				t.Errorf("Tally was sent %s: %s", name, header.Get(name))
			}
		}
	}
}

// TestMetricsByOTLP sends all metrics to a collector when the process ends: the conventions' and ours.
func TestMetricsByOTLP(t *testing.T) {
	_, address := pretendSeen(t)
	c := collect(t)
	t.Run("calls", func(t *testing.T) {
		forms := tallydv1.NewFormServiceClient(connect(t, startTallyd(t, "--tally-url", address, "--key-file", keyFile(t, observedKey))))
		_, _ = forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "SecretForm"})
		_, _ = forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "SecretMissing"})
	})
	names := map[string]bool{}
	for _, metric := range c.metrics {
		names[metric.GetName()] = true
	}
	for _, want := range []string{
		"grpc.server.call.started", "grpc.server.call.duration", "grpc.server.call.sent_total_compressed_message_size",
		"grpc.server.call.rcvd_total_compressed_message_size", "http.client.request.duration",
		"tallyd_key_rejected", "tallyd_drift_total", "tallyd_call_errors_total", "tallyd_policy_decisions_total", "go_goroutines",
	} {
		if !names[want] {
			t.Errorf("the collector got no %s, only %v", want, names)
		}
	}
	if bytes.Contains(c.raw, []byte("Secret")) || bytes.Contains(c.raw, []byte(observedKey)) {
		t.Error("the collector was told an id or the key")
	}
}

// families scrapes the admin port and parses what it says.
func families(t *testing.T, log *lockedBuffer) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, log)))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// ended returns how many calls all histograms of the server's calls have.
func ended(parsed map[string]*dto.MetricFamily) uint64 {
	least := uint64(math.MaxUint64)
	for name, family := range parsed {
		if family.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(name, "grpc_server_call_") {
			continue
		}
		calls := uint64(0)
		for _, metric := range family.GetMetric() {
			calls += metric.GetHistogram().GetSampleCount()
		}
		least = min(least, calls)
	}
	return least
}

// seriesOf counts the series of the calls' metrics.
func seriesOf(parsed map[string]*dto.MetricFamily) (series map[string]int, methods []string) {
	series = map[string]int{}
	for name, family := range parsed {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		series[name] = len(family.GetMetric())
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "grpc_method" && !slices.Contains(methods, label.GetValue()) {
					methods = append(methods, label.GetValue())
				}
			}
		}
	}
	slices.Sort(methods)
	return series, methods
}

// TestSeriesAreBounded calls a thousand methods that do not exist, forms that do not exist and ids that are none: the metrics stay as
// few as they were, whoever chooses the names.
func TestSeriesAreBounded(t *testing.T) {
	_, address := pretendSeen(t)
	at, log := startLogged(t, "--admin-listen", "127.0.0.1:0", "--tally-url", address, "--tally-rate", "0", "--key-file", keyFile(t, observedKey))
	conn := connect(t, at)
	round := func(n int) {
		for _, method := range []string{"/a/b%d", "/tallyd.v1.FormService/Get%d", "/tallyd.v1.Service%d/GetForm"} {
			err := conn.Invoke(t.Context(), fmt.Sprintf(method, n), &tallydv1.GetFormRequest{}, &tallydv1.GetFormResponse{})
			if status.Code(err) != codes.Unimplemented {
				t.Fatalf("unknown method = %v, want Unimplemented", err)
			}
		}
		for _, id := range []string{fmt.Sprintf("SecretForm%d", n), fmt.Sprintf("bad id %d", n), "SecretForm"} {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", id)
			_, _ = tallydv1.NewFormServiceClient(conn).GetForm(ctx, &tallydv1.GetFormRequest{FormId: id})
		}
	}
	round(0)
	first := families(t, log)
	for wait := 0; ended(first) != 3 && wait < 500; wait++ { // those of methods that exist are recorded after they are answered
		<-time.After(10 * time.Millisecond)
		first = families(t, log)
	}
	before, methods := seriesOf(first)
	for n := range 334 {
		round(n + 1)
	}
	parsed := families(t, log)
	after, _ := seriesOf(parsed)
	if !maps.Equal(after, before) || !cmp.Equal(methods, []string{"other", "tallyd.v1.FormService/GetForm"}) {
		t.Errorf("the methods are %v, want GetForm and other, and as many series as before (-before +after):\n%s", methods, cmp.Diff(before, after))
	}
	for _, secret := range []string{"SecretForm", "bad id", observedKey} {
		if strings.Contains(scrape(t, log), secret) {
			t.Errorf("/metrics says %q", secret)
		}
	}
	errors := map[string]float64{}
	for _, metric := range parsed["tallyd_call_errors_total"].GetMetric() {
		// All reasons are there from the start, at zero.
		if n := metric.GetCounter().GetValue(); n > 0 {
			errors[metric.GetLabel()[0].GetValue()] = n
		}
	}
	if diff := cmp.Diff(map[string]float64{"RESOURCE_NOT_FOUND": 335, "INVALID_FIELD": 335}, errors); diff != "" {
		t.Errorf("tallyd_call_errors_total (-want +got):\n%s", diff)
	}
}

// TestFiniteReasons counts what is no reason of the contract as one.
func TestFiniteReasons(t *testing.T) {
	registry := newRegistry()
	count := countErrors(registry)
	for _, reason := range []string{"PANIC", "", "UNSPECIFIED ", "x", "TALLY_RATE_LIMITED\n"} {
		count(reason)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range gathered {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "tallyd_call_errors_total" {
				got[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	if zero, there := got["TALLY_RATE_LIMITED"]; !there || zero != 0 || len(got) != len(tallydv1.ErrorReason_value) {
		t.Errorf("%d reasons, TALLY_RATE_LIMITED at %v, %v, want all of the contract and OTHER from zero on", len(got), zero, there)
	}
	maps.DeleteFunc(got, func(_ string, n float64) bool { return n == 0 })
	if diff := cmp.Diff(map[string]float64{"PANIC": 1, "OTHER": 4}, got); diff != "" {
		t.Errorf("tallyd_call_errors_total (-want +got):\n%s", diff)
	}
}
