package telemetry

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver takes spans over HTTP.
type receiver struct {
	mu       sync.Mutex
	spans    []*otlptrace.Span
	resource map[string]string
}

func receive(t *testing.T) (*receiver, string) {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, server.URL
}

func (r *receiver) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	export := &collectortrace.ExportTraceServiceRequest{}
	if req.URL.Path != "/v1/traces" || proto.Unmarshal(body, export) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, from := range export.GetResourceSpans() {
		r.resource = attributesOf(from.GetResource().GetAttributes())
		for _, scope := range from.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
}

func attributesOf(attrs []*common.KeyValue) map[string]string {
	found := map[string]string{}
	for _, attr := range attrs {
		value := attr.GetValue()
		found[attr.GetKey()] = value.GetStringValue()
		if _, number := value.GetValue().(*common.AnyValue_IntValue); number {
			found[attr.GetKey()] = fmt.Sprint(value.GetIntValue())
		}
	}
	return found
}

// TestWatch sends what the HTTP conventions ask of a request: name, kind, attributes, status; and no more.
func TestWatch(t *testing.T) {
	tests := []struct {
		name       string
		before     int
		status     int
		failure    string
		want       map[string]string
		wantStatus otlptrace.Status_StatusCode
	}{
		{"success", 0, 200, "", map[string]string{"http.response.status_code": "200"}, otlptrace.Status_STATUS_CODE_UNSET},
		{"repeated", 2, 204, "", map[string]string{"http.response.status_code": "204", "http.request.resend_count": "2"}, otlptrace.Status_STATUS_CODE_UNSET},
		{"redirect", 0, 302, "", map[string]string{"http.response.status_code": "302"}, otlptrace.Status_STATUS_CODE_UNSET},
		{"refusal", 0, 404, "", map[string]string{"http.response.status_code": "404", "error.type": "404"}, otlptrace.Status_STATUS_CODE_ERROR},
		{"failure", 0, 500, "truncated", map[string]string{"http.response.status_code": "500", "error.type": "500"}, otlptrace.Status_STATUS_CODE_ERROR},
		{"broken answer", 0, 200, "truncated", map[string]string{"http.response.status_code": "200", "error.type": "truncated"}, otlptrace.Status_STATUS_CODE_ERROR},
		{"nobody there", 0, 0, "connect", map[string]string{"error.type": "connect"}, otlptrace.Status_STATUS_CODE_ERROR},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to, address := receive(t)
			setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_METRICS_EXPORTER": "none"})
			sent := begin(t, &logBuffer{})
			_, done := sent.Watch(&url.URL{Scheme: "https", Host: "api.tally.so"})(t.Context(), "GET", "/forms/{form_id}", test.before)
			done(test.status, test.failure)
			sent.Stop(t.Context())
			if len(to.spans) != 1 {
				t.Fatalf("%d spans came, want 1", len(to.spans))
			}
			span := to.spans[0]
			want := map[string]string{
				"http.request.method": "GET", "url.template": "/forms/{form_id}", "server.address": "api.tally.so", "server.port": "443",
			}
			maps.Copy(want, test.want)
			if diff := cmp.Diff(want, attributesOf(span.GetAttributes())); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if span.GetName() != "GET /forms/{form_id}" || span.GetKind() != otlptrace.Span_SPAN_KIND_CLIENT || span.GetStatus().GetCode() != test.wantStatus {
				t.Errorf("span = %s %s %s, want the request, client, %s", span.GetName(), span.GetKind(), span.GetStatus(), test.wantStatus)
			}
		})
	}
}

