package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// flushWithin bounds how long Stop waits for a receiver. The process has little time left after its calls have drained.
const flushWithin = 2 * time.Second

// Config is what Start needs beyond the variables OTEL_*.
type Config struct {
	// Version is the program's.
	Version string
	// Own are the metrics of our own making. They go out by OTLP beside the conventions'.
	Own prometheus.Gatherer
	// Log gets what goes wrong, seldom.
	Log *slog.Logger
}

// Telemetry is what takes spans and measurements.
type Telemetry struct {
	// Tracer makes spans; nil when nobody takes them, so that none need to be made.
	Tracer trace.TracerProvider
	// Meter makes the conventions' metrics; nil when OTEL_SDK_DISABLED says so.
	Meter metric.MeterProvider
	// Metrics are all metrics, as Prometheus reads them.
	Metrics prometheus.Gatherer

	stops []func(context.Context) error
	log   *slog.Logger
}

// Start reads the variables and starts what they ask for. What they say in words that nobody knows is warned of and ignored, as their
// specification has it. It returns an error when an exporter cannot be made.
func Start(ctx context.Context, config Config) (*Telemetry, error) {
	t := &Telemetry{Metrics: config.Own, log: config.Log}
	if isDisabled() {
		return t, nil
	}
	quiet := &complaints{log: config.Log}
	otel.SetErrorHandler(quiet)
	otel.SetLogger(logr.FromSlogHandler(complaintHandler{quiet}))
	origin, err := resource.New(ctx,
		resource.WithService(), resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("tallyd"), semconv.ServiceVersion(config.Version)),
		resource.WithFromEnv(), // last: what the operator says wins
	)
	if err != nil {
		quiet.Handle(err)
	}
	if err := errors.Join(t.startMetrics(ctx, config, origin), t.startTraces(ctx, config, origin)); err != nil {
		t.Stop(ctx)
		return nil, err
	}
	return t, nil
}

func (t *Telemetry) startMetrics(ctx context.Context, config Config, origin *resource.Resource) error {
	conventional := prometheus.NewRegistry()
	scraped, err := otelprometheus.New(otelprometheus.WithRegisterer(conventional), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("make metrics for Prometheus: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(origin), sdkmetric.WithReader(scraped)}
	if metrics.isExported(config.Log) {
		exporter, err := metrics.metricExporter(ctx, config.Log)
		if err != nil {
			return fmt.Errorf("export metrics: %w", err)
		}
		own := bridge.NewMetricProducer(bridge.WithGatherer(config.Own))
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(own))))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.Meter, t.Metrics = provider, prometheus.Gatherers{config.Own, conventional}
	t.stops = append(t.stops, provider.Shutdown)
	return nil
}

func (t *Telemetry) startTraces(ctx context.Context, config Config, origin *resource.Resource) error {
	if !traces.isExported(config.Log) {
		return nil
	}
	exporter, err := traces.spanExporter(ctx, config.Log)
	if err != nil {
		return fmt.Errorf("export traces: %w", err)
	}
	// A full queue drops spans and never waits.
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(origin), sdktrace.WithBatcher(exporter))
	t.Tracer = provider
	t.stops = append(t.stops, func(ctx context.Context) error {
		err := provider.Shutdown(ctx)
		if err != nil {
			// The provider goes on behind our back with what its queue holds; without an exporter it gives up.
			_ = exporter.Shutdown(ctx)
		}
		return err
	})
	return nil
}

// Stop sends what is left, within two seconds, also when ctx has ended.
func (t *Telemetry) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	ended := make(chan error, len(t.stops))
	for _, stop := range t.stops {
		go func() { ended <- stop(ctx) }()
	}
	for range t.stops {
		if err := <-ended; err != nil {
			t.log.Warn("the last telemetry was not sent", slog.String("error", clip(err.Error())))
		}
	}
}
