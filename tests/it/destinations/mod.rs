//! Every destination against a receiver that holds it to the vendor's rules, through
//! `audit_logs::forward::open`, over TLS.

mod buckets;
mod egress;
mod faults;
mod flaky_buckets;
#[cfg(feature = "kafka")]
mod kafka;
mod otlp;
mod outgoing;
mod protocols;
mod syslog;

use std::{sync::Arc, time::Duration};

use audit_logs::{
    domain::{
        canonical::canonical_event,
        canonical_read::CanonicalEvent,
        destination::{self, Destination, Secrets, header_secret},
        event::LoggedEvent,
        ids::{EnvironmentId, EventId, LogStreamId, OrganizationId},
        log_stream::{LogStream, LogStreamState, PayloadForm, StreamProgress},
        timestamp::Timestamp,
    },
    forward::{self, Egress, EncodedEvent, OutgoingEvent, Sink},
};
use serde_json::{Value, json};

use crate::receivers::{
    AzureSentinel, Datadog, GenericHttps, Protocol, Receiver, RequestForm, Snowflake, Splunk,
    azure_sentinel, snowflake,
};

/// The secret of every destination here.
pub const SECRET: &str = "s3cr3t-f0r-t3sts";
/// When events are sent.
pub const NOW: Timestamp = Timestamp::from_micros(1_793_610_000_000_000);

