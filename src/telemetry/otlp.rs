//! What is sent to a collector: as the standard `OTEL_*` variables say
//! (OpenTelemetry specification, "Environment Variable Specification"). The SDK reads most of them
//! itself; here is what it leaves to the program.

use std::{env, fmt::Display};

use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    metrics::PeriodicReader,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use thiserror::Error;
use uuid::Builder;

/// Spans that may wait for the exporter where `OTEL_BSP_MAX_QUEUE_SIZE` is not set: those of half a second
/// at the highest rate. The default of the specification, 2,048, loses most of them.
const QUEUE: usize = 32_768;
/// Spans that are sent at once where `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` is not set.
const BATCH: usize = 2_048;

/// Why telemetry cannot be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// A variable asks for what this program does not have.
    #[error("{variable} is {value:?}, but this program has only {known}")]
    Unsupported {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        known: &'static str,
    },
    /// An exporter cannot be made.
    #[error("telemetry cannot be started: {0}")]
    Start(String),
}

impl TelemetryError {
    /// Why an exporter cannot be made.
    pub(super) fn start(error: impl Display) -> Self {
        Self::Start(error.to_string())
    }
}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exports {
    pub(super) traces: bool,
    pub(super) metrics: bool,
    /// Whether `traceparent` of requests counts (`OTEL_PROPAGATORS`).
    pub(super) reads_context: bool,
}

/// The variables of one signal.
struct Signal {
    endpoint: &'static str,
    exporter: &'static str,
    protocol: &'static str,
}

const TRACES: Signal = Signal {
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    exporter: "OTEL_TRACES_EXPORTER",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
};
const METRICS: Signal = Signal {
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    exporter: "OTEL_METRICS_EXPORTER",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
};

impl Exports {
    pub(super) fn from_environment() -> Result<Self, TelemetryError> {
        Self::of(&|name| env::var(name).ok())
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        // An empty value is as none.
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|is| is.eq_ignore_ascii_case("true"));
        let propagators = get("OTEL_PROPAGATORS");
        let reads_context = propagators
            .is_none_or(|names| names.split(',').any(|name| name.trim() == "tracecontext"));
        let traces = !disabled && TRACES.is_exported(&get)?;
        let metrics = !disabled && METRICS.is_exported(&get)?;
        Ok(Self { traces, metrics, reads_context })
    }
}

impl Signal {
    fn is_exported(&self, get: &impl Fn(&str) -> Option<String>) -> Result<bool, TelemetryError> {
        const EVERY: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
        match get(self.exporter).as_deref() {
            Some("none") => return Ok(false),
            None | Some("otlp") => {}
            Some(value) => {
                let (variable, value) = (self.exporter, value.to_owned());
                return Err(TelemetryError::Unsupported { variable, value, known: "otlp, none" });
            }
        }
        if get(self.endpoint).or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT")).is_none() {
            return Ok(false);
        }
        let own = get(self.protocol).map(|value| (self.protocol, value));
        match own.or_else(|| get(EVERY).map(|value| (EVERY, value))) {
            Some((variable, value)) if value != "grpc" => {
                Err(TelemetryError::Unsupported { variable, value, known: "grpc" })
            }
            _ => Ok(true),
        }
    }
}

/// What the process is: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before.
pub(super) fn resource() -> Resource {
    let told = Resource::builder().build();
    let is_told = |key: &'static str| told.get(&Key::from_static_str(key)).is_some();
    let mut own = vec![KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let name = told.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    if name.is_none_or(|name| name.starts_with("unknown_service")) {
        own.push(KeyValue::new("service.name", "audit-logs"));
    }
    if !is_told("service.instance.id") {
        let id = Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        own.push(KeyValue::new("service.instance.id", id));
    }
    Resource::builder().with_attributes(own).build()
}

pub(super) fn metric_reader() -> Result<PeriodicReader<MetricExporter>, TelemetryError> {
    let exporter = MetricExporter::builder().with_tonic().build();
    Ok(PeriodicReader::builder(exporter.map_err(TelemetryError::start)?).build())
}

pub(super) fn tracer_provider(resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_tonic().build().map_err(TelemetryError::start)?;
    // It begins with what the environment says.
    let mut config = BatchConfigBuilder::default();
    if env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
        config = config.with_max_queue_size(QUEUE);
    }
    if env::var_os("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").is_none() {
        config = config.with_max_export_batch_size(BATCH);
    }
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exports(pairs: &[(&str, &str)]) -> Result<Exports, String> {
        let variable = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Exports::of(&variable).map_err(|error| error.to_string())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        let off = Exports { traces: false, metrics: false, reads_context: true };
        assert_eq!(exports(&[]), Ok(off));
        assert_eq!(exports(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(off));
        assert_eq!(exports(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(off));
        let on = Exports { traces: true, metrics: true, ..off };
        assert_eq!(exports(&[ENDPOINT]), Ok(on));
        let metrics = Exports { metrics: true, ..off };
        assert_eq!(exports(&[(METRICS.endpoint, "http://c:1")]), Ok(metrics));
        assert_eq!(exports(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(metrics));
        let deaf = Exports { reads_context: false, ..on };
        assert_eq!(exports(&[ENDPOINT, ("OTEL_PROPAGATORS", "b3,jaeger")]), Ok(deaf));
        assert_eq!(exports(&[ENDPOINT, ("OTEL_PROPAGATORS", "baggage, tracecontext")]), Ok(on));
    }

    #[test]
    fn what_is_not_spoken_is_refused_by_name() {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let error = exports(&[ENDPOINT, protocol]).unwrap_err();
        assert!(error.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && error.contains("grpc"), "{error}");
        let own = [(TRACES.protocol, "grpc"), (METRICS.protocol, "grpc")];
        assert!(exports(&[ENDPOINT, protocol, own[0], own[1]]).unwrap().traces);
        let error = exports(&[("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err();
        assert!(error.contains("zipkin") && error.contains("otlp, none"), "{error}");
        // Not asked for, not refused.
        assert!(!exports(&[protocol]).unwrap().traces);
    }
}
