package telemetry

import (
	"strings"
	"testing"
)

// TestWhatIsExported reads the variables as their specification says, with the one difference that nothing goes to localhost unasked.
func TestWhatIsExported(t *testing.T) {
	const endpoint, tracesExporter, metricsExporter = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"
	type env = map[string]string
	tests := []struct {
		name                    string
		env                     env
		wantTraces, wantMetrics bool
		wantWarning             string
	}{
		{"nothing set", env{}, false, false, ""},
		{"empty", env{endpoint: "", tracesExporter: ""}, false, false, ""},
		{"endpoint", env{endpoint: "http://c:4318"}, true, true, ""},
		{"endpoint of traces", env{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, true, false, ""},
		{"endpoint of metrics", env{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, false, true, ""},
		{"asked for", env{tracesExporter: "otlp"}, true, false, ""},
		{"asked for in capitals", env{metricsExporter: " OTLP "}, false, true, ""},
		{"switched off", env{endpoint: "http://c:4318", tracesExporter: "none"}, false, true, ""},
		{"Prometheus alone", env{endpoint: "http://c:4318", metricsExporter: "prometheus"}, true, false, ""},
		{"Prometheus too", env{metricsExporter: "prometheus,otlp"}, false, true, ""},
		{"unknown word is ignored", env{endpoint: "http://c:4318", tracesExporter: "zipkin"}, true, true, tracesExporter},
		{"unknown word asks for nothing", env{tracesExporter: "console"}, false, false, tracesExporter},
		{"Prometheus takes no traces", env{tracesExporter: "prometheus"}, false, false, tracesExporter},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			setenv(t, test.env)
			log := &logBuffer{}
			if got := traces.isExported(log.logger()); got != test.wantTraces {
				t.Errorf("traces.isExported() = %v, want %v", got, test.wantTraces)
			}
			if got := metrics.isExported(log.logger()); got != test.wantMetrics {
				t.Errorf("metrics.isExported() = %v, want %v", got, test.wantMetrics)
			}
			if got := log.String(); (got != "") != (test.wantWarning != "") || !strings.Contains(got, test.wantWarning) {
				t.Errorf("log = %q, want %q in it", got, test.wantWarning)
			}
		})
	}
}

func TestProtocol(t *testing.T) {
	const both, own = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	tests := []struct {
		name, both, own string
		want, wantWarn  bool
	}{
		{"default", "", "", false, false},
		{"grpc", "grpc", "", true, false},
		{"http", "http/protobuf", "", false, false},
		{"the signal's own wins", "grpc", "http/protobuf", false, false},
		{"capitals", "", "GRPC", true, false},
		{"unknown is ignored", "http/json", "", false, true},
		{"unknown falls through", "grpc", "http/json", true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			setenv(t, map[string]string{both: test.both, own: test.own})
			log := &logBuffer{}
			if got := traces.isGRPC(log.logger()); got != test.want || (log.String() != "") != test.wantWarn {
				t.Errorf("isGRPC() = %v, %q; want %v and a warning: %v", got, log, test.want, test.wantWarn)
			}
		})
	}
}

// TestNothingIsPaidFor makes no spans unless somebody takes them, and nothing at all when everything is switched off.
func TestNothingIsPaidFor(t *testing.T) {
	tests := []struct {
		name                  string
		env                   map[string]string
		wantTracer, wantMeter bool
	}{
		{"nothing set", nil, false, true},
		{"traces asked for", map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, true},
		{"disabled", map[string]string{"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, false, false},
		{"not quite disabled", map[string]string{"OTEL_SDK_DISABLED": "1"}, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			setenv(t, test.env)
			sent := begin(t, &logBuffer{})
			defer sent.Stop(t.Context())
			if (sent.Tracer != nil) != test.wantTracer || (sent.Meter != nil) != test.wantMeter {
				t.Errorf("Tracer, Meter = %v, %v; want any: %v, %v", sent.Tracer, sent.Meter, test.wantTracer, test.wantMeter)
			}
			families, err := sent.Metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				if family.GetName() == "tallyd_of_ours" {
					return
				}
			}
			t.Error("Metrics lack our own, which are there whatever the variables say")
		})
	}
}