/// A stream to a destination whose certificate an authority signed.
pub fn stream_to(destination: Destination, ca_pem: &str) -> LogStream {
    LogStream {
        id: LogStreamId::from_stored("log_stream_01JSB3C4D5E6F7G8H9J0K1M2N3"),
        environment_id: EnvironmentId::from_stored("environment_1"),
        organization_id: OrganizationId::from_stored("org_acme"),
        name: String::new(),
        destination,
        ca_certificates_pem: ca_pem.to_owned(),
        payload: PayloadForm::WorkOs,
        state: LogStreamState::Active,
        progress: StreamProgress::default(),
        generation: 1,
        revision: 1,
        created_at: NOW,
        updated_at: NOW,
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

/// Opens a stream that may dial this host, and waits two seconds for an answer.
pub fn open(stream: &LogStream, secrets: &Secrets) -> Arc<dyn Sink> {
    let egress = Egress::parse("127.0.0.0/8, ::1").unwrap();
    let egress = egress.with_request_timeout(Duration::from_secs(2));
    forward::open(stream, secrets, &egress).unwrap()
}

/// The event with that position, in its canonical form.
pub fn canonical(sequence: u64, metadata: &Value) -> Vec<u8> {
    let event = json!({
        "action": "report.downloaded", "version": 1,
        "occurred_at": format!("2026-11-02T08:15:{:02}.250Z", sequence % 60),
        "actor": {"id": "usr_88", "type": "user", "name": "Ann \"A\" Å", "metadata": {"n": 1}},
        "targets": [{"id": "rep_17", "type": "report", "metadata": {}}],
        "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
        "metadata": metadata,
    });
    canonical_event(&LoggedEvent {
        id: EventId::from_stored(id(sequence)),
        organization_id: OrganizationId::from_stored("org_acme"),
        created_at: created_at(sequence),
        event: serde_json::from_value(event).unwrap(),
    })
    .unwrap()
}

/// The id of the event with that position.
pub fn id(sequence: u64) -> String {
    format!("audit_event_{sequence:026}")
}

fn created_at(sequence: u64) -> Timestamp {
    Timestamp::from_micros(NOW.micros() - 1_000_000 + i64::try_from(sequence).unwrap())
}

/// An event in the form of a destination.
pub fn encoded(sink: &dyn Sink, sequence: u64, metadata: &Value) -> Result<EncodedEvent, String> {
    let canonical = canonical(sequence, metadata);
    let event = CanonicalEvent::read(&canonical).unwrap();
    let occurred_at = String::from_utf8(event.occurred_at.decoded().unwrap().into_owned()).unwrap();
    let created_at = created_at(sequence);
    let occurred_at = Timestamp::parse_rfc3339(&occurred_at).unwrap();
    let mut bytes = Vec::new();
    sink.encode(&OutgoingEvent { sequence, event, occurred_at, created_at }, NOW, &mut bytes)?;
    Ok(EncodedEvent { sequence, event_id: id(sequence), created_at, bytes })
}

/// Events of that size in metadata, from the first position on.
pub fn batch(sink: &dyn Sink, first: u64, count: u64, bytes: usize) -> Vec<EncodedEvent> {
    let keys = bytes.div_ceil(500);
    let text = "x".repeat(bytes.min(500));
    let metadata: Value = (0..keys).map(|key| (format!("key_{key}"), json!(text))).collect();
    (first..first + count).map(|at| encoded(sink, at, &metadata).unwrap()).collect()
}

/// The ids of a run of events.
pub fn ids(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(id).collect()
}

/// A receiver and what sends to it.
pub struct Pair<P> {
    pub receiver: Receiver<P>,
    pub sink: Arc<dyn Sink>,
}

impl<P: Protocol> Pair<P> {
    async fn new(protocol: P, name: &str, to: impl Fn(String) -> Destination) -> Self {
        let receiver = Receiver::start(protocol).await;
        let stream = stream_to(to(receiver.url()), receiver.ca_pem());
        let value = if name.starts_with("header:") {
            format!("Bearer {SECRET}")
        } else {
            SECRET.to_owned()
        };
        let sink = open(&stream, &secrets(&[(name, &value)]));
        Self { receiver, sink }
    }
}

pub async fn datadog() -> Pair<Datadog> {
    Pair::new(Datadog::new(SECRET), "api_key", |endpoint| {
        let source = "acme".to_owned();
        Destination::Datadog(destination::Datadog { endpoint, source, region: String::new() })
    })
    .await
}

pub async fn splunk(receiver: Splunk, config: destination::Splunk) -> Pair<Splunk> {
    Pair::new(receiver, "hec_token", |url| {
        Destination::Splunk(destination::Splunk { url, ..config.clone() })
    })
    .await
}

pub async fn azure_sentinel() -> Pair<AzureSentinel> {
    Pair::new(AzureSentinel::new(SECRET), "client_secret", |url| {
        Destination::AzureSentinel(destination::AzureSentinel {
            tenant_id: azure_sentinel::TENANT.to_owned(),
            client_id: "client".to_owned(),
            data_collection_endpoint: url.clone(),
            data_collection_rule_id: azure_sentinel::RULE.to_owned(),
            stream_name: azure_sentinel::STREAM.to_owned(),
            authority_url: url,
            token_scope: String::new(),
        })
    })
    .await
}

pub async fn snowflake(protocol: Snowflake) -> Pair<Snowflake> {
    let receiver = Receiver::start(protocol).await;
    let destination = Destination::Snowflake(destination::Snowflake {
        account_url: receiver.url(),
        username: "audit_logs".to_owned(),
        warehouse: "small".to_owned(),
        database: "logs".to_owned(),
        schema: "public".to_owned(),
        table: "audit events".to_owned(),
        role: String::new(),
    });
    let stream = stream_to(destination, receiver.ca_pem());
    let sink = open(
        &stream,
        &secrets(&[
            ("private_key_pem", snowflake::ENCRYPTED_KEY),
            ("private_key_passphrase", snowflake::PASSPHRASE),
        ]),
    );
    Pair { receiver, sink }
}

pub async fn generic_https(config: destination::GenericHttps) -> Pair<GenericHttps> {
    let form = match config.format {
        destination::HttpsFormat::Json => RequestForm::Json,
        destination::HttpsFormat::Ndjson => RequestForm::Ndjson,
    };
    Pair::new(GenericHttps::new(SECRET, form), &header_secret("Authorization"), |url| {
        let headers = vec!["Authorization".to_owned()];
        let url = format!("{url}/events?x=1");
        Destination::GenericHttps(destination::GenericHttps { url, headers, ..config.clone() })
    })
    .await
}
