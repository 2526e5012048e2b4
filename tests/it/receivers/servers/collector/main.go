// An OpenTelemetry Collector with the OTLP receiver of the project's own distribution and one exporter,
// which appends what it gets to a file: a line of OTLP JSON for each request.
package main

import (
	"context"
	"log"
	"os"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry"
)

// fileConfig says where the exporter writes.
type fileConfig struct {
	Path string `mapstructure:"path"`
}

// lines appends to a file; the receiver answers a request only after its line was written.
type lines struct {
	component.StartFunc
	component.ShutdownFunc
	consumer.Logs
}

func newLines(_ context.Context, _ exporter.Settings, config component.Config) (exporter.Logs, error) {
	file, err := os.OpenFile(config.(*fileConfig).Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	marshaler := plog.JSONMarshaler{}
	take, err := consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		line, err := marshaler.MarshalLogs(logs)
		if err != nil {
			return err
		}
		_, err = file.Write(append(line, '\n'))
		return err
	})
	return lines{Logs: take}, err
}

// traceLines does the same with traces.
type traceLines struct {
	component.StartFunc
	component.ShutdownFunc
	consumer.Traces
}

func newTraceLines(_ context.Context, _ exporter.Settings, config component.Config) (exporter.Traces, error) {
	file, err := os.OpenFile(config.(*fileConfig).Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	marshaler := ptrace.JSONMarshaler{}
	take, err := consumer.NewTraces(func(_ context.Context, traces ptrace.Traces) error {
		line, err := marshaler.MarshalTraces(traces)
		if err != nil {
			return err
		}
		_, err = file.Write(append(line, '\n'))
		return err
	})
	return traceLines{Traces: take}, err
}

func factories() (otelcol.Factories, error) {
	// It tells nothing of itself.
	all := otelcol.Factories{
		Telemetry: telemetry.NewFactory(func() component.Config { return &struct{}{} }),
	}
	var err error
	all.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return all, err
	}
	all.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](exporter.NewFactory(
		component.MustNewType("lines"),
		func() component.Config { return &fileConfig{} },
		exporter.WithLogs(newLines, component.StabilityLevelDevelopment),
		exporter.WithTraces(newTraceLines, component.StabilityLevelDevelopment),
	))
	return all, err
}

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "test"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
				DefaultScheme:     "file",
			},
		},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}
