//! The instruments: every name of a metric stands here. Those of calls and of the process follow
//! OpenTelemetry's semantic conventions; `docs/operations/metrics.md` lists all as Prometheus shows them.
//!
//! Labels have few values, all known to the program: never an id of a tenant, a key or an event.

use std::sync::{Arc, atomic::AtomicI64};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use super::streams::Streams;

/// Seconds that a call may take, as the semantic conventions advise.
const CALL_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Seconds that a commit or a wait for one may take.
const COMMIT_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Seconds that a job may take.
const JOB_SECONDS: [f64; 12] =
    [0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
/// Events in a batch.
const BATCH_EVENTS: [f64; 12] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0];

/// The metrics of one server. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(pub(super) Arc<Instruments>);

/// The instruments that are written to; what is only looked at when somebody asks is made by the
/// `observe_...` functions.
pub struct Instruments {
    pub(super) meter: Meter,
    pub(super) rpc_duration: Histogram<f64>,
    pub(super) http_duration: Histogram<f64>,
    pub(super) active: Arc<AtomicI64>,
    pub(super) refused: Counter<u64>,
    pub(super) events_written: Counter<u64>,
    pub(super) events_duplicate: Counter<u64>,
    pub(super) batch_events: Histogram<u64>,
    pub(super) commit_duration: Histogram<f64>,
    pub(super) queue_wait: Histogram<f64>,
    pub(super) streams: Arc<Streams>,
    pub(super) stream_events: Counter<u64>,
    pub(super) stream_bytes: Counter<u64>,
    pub(super) stream_failures: Counter<u64>,
    pub(super) stream_dead_letters: Counter<u64>,
    pub(super) stream_duration: Histogram<f64>,
    pub(super) exports_running: Arc<AtomicI64>,
    pub(super) export_duration: Histogram<f64>,
    pub(super) export_rows: Counter<u64>,
    pub(super) export_bytes: Counter<u64>,
    pub(super) retention_events: Counter<u64>,
    pub(super) retention_duration: Histogram<f64>,
}

impl Metrics {
    #[expect(clippy::too_many_lines, reason = "one instrument after the other, nothing else")]
    pub(super) fn new(meter: &Meter) -> Self {
        let count = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        let seconds = |name: &'static str, bounds: &[f64], what: &'static str| {
            let bounds = bounds.to_vec();
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(bounds).build()
        };
        let instruments = Instruments {
            meter: meter.clone(),
            rpc_duration: seconds(
                "rpc.server.call.duration",
                &CALL_SECONDS,
                "Time from the first byte of an RPC to its status",
            ),
            http_duration: seconds(
                "http.server.request.duration",
                &CALL_SECONDS,
                "Time from the first byte of an HTTP request to the last of its answer",
            ),
            active: Arc::default(),
            refused: count(
                "audit_logs.refused",
                "{refusal}",
                "Calls and items of batches that were not served, by reason",
            ),
            events_written: count("audit_logs.events.written", "{event}", "Events made durable"),
            events_duplicate: count(
                "audit_logs.events.duplicate",
                "{event}",
                "Events that were there already, by their idempotency keys",
            ),
            batch_events: meter
                .u64_histogram("audit_logs.batch.events")
                .with_unit("{event}")
                .with_description("Events that were written in one transaction")
                .with_boundaries(BATCH_EVENTS.to_vec())
                .build(),
            commit_duration: seconds(
                "audit_logs.commit.duration",
                &COMMIT_SECONDS,
                "Time in which a batch was made durable, or failed",
            ),
            queue_wait: seconds(
                "audit_logs.queue.wait",
                &COMMIT_SECONDS,
                "Time that the first of a batch had waited when its lane took it",
            ),
            streams: Arc::default(),
            stream_events: count(
                "audit_logs.log_stream.delivered.events",
                "{event}",
                "Events that destinations of log streams took",
            ),
            stream_bytes: count(
                "audit_logs.log_stream.delivered",
                "By",
                "Bytes of such events before compression",
            ),
            stream_failures: count(
                "audit_logs.log_stream.failures",
                "{failure}",
                "Tries at a delivery that failed",
            ),
            stream_dead_letters: count(
                "audit_logs.log_stream.dead_letters",
                "{event}",
                "Events that destinations refused for good",
            ),
            stream_duration: seconds(
                "audit_logs.log_stream.delivery.duration",
                &CALL_SECONDS,
                "Time that a destination took for a batch",
            ),
            exports_running: Arc::default(),
            export_duration: seconds(
                "audit_logs.export.duration",
                &JOB_SECONDS,
                "Time of an attempt at an export",
            ),
            export_rows: count("audit_logs.export.rows", "{row}", "Rows written to exports"),
            export_bytes: count("audit_logs.export.written", "By", "Bytes written to exports"),
            retention_events: count(
                "audit_logs.retention.erased",
                "{event}",
                "Events erased by retention",
            ),
            retention_duration: seconds(
                "audit_logs.retention.sweep.duration",
                &JOB_SECONDS,
                "Time of a sweep for retention",
            ),
        };
        // Prometheus sees no increase in a series that begins with its first failure.
        instruments.refused.add(0, &[KeyValue::new("reason", "INTERNAL")]);
        let metrics = Self(Arc::new(instruments));
        metrics.observe_own();
        metrics
    }
}
