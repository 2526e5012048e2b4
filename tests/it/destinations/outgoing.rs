//! A stream, and events for its destination.

use std::sync::Arc;

use audit_logs::{
    domain::{
        canonical::canonical_event,
        canonical_read::CanonicalEvent,
        destination::{Destination, Secrets},
        event::{Event, LoggedEvent},
        ids::{EnvironmentId, EventId, LogStreamId, OrganizationId},
        log_stream::{LogStream, LogStreamState, PayloadForm, StreamProgress},
        timestamp::Timestamp,
    },
    forward::{self, Egress, EncodedEvent, OutgoingEvent, Sink},
};
use serde_json::{Value, json};

/// Whose log is forwarded.
pub const ORGANIZATION: &str = "org_acme";
/// 2026-11-02T08:15:30.25Z.
const OCCURRED_AT: i64 = 1_793_607_330_250_000;

/// A sink for that destination, for certificates of that authority; loopback addresses may be
/// dialled.
pub fn sink(
    destination: Destination,
    secrets: &Secrets,
    authority: &str,
) -> Result<Arc<dyn Sink>, String> {
    sink_through(&Egress::parse("127.0.0.0/8").unwrap(), destination, secrets, authority)
}

/// The same, where other addresses may be dialled.
pub fn sink_through(
    egress: &Egress,
    destination: Destination,
    secrets: &Secrets,
    authority: &str,
) -> Result<Arc<dyn Sink>, String> {
    let now = Timestamp::from_micros(OCCURRED_AT);
    let stream = LogStream {
        id: LogStreamId::from_stored("log_stream_1"),
        environment_id: EnvironmentId::from_stored("environment_1"),
        organization_id: OrganizationId::from_stored(ORGANIZATION),
        name: String::new(),
        destination,
        ca_certificates_pem: authority.to_owned(),
        payload: PayloadForm::WorkOs,
        state: LogStreamState::Active,
        progress: StreamProgress::default(),
        generation: 1,
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    forward::open(&stream, secrets, egress)
}

/// An event, by its position in the log.
pub fn event(sequence: u64) -> Value {
    json!({
        "action": "report.downloaded",
        "version": 1,
        "occurred_at": Timestamp::from_micros(OCCURRED_AT).to_string(),
        "actor": {"id": format!("user_{sequence}"), "type": "user", "metadata": {}},
        "targets": [{"id": "report_17", "type": "report", "metadata": {}}],
        "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
        "metadata": {},
    })
}

/// Id of the event at that position.
pub fn id(sequence: u64) -> String {
    format!("audit_event_{sequence:026}")
}

/// What is sent of an event.
pub fn encode(sink: &dyn Sink, sequence: u64, event: &Value) -> Result<EncodedEvent, String> {
    let event: Event = serde_json::from_value(event.clone()).unwrap();
    let occurred_at = event.occurred_at;
    let created_at = Timestamp::from_micros(OCCURRED_AT + 7_008);
    let logged = LoggedEvent {
        id: EventId::from_stored(id(sequence)),
        organization_id: OrganizationId::from_stored(ORGANIZATION),
        created_at,
        event,
    };
    let canonical = canonical_event(&logged).unwrap();
    let event = CanonicalEvent::read(&canonical).unwrap();
    let mut bytes = Vec::new();
    let outgoing = OutgoingEvent { sequence, event, occurred_at, created_at };
    sink.encode(&outgoing, created_at, &mut bytes)?;
    assert!(bytes.len() <= sink.limits().event_bytes);
    Ok(EncodedEvent { sequence, event_id: id(sequence), created_at, bytes })
}

/// A batch of events.
pub fn batch(sink: &dyn Sink, events: &[(u64, Value)]) -> Vec<EncodedEvent> {
    events.iter().map(|(sequence, event)| encode(sink, *sequence, event).unwrap()).collect()
}

/// A batch of the events at those positions.
pub fn range(sink: &dyn Sink, sequences: std::ops::Range<u64>) -> Vec<EncodedEvent> {
    sequences.map(|sequence| encode(sink, sequence, &event(sequence)).unwrap()).collect()
}

/// The time at which batches are sent.
pub fn now() -> Timestamp {
    Timestamp::from_micros(OCCURRED_AT + 60_000_000)
}

/// What WorkOS would send of an event.
pub fn workos(sequence: u64, event: &Value) -> Value {
    let mut sent = event.clone();
    let object = sent.as_object_mut().unwrap();
    object.insert("id".to_owned(), id(sequence).into());
    object.insert("occurred_at".to_owned(), "2026-11-02T08:15:30.250Z".into());
    if event["version"] == json!(1) {
        object.remove("version");
    }
    drop_empty_metadata(&mut sent);
    sent
}

fn drop_empty_metadata(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, value| key != "metadata" || *value != json!({}));
            object.values_mut().for_each(drop_empty_metadata);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_metadata),
        _ => {}
    }
}
