//! Sending events to destinations: what each takes, and how it answers. Knows nothing of the database;
//! `worker::forward` reads the log, asks for batches and decides what an answer means for a stream.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub mod aws;
mod destinations;
mod egress;
pub mod http;
mod key_pair;
pub mod payload;
pub mod vault;

use self::destinations::{
    AzureSentinelSink, BucketSink, DatadogSink, GenericHttpsSink, OtlpSink, SnowflakeSink,
    SplunkSink, SyslogSink,
};
pub use self::egress::Egress;
use crate::domain::{
    canonical_read::CanonicalEvent,
    destination::{Destination, Secrets},
    log_stream::LogStream,
    timestamp::Timestamp,
};

/// Most of what a destination says that is kept.
const TOLD_BYTES: usize = 1024;

/// An event on its way out.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingEvent<'a> {
    /// Position in the log.
    pub sequence: u64,
    /// The event, as the log holds it.
    pub event: CanonicalEvent<'a>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When the service received it.
    pub created_at: Timestamp,
}

/// An event in the form of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEvent {
    /// Position in the log.
    pub sequence: u64,
    /// Id of the event.
    pub event_id: String,
    /// When the service received it.
    pub created_at: Timestamp,
    /// What is sent of it.
    pub bytes: Vec<u8>,
}

/// What a destination takes in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most events.
    pub events: usize,
    /// Most bytes before compression, with what stands between and around the events.
    pub bytes: usize,
    /// Most bytes of one encoded event.
    pub event_bytes: usize,
    /// How many bytes stand around or between events, for each.
    pub overhead: usize,
    /// How long to wait for more events before a batch that is not full is sent.
    pub linger: Duration,
}

/// What a destination said when it took a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its words, one line of at most 1 KiB; may be empty.
    pub text: String,
    /// The HTTP status, where it speaks HTTP.
    pub http_status: Option<u16>,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// What happened, for people: no secrets, one line, at most 1 KiB of the destination's words.
    pub message: String,
    /// The HTTP status, where there was an answer.
    pub http_status: Option<u16>,
    /// How many events at the start of the batch were taken all the same. The kind is about those after
    /// them, as if they had been sent alone.
    pub taken: usize,
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// It may pass: the network, a timeout, 408, 429, 5xx. The stream becomes ERROR and tries again.
    Temporary {
        /// How long the destination wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The credentials or the configuration are refused (401, 403, 404). The stream becomes INVALID.
    Invalid,
    /// The request is too large (413): the batch is split; a single event is a dead letter.
    TooLarge,
    /// The destination can never take some events: those with these places in the batch, or, if it does
    /// not tell, an empty list: then the batch is split to find them. The others were not taken either.
    Refused(Vec<usize>),
    /// The destination took some events, refused others, does not tell which, and must not get them
    /// again (OTLP's partial success): all become dead letters with the message.
    PartlyTaken,
}

impl FailureKind {
    /// One word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Temporary { .. } => "temporary",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Refused(_) => "refused",
            Self::PartlyTaken => "partly_taken",
        }
    }
}

impl Answer {
    /// In these words, as far as they can be told.
    pub fn new(text: impl AsRef<str>, http_status: Option<u16>) -> Self {
        Self { text: told(text.as_ref()), http_status }
    }
}

impl Failure {
    /// A failure of that kind, in these words as far as they can be told, of which nothing was taken.
    pub fn new(kind: FailureKind, message: impl AsRef<str>, http_status: Option<u16>) -> Self {
        Self { kind, message: told(message.as_ref()), http_status, taken: 0 }
    }

    /// A failure without an answer that may pass.
    pub fn temporary(message: impl AsRef<str>) -> Self {
        Self::new(FailureKind::Temporary { retry_after: None }, message, None)
    }

    /// A failure that only another configuration mends.
    pub fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(FailureKind::Invalid, message, None)
    }

    /// The same, with what was attempted before its message.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

/// What can be told of words that are not the service's: one line of at most a kibibyte.
fn told(text: &str) -> String {
    let text = text.trim();
    let end = text.floor_char_boundary(TOLD_BYTES);
    text[..end].replace(|c: char| c.is_control(), " ")
}

/// Something that takes events. One per stream and replica; [`Sink::send`] is called for one batch at a
/// time, while [`Sink::encode`] prepares the next.
#[async_trait]
pub trait Sink: Send + Sync {
    /// What it takes.
    fn limits(&self) -> BatchLimits;

    /// Appends what is sent of an event to `out`. An error is why the destination can never take it.
    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String>;

    /// Sends a batch, at least one event, within the limits. Ends by itself within a minute. When it
    /// returns `Ok` the destination has taken all of it.
    async fn send(&self, batch: &[EncodedEvent], now: Timestamp) -> Result<Answer, Failure>;
}

/// Makes what sends the events of a stream. An error is why its configuration cannot be used.
pub fn open(
    stream: &LogStream,
    secrets: &Secrets,
    egress: &Egress,
) -> Result<Arc<dyn Sink>, String> {
    Ok(match &stream.destination {
        Destination::Datadog(config) => {
            Arc::new(DatadogSink::new(stream, config, secrets, egress)?)
        }
        Destination::Splunk(config) => Arc::new(SplunkSink::new(stream, config, secrets, egress)?),
        Destination::AzureSentinel(config) => {
            Arc::new(AzureSentinelSink::new(stream, config, secrets, egress)?)
        }
        Destination::S3(config) => Arc::new(BucketSink::s3(stream, config, secrets, egress)?),
        Destination::GoogleCloudStorage(config) => {
            Arc::new(BucketSink::google_cloud_storage(stream, config, secrets, egress)?)
        }
        Destination::Snowflake(config) => {
            Arc::new(SnowflakeSink::new(stream, config, secrets, egress)?)
        }
        Destination::GenericHttps(config) => {
            Arc::new(GenericHttpsSink::new(stream, config, secrets, egress)?)
        }
        #[cfg(feature = "kafka")]
        Destination::Kafka(config) => {
            Arc::new(destinations::KafkaSink::new(stream, config, secrets, egress)?)
        }
        #[cfg(not(feature = "kafka"))]
        Destination::Kafka(_) => {
            return Err("this build has no Kafka: it needs `--features kafka`".to_owned());
        }
        Destination::Otlp(config) => Arc::new(OtlpSink::new(stream, config, secrets, egress)?),
        Destination::Syslog(config) => Arc::new(SyslogSink::new(stream, config, egress)?),
    })
}

/// What tests of destinations are configured with.
#[cfg(test)]
mod fixture {
    use super::*;
    use crate::domain::{
        destination::Datadog,
        ids::{EnvironmentId, LogStreamId, OrganizationId},
        log_stream::{LogStreamState, PayloadForm, StreamProgress},
    };

    /// A stream; its destination does not matter.
    pub fn stream() -> LogStream {
        LogStream {
            id: LogStreamId::from_stored("log_stream_1"),
            environment_id: EnvironmentId::from_stored("env_1"),
            organization_id: OrganizationId::from_stored("org_1"),
            name: String::new(),
            destination: Destination::Datadog(Datadog::default()),
            ca_certificates_pem: String::new(),
            payload: PayloadForm::WorkOs,
            state: LogStreamState::Active,
            progress: StreamProgress::default(),
            generation: 1,
            revision: 1,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
        }
    }

    /// Secrets by their names.
    pub fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (name, value) in pairs {
            secrets.set(*name, *value);
        }
        secrets
    }
}
