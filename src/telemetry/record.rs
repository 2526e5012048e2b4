//! What is recorded, in the words of those who record it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, StringValue};

use super::{
    metrics::Metrics,
    streams::{DestinationSum, StreamGauge},
};

/// How full the queue of a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneDepth {
    /// Events in it, those being written included.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most events.
    pub most_events: u64,
    /// Most bytes.
    pub most_bytes: u64,
}

/// How much of a pool of database connections is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// What it is for.
    pub name: &'static str,
    /// Open connections that nobody uses.
    pub idle: u64,
    /// Open connections in use.
    pub used: u64,
    /// Most that may be open.
    pub most: u64,
}

/// Counts something that goes on, until it is dropped.
pub struct Running(Arc<AtomicI64>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn outcome(ok: bool) -> KeyValue {
    KeyValue::new("outcome", if ok { "ok" } else { "failed" })
}

fn count(value: usize) -> u64 {
    value as u64
}

impl Metrics {
    /// A call or a request begins; it goes on until what is returned is dropped.
    pub fn begins(&self) -> Running {
        running(&self.0.active)
    }

    /// An RPC ended. `method` is one of the program's, as the conventions name it: `package.Service/Method`.
    pub fn rpc(&self, method: Arc<str>, code: &'static str, took: Duration) {
        let attributes = [
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", StringValue::from(method)),
            KeyValue::new("rpc.response.status_code", code),
        ];
        self.0.rpc_duration.record(took.as_secs_f64(), &attributes);
    }

    /// An HTTP request ended. `route` is the template of its path, not the path.
    pub fn http(&self, method: &'static str, route: Option<&str>, status: u16, took: Duration) {
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        self.0.http_duration.record(took.as_secs_f64(), &attributes);
    }

    /// A call, or an item of a batch, was not served.
    pub fn refused(&self, reason: &'static str) {
        self.0.refused.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// A batch was taken from the queue of a lane, whose first had waited so long.
    pub fn taken(&self, waited: Duration) {
        self.0.queue_wait.record(waited.as_secs_f64(), &[]);
    }

    /// A batch is durable: so many new events, and so many that were there already.
    pub fn written(&self, new: usize, duplicates: usize, took: Duration) {
        let instruments = &self.0;
        instruments.events_written.add(count(new), &[]);
        instruments.events_duplicate.add(count(duplicates), &[]);
        instruments.batch_events.record(count(new + duplicates), &[]);
        instruments.commit_duration.record(took.as_secs_f64(), &[outcome(true)]);
    }

    /// A batch could not be written.
    pub fn not_written(&self, took: Duration) {
        self.0.commit_duration.record(took.as_secs_f64(), &[outcome(false)]);
    }

    /// A log stream is forwarded here, until what is returned is dropped.
    pub fn stream(&self, destination: &'static str, state: &'static str) -> Arc<StreamGauge> {
        // Prometheus sees no increase in a series that begins with its first failure.
        self.dead_letters(destination, 0);
        self.0.streams.join(destination, state)
    }

    /// A destination took events.
    pub fn delivered(&self, destination: &'static str, events: usize, bytes: usize) {
        let attributes = [KeyValue::new("destination", destination)];
        self.0.stream_events.add(count(events), &attributes);
        self.0.stream_bytes.add(count(bytes), &attributes);
    }

    /// A destination answered, or failed to.
    pub fn destination_answered(&self, destination: &'static str, ok: bool, took: Duration) {
        let attributes = [KeyValue::new("destination", destination), outcome(ok)];
        self.0.stream_duration.record(took.as_secs_f64(), &attributes);
    }

    /// A try at a delivery failed, which is of one of the few kinds there are.
    pub fn delivery_failed(&self, destination: &'static str, kind: &'static str) {
        let attributes = [KeyValue::new("destination", destination), KeyValue::new("kind", kind)];
        self.0.stream_failures.add(1, &attributes);
    }

    /// Events became dead letters.
    pub fn dead_letters(&self, destination: &'static str, events: usize) {
        let attributes = [KeyValue::new("destination", destination)];
        self.0.stream_dead_letters.add(count(events), &attributes);
    }

    /// An export is written, until what is returned is dropped.
    pub fn export_begins(&self) -> Running {
        running(&self.0.exports_running)
    }

    /// An attempt at an export ended.
    pub fn export_ended(&self, format: &'static str, ok: bool, took: Duration) {
        let attributes = [KeyValue::new("format", format), outcome(ok)];
        self.0.export_duration.record(took.as_secs_f64(), &attributes);
    }

    /// An export grew.
    pub fn exported(&self, rows: u64, bytes: u64) {
        self.0.export_rows.add(rows, &[]);
        self.0.export_bytes.add(bytes, &[]);
    }

    /// Retention erased events.
    pub fn erased(&self, events: u64) {
        self.0.retention_events.add(events, &[]);
    }

    /// A sweep for retention ended.
    pub fn swept(&self, ok: bool, took: Duration) {
        // So that the series is there before the first event is erased.
        self.erased(0);
        self.0.retention_duration.record(took.as_secs_f64(), &[outcome(ok)]);
    }

    /// Has the queues of the lanes looked at whenever somebody asks.
    pub fn observe_lanes(&self, read: impl Fn() -> Vec<LaneDepth> + Send + Sync + 'static) {
        let read: Arc<dyn Fn() -> Vec<LaneDepth> + Send + Sync> = Arc::new(read);
        let observe = |name, unit, what, value: fn(&LaneDepth) -> u64| {
            let read = read.clone();
            let gauge = self.0.meter.u64_observable_gauge(name).with_unit(unit);
            let observed = gauge.with_description(what).with_callback(move |observer| {
                for (lane, depth) in read().iter().enumerate() {
                    let lane = i64::try_from(lane).unwrap_or_default();
                    observer.observe(value(depth), &[KeyValue::new("lane", lane)]);
                }
            });
            observed.build();
        };
        let what = "Events in a lane's queue";
        observe("audit_logs.queue.events", "{event}", what, |lane| lane.events);
        observe("audit_logs.queue.size", "By", "Bytes in a lane's queue", |lane| lane.bytes);
        let what = "Most events in a lane's queue";
        observe("audit_logs.queue.events.limit", "{event}", what, |lane| lane.most_events);
        let what = "Most bytes in a lane's queue";
        observe("audit_logs.queue.size.limit", "By", what, |lane| lane.most_bytes);
    }

    /// Has the pools of database connections looked at whenever somebody asks.
    pub fn observe_pools(&self, read: impl Fn() -> Vec<PoolUse> + Send + Sync + 'static) {
        const POOL: &str = "db.client.connection.pool.name";
        let read = Arc::new(read);
        let pools = read.clone();
        let gauge = self.0.meter.i64_observable_up_down_counter("db.client.connection.count");
        let gauge = gauge.with_unit("{connection}").with_description("Connections to the database");
        gauge
            .with_callback(move |observer| {
                for pool in pools() {
                    for (state, connections) in [("idle", pool.idle), ("used", pool.used)] {
                        let state = KeyValue::new("db.client.connection.state", state);
                        let connections = i64::try_from(connections).unwrap_or(i64::MAX);
                        observer.observe(connections, &[KeyValue::new(POOL, pool.name), state]);
                    }
                }
            })
            .build();
        let gauge = self.0.meter.i64_observable_up_down_counter("db.client.connection.max");
        let gauge = gauge.with_unit("{connection}").with_description("Most connections of a pool");
        gauge
            .with_callback(move |observer| {
                for pool in read() {
                    let most = i64::try_from(pool.most).unwrap_or(i64::MAX);
                    observer.observe(most, &[KeyValue::new(POOL, pool.name)]);
                }
            })
            .build();
    }

    /// Has a number looked at whenever somebody asks.
    fn observe(
        &self,
        name: &'static str,
        unit: &'static str,
        what: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let gauge = self.0.meter.u64_observable_gauge(name).with_unit(unit).with_description(what);
        gauge.with_callback(move |observer| observer.observe(read(), &[])).build();
    }

    /// Has the watchers of logs counted whenever somebody asks.
    pub fn observe_watchers(&self, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.observe("audit_logs.watchers", "{watcher}", "Watchers of logs", read);
    }

    /// Has it looked at whether calls are served whenever somebody asks.
    pub fn observe_readiness(&self, read: impl Fn() -> bool + Send + Sync + 'static) {
        let read = move || u64::from(read());
        self.observe("audit_logs.ready", "", "1 if calls are served, 0 if not", read);
    }

    /// Says what this program is.
    pub fn tell_build(&self, engine: &'static str) {
        let gauge = self.0.meter.u64_observable_gauge("audit_logs.build.info");
        let gauge = gauge.with_description("1, with the version and the database's engine");
        let version = env!("CARGO_PKG_VERSION");
        let facts = [KeyValue::new("version", version), KeyValue::new("engine", engine)];
        gauge.with_callback(move |observer| observer.observe(1, &facts)).build();
    }

    /// What this module itself keeps.
    pub(super) fn observe_own(&self) {
        let (active, exports) = (self.0.active.clone(), self.0.exports_running.clone());
        let level =
            |value: &AtomicI64| u64::try_from(value.load(Ordering::Relaxed)).unwrap_or_default();
        let what = "Calls and requests under way, streams included";
        self.observe("audit_logs.requests.active", "{request}", what, move || level(&active));
        let what = "Exports that are being written";
        self.observe("audit_logs.exports.running", "{export}", what, move || level(&exports));
        let streams = self.0.streams.clone();
        let gauge = self.0.meter.u64_observable_gauge("audit_logs.log_streams");
        let gauge = gauge.with_unit("{stream}").with_description("Log streams forwarded here");
        gauge
            .with_callback(move |observer| {
                for ((destination, state), streams) in streams.by_state() {
                    let destination = KeyValue::new("destination", destination);
                    observer.observe(streams, &[destination, KeyValue::new("state", state)]);
                }
            })
            .build();
        self.observe_lag();
    }

    fn observe_lag(&self) {
        let observe = |name, unit, what, value: fn(&DestinationSum) -> f64| {
            let streams = self.0.streams.clone();
            let gauge = self.0.meter.f64_observable_gauge(name).with_unit(unit);
            let observed = gauge.with_description(what).with_callback(move |observer| {
                for (destination, sum) in streams.by_destination() {
                    observer.observe(value(&sum), &[KeyValue::new("destination", destination)]);
                }
            });
            observed.build();
        };
        let what = "Events that log streams of a destination have yet to deliver, together";
        observe("audit_logs.log_stream.lag.events", "{event}", what, |sum| sum.events);
        let what = "The same of the log stream that has most";
        observe("audit_logs.log_stream.lag.events.max", "{event}", what, |sum| sum.most_events);
        let what = "How long ago the oldest event was received that is still to be delivered";
        observe("audit_logs.log_stream.lag", "s", what, |sum| sum.most_seconds);
    }
}

fn running(level: &Arc<AtomicI64>) -> Running {
    level.fetch_add(1, Ordering::Relaxed);
    Running(level.clone())
}