// TestResource names the service as the operator does.
func TestResource(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want map[string]string
	}{
		{"default", nil, map[string]string{"service.name": "tallyd", "service.version": "1.2.3"}},
		{"name", map[string]string{"OTEL_SERVICE_NAME": "forms"}, map[string]string{"service.name": "forms"}},
		{
			"attributes",
			map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "service.name=x,deployment.environment.name=prod", "OTEL_SERVICE_NAME": "forms"},
			map[string]string{"service.name": "forms", "deployment.environment.name": "prod"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to, address := receive(t)
			setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": address + "/v1/traces"})
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			sent := begin(t, &logBuffer{})
			_, span := sent.Tracer.Tracer("t").Start(t.Context(), "s")
			span.End()
			sent.Stop(t.Context())
			for name, want := range test.want {
				if got := to.resource[name]; got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if to.resource["service.instance.id"] == "" || to.resource["telemetry.sdk.language"] != "go" {
				t.Errorf("resource = %v, want an instance and an SDK", to.resource)
			}
		})
	}
}

// TestSampler leaves the choice to the variables.
func TestSampler(t *testing.T) {
	for sampler, want := range map[string]int{"": 1, "always_on": 1, "always_off": 0, "parentbased_always_off": 0, "traceidratio": 0} {
		t.Run(sampler, func(t *testing.T) {
			to, address := receive(t)
			setenv(t, map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_METRICS_EXPORTER": "none",
				"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0.0",
			})
			sent := begin(t, &logBuffer{})
			_, span := sent.Tracer.Tracer("t").Start(t.Context(), "s")
			span.End()
			sent.Stop(t.Context())
			if len(to.spans) != want {
				t.Errorf("%d spans came, want %d", len(to.spans), want)
			}
		})
	}
}

// TestReceiverFails neither holds anybody up nor fills the log, whatever is wrong with the receiver.
func TestReceiverFails(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("no\xff", 1000), http.StatusBadRequest)
	}))
	t.Cleanup(func() {
		close(release)
		hanging.Close()
		refusing.Close()
	})
	for name, address := range map[string]string{"hangs": hanging.URL, "refuses": refusing.URL, "is not there": "http://127.0.0.1:1"} {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				setenv(t, map[string]string{
					"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_BSP_SCHEDULE_DELAY": "1",
					"OTEL_BSP_MAX_QUEUE_SIZE": "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
					"OTEL_METRIC_EXPORT_INTERVAL": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
				})
				log := &logBuffer{}
				sent := begin(t, log)
				tracer := sent.Tracer.Tracer("t")
				// Many more spans than the queue holds.
				for range 10_000 {
					_, span := tracer.Start(t.Context(), "s")
					span.End()
				}
				start := time.Now()
				sent.Stop(t.Context())
				if took := time.Since(start); took > flushWithin+3*time.Second {
					t.Errorf("Stop() took %v, want at most %v", took, flushWithin)
				}
				// One line for what failed before, one for each signal that could not be flushed.
				if got := log.String(); strings.Count(got, "\n") > 3 || len(got) > 4*maxComplaint {
					t.Errorf("log = %s, want at most three short lines", got)
				}
			})
		}
	}
}

// TestComplaints logs once a minute, counts what it left out, and keeps what a header holds to itself.
func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		c := &complaints{log: log.logger()}
		for range 130 {
			c.Handle(errors.New("no receiver " + strings.Repeat("x", 1000)))
			time.Sleep(time.Second)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[1], "more_before=59") {
			t.Errorf("log = %s, want three lines for 130 s of failures, with a count", log)
		}
		if slices.ContainsFunc(lines, func(line string) bool { return len(line) > 2*maxComplaint }) {
			t.Errorf("log = %s, want short lines", log)
		}
		time.Sleep(complainEvery)
		printer := logr.FromSlogHandler(complaintHandler{c})
		printer.V(1).Info("chatter")
		printer.Error(errors.New("missing '='"), "parse headers", "input", "tly-secret")
		if got := log.String(); strings.Contains(got, "tly-secret") || strings.Contains(got, "chatter") || !strings.Contains(got, "parse headers: missing") {
			t.Errorf("log = %s, want the message and the error alone", got)
		}
	})
}
