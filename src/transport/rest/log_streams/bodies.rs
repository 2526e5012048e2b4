//! What is told of log streams.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    domain::log_stream::{LogStream, LogStreamState},
    service::log_streams::{StatusView, Trial},
    transport::rest::{log_stream_config::config, time::millis},
};

/// A log stream. Its secrets are never told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogStream)]
pub struct LogStreamBody {
    /// Always `log_stream`.
    #[schema(example = "log_stream")]
    object: &'static str,
    /// Id.
    #[schema(example = "als_01JR7C5D2F9G8H6J4K3M1N0PQR")]
    id: String,
    /// Whose log it forwards.
    organization_id: String,
    /// What people call it.
    name: String,
    /// The kind of its destination.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `active`, `inactive`, `error` or `invalid`.
    #[schema(example = "active")]
    state: &'static str,
    /// The destination, without secrets.
    #[schema(value_type = Object)]
    config: Value,
    /// Authorities that the destination's certificate may also be signed by.
    ca_certificates_pem: String,
    /// In which form events are sent.
    payload: &'static str,
    /// The next event that is to be delivered.
    next_sequence: u64,
    /// When the destination last took an event.
    #[schema(required = true)]
    last_synced_at: Option<String>,
    /// What is wrong, in the states `error` and `invalid`.
    #[schema(required = true)]
    error: Option<String>,
    /// When it was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its configuration last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<LogStream> for LogStreamBody {
    fn from(stream: LogStream) -> Self {
        let fails = matches!(stream.state, LogStreamState::Error | LogStreamState::Invalid);
        Self {
            object: "log_stream",
            id: stream.id.to_string(),
            organization_id: stream.organization_id.to_string(),
            name: stream.name,
            kind: stream.destination.kind(),
            state: stream.state.as_str(),
            config: config(&stream.destination),
            ca_certificates_pem: stream.ca_certificates_pem,
            payload: stream.payload.as_str(),
            next_sequence: stream.progress.next_sequence,
            last_synced_at: stream.progress.last_success_at.map(millis),
            error: fails.then_some(stream.progress.last_error),
            created_at: millis(stream.created_at),
            updated_at: millis(stream.updated_at),
        }
    }
}

/// How a log stream is doing.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogStreamStatus {
    /// `active`, `inactive`, `error` or `invalid`.
    state: &'static str,
    /// The next event that is to be delivered.
    next_sequence: u64,
    /// The size of the log.
    tree_size: u64,
    /// How many events are still to be delivered.
    lag_events: u64,
    /// How long ago the oldest of them was received, in seconds.
    lag_seconds: f64,
    /// When the destination last took events.
    #[schema(required = true)]
    last_success_at: Option<String>,
    /// What last went wrong.
    last_error: String,
    /// When that was.
    #[schema(required = true)]
    last_error_at: Option<String>,
    /// Tries that failed since the last success.
    consecutive_failures: u32,
    /// When the next try is due, after one that failed.
    #[schema(required = true)]
    next_attempt_at: Option<String>,
    /// Events that the destination took.
    delivered_events: u64,
    /// Their bytes before compression.
    delivered_bytes: u64,
    /// How many events are dead letters.
    dead_letters: u64,
    /// What may become a problem.
    warnings: Vec<String>,
}

impl From<StatusView> for LogStreamStatus {
    fn from(view: StatusView) -> Self {
        let (stream, tree_size) = (view.status.stream, view.status.tree_size);
        let progress = stream.progress;
        Self {
            state: stream.state.as_str(),
            next_sequence: progress.next_sequence,
            tree_size,
            lag_events: tree_size.saturating_sub(progress.next_sequence),
            lag_seconds: view.lag_seconds,
            last_success_at: progress.last_success_at.map(millis),
            last_error: progress.last_error,
            last_error_at: progress.last_error_at.map(millis),
            consecutive_failures: progress.consecutive_failures,
            next_attempt_at: progress.next_attempt_at.map(millis),
            delivered_events: progress.delivered_events,
            delivered_bytes: progress.delivered_bytes,
            dead_letters: view.status.dead_letters,
            warnings: view.warnings,
        }
    }
}

/// What the destination answered to the synthetic event.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestBody {
    /// Whether it took it.
    delivered: bool,
    /// Its own words, or why there were none.
    answer: String,
    /// The HTTP status, where there was one.
    #[schema(required = true)]
    http_status: Option<u16>,
    /// How long it took.
    duration_milliseconds: u64,
    /// What state the answer would give the stream.
    state: &'static str,
}

impl From<Trial> for TestBody {
    fn from(trial: Trial) -> Self {
        Self {
            delivered: trial.delivered,
            answer: trial.answer,
            http_status: trial.http_status,
            duration_milliseconds: u64::try_from(trial.duration.as_millis()).unwrap_or(u64::MAX),
            state: trial.state.as_str(),
        }
    }
}
