// Package telemetry sends traces and metrics to where the variables of OpenTelemetry say, and keeps the conventions' metrics for
// Prometheus. It must not slow a call down, whatever the receiver does, and it makes no labels of what callers choose.
package telemetry
