package telemetry

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// signal is a kind of telemetry, by its word in the names of variables.
type signal string

const (
	traces  signal = "TRACES"
	metrics signal = "METRICS"
)

// isDisabled reports whether OTEL_SDK_DISABLED switches everything off.
func isDisabled() bool { return strings.EqualFold(variable("OTEL_SDK_DISABLED"), "true") }

// variable returns a variable's value; an empty one counts as unset.
func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// isExported reports whether somebody wants the signal by OTLP: when OTEL_…_EXPORTER says otlp, or says nothing and an endpoint is set.
// The specification would send to localhost by default; a server that nobody told of a receiver sends nothing.
func (s signal) isExported(log *slog.Logger) bool {
	name := "OTEL_" + string(s) + "_EXPORTER"
	wanted := variable("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || variable("OTEL_EXPORTER_OTLP_"+string(s)+"_ENDPOINT") != ""
	for word := range strings.SplitSeq(variable(name), ",") {
		switch word = strings.ToLower(strings.TrimSpace(word)); {
		case word == "otlp":
			return true
		case word == "none", word == "prometheus" && s == metrics:
			wanted = false
		case word != "":
			log.Warn("a variable is ignored", slog.String("name", name), slog.String("known", "otlp, none"))
		}
	}
	return wanted
}

// isGRPC tells which of the two protocols to speak.
func (s signal) isGRPC(log *slog.Logger) bool {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_" + string(s) + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch strings.ToLower(variable(name)) {
		case "":
		case "grpc":
			return true
		case "http/protobuf":
			return false
		default:
			log.Warn("a variable is ignored", slog.String("name", name), slog.String("known", "grpc, http/protobuf"))
		}
	}
	return false
}

func (s signal) spanExporter(ctx context.Context, log *slog.Logger) (sdktrace.SpanExporter, error) {
	if s.isGRPC(log) {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

func (s signal) metricExporter(ctx context.Context, log *slog.Logger) (sdkmetric.Exporter, error) {
	if s.isGRPC(log) {
		return otlpmetricgrpc.New(ctx)
	}
	return otlpmetrichttp.New(ctx)
}
