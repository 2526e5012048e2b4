//! What operators see of a process: its log, its metrics and its traces. Nothing here names a tenant, nor
//! has a key, a secret or the content of an event.

mod log;
mod metrics;
mod otlp;
mod process;
mod record;
mod request;
mod streams;
mod trace;

use std::{sync::Arc, time::Duration};

use opentelemetry::metrics::{MeterProvider, NoopMeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

pub use self::{
    log::init,
    metrics::Metrics,
    otlp::TelemetryError,
    record::{LaneDepth, PoolUse, Running},
    request::{Current, carry, child, count_refusal, current, now},
    streams::StreamGauge,
    trace::{Link, Links, Parent, Span, Tracer},
};

/// Name of the instrumentation in what is exported.
const SCOPE: &str = "audit-logs";
/// How long a collector may take for what is left at the end.
const FLUSH: Duration = Duration::from_millis(1_500);

/// The metrics and traces of one server. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    /// What counts and measures.
    pub metrics: Metrics,
    /// What makes spans.
    pub tracer: Tracer,
    page: Option<Registry>,
    meters: SdkMeterProvider,
    spans: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Telemetry {
    /// Starts what the environment's `OTEL_*` variables ask for, and keeps a page of metrics if `page`
    /// says. Must be called on a tokio runtime.
    pub fn start(page: bool) -> Result<Self, TelemetryError> {
        let settings = otlp::Exports::from_environment()?;
        let resource = otlp::resource();
        let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
        let page = page.then(Registry::new);
        if let Some(registry) = &page {
            let reader = opentelemetry_prometheus::exporter()
                .with_registry(registry.clone())
                .scope_info_enabled(false)
                .build();
            meters = meters.with_reader(reader.map_err(TelemetryError::start)?);
        }
        if settings.metrics {
            meters = meters.with_reader(otlp::metric_reader()?);
        }
        let meters = meters.build();
        let spans = settings.traces.then(|| otlp::tracer_provider(resource)).transpose()?;
        let tracer = Tracer::new(spans.as_ref(), settings.reads_context);
        if page.is_none() && !settings.metrics {
            return Ok(Self { tracer, spans, ..Self::off() });
        }
        let metrics = Metrics::new(&meters.meter(SCOPE));
        metrics.observe_process();
        Ok(Self { metrics, tracer, page, meters, spans })
    }

    /// Telemetry of which nobody takes note.
    pub fn off() -> Self {
        let meters = SdkMeterProvider::builder().build();
        // The SDK's own would call every gauge that nobody reads an error.
        let metrics = Metrics::new(&NoopMeterProvider::new().meter(SCOPE));
        let tracer = Tracer::new(None, true);
        Self { metrics, tracer, page: None, meters, spans: None }
    }

    /// The page of metrics in Prometheus' text format, and its media type. `None` if there is none.
    pub fn page(&self) -> Option<(Vec<u8>, String)> {
        let registry = self.page.as_ref()?;
        let encoder = TextEncoder::new();
        let mut page = Vec::new();
        // Writing to memory fails only for families without samples, which a registry leaves out.
        encoder.encode(&registry.gather(), &mut page).ok()?;
        Some((page, encoder.format_type().to_owned()))
    }

    /// Exports what is left, but does not wait for ever: a collector that is away keeps no process from
    /// its end.
    pub async fn shutdown(self) {
        let (done, is_done) = tokio::sync::oneshot::channel();
        // A thread of its own, for which the end of the runtime does not wait.
        std::thread::spawn(move || {
            // What failed was logged.
            let _ = self.spans.map(|spans| spans.shutdown_with_timeout(FLUSH));
            let _ = self.meters.shutdown();
            let _ = done.send(());
        });
        let _ = tokio::time::timeout(FLUSH, is_done).await;
    }
}

/// Shares a value with a callback that lives as long as the metrics, without keeping it alive.
pub(crate) fn weakly<T: ?Sized + Send + Sync + 'static, R: Default>(
    shared: &Arc<T>,
    read: impl Fn(&T) -> R + Send + Sync + 'static,
) -> impl Fn() -> R + Send + Sync + 'static {
    let shared = Arc::downgrade(shared);
    move || shared.upgrade().map(|shared| read(&shared)).unwrap_or_default()
}
