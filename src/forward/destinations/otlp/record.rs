//! The record of an event.
//!
//! An event is a `LogRecord` without severity: `time_unix_nano` is when it happened,
//! `observed_time_unix_nano` when the service received it, `event_name` the action. The body is the
//! event as JSON, in a string: so it stays what it was, byte by byte, where a list of values would
//! lose how a number was written. The attributes are those of OpenTelemetry's draft for audit records
//! (`specification/audit/data-model.md` of its enhancement proposal), with the first target and, if
//! the location is an address, the source; `audit.sequence.stream_id` is the organization. What is
//! not known is left out, but for `audit.outcome`, which must be there and is `unknown` then.

use std::net::IpAddr;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
pub(super) use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::Deserialize;

use crate::{
    domain::{log_stream::PayloadForm, timestamp::Timestamp},
    forward::{OutgoingEvent, payload},
};

/// The record of an event with the event in that form. An error is why it cannot be written.
pub(super) fn record_of(form: PayloadForm, event: &OutgoingEvent<'_>) -> Result<LogRecord, String> {
    let mut body = Vec::with_capacity(1_024);
    payload::write_event(form, event, &mut body)?;
    let body = String::from_utf8(body).map_err(|_| "the event is not UTF-8".to_owned())?;
    let action = payload::text(event.event.action)?.into_owned();
    Ok(LogRecord {
        time_unix_nano: nanos(event.occurred_at),
        observed_time_unix_nano: nanos(event.created_at),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: attributes(event, &action)?,
        event_name: action,
        ..LogRecord::default()
    })
}

fn attributes(event: &OutgoingEvent<'_>, action: &str) -> Result<Vec<KeyValue>, String> {
    #[derive(Deserialize)]
    struct Target {
        id: String,
        #[serde(rename = "type")]
        kind: String,
    }
    let parts = event.event;
    let outcome = payload::outcome(parts.metadata);
    let outcome = outcome.as_deref().filter(|outcome| ["success", "failure"].contains(outcome));
    let mut attributes = vec![
        text("audit.record.id", &payload::text(parts.id)?),
        text("audit.actor.id", &payload::text(parts.actor_id)?),
        text("audit.actor.type", &payload::text(parts.actor_kind)?),
        text("audit.action", action),
        text("audit.outcome", outcome.unwrap_or("unknown")),
        text("audit.schema.version", &String::from_utf8_lossy(parts.version)),
        text("audit.sequence.stream_id", &payload::text(parts.organization_id)?),
        KeyValue {
            key: "audit.sequence.number".to_owned(),
            value: Some(AnyValue {
                value: Some(Value::IntValue(i64::try_from(event.sequence).unwrap_or(i64::MAX))),
            }),
            ..KeyValue::default()
        },
    ];
    let targets: Vec<Target> =
        serde_json::from_slice(parts.targets).map_err(|error| error.to_string())?;
    if let Some(target) = targets.first() {
        attributes.push(text("audit.target.id", &target.id));
        attributes.push(text("audit.target.type", &target.kind));
    }
    let location = payload::text(parts.location)?;
    if let Ok(address) = location.parse::<IpAddr>() {
        attributes.push(text("audit.source.id", &location));
        let kind = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        attributes.push(text("audit.source.type", kind));
    }
    Ok(attributes)
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Nanoseconds since the epoch; 0, which means unknown, for what OTLP cannot say (before 1970).
fn nanos(instant: Timestamp) -> u64 {
    u64::try_from(instant.micros()).ok().and_then(|micros| micros.checked_mul(1_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::forward::payload::fixture::{canonical, example, outgoing};

    fn record(event: serde_json::Value) -> LogRecord {
        record_of(PayloadForm::WorkOs, &outgoing(&canonical(event))).unwrap()
    }

    fn attribute(record: &LogRecord, key: &str) -> Option<Value> {
        let found = record.attributes.iter().find(|attribute| attribute.key == key)?;
        found.value.clone()?.value
    }

    #[test]
    fn a_record_says_who_did_what() {
        let mut event = example();
        event["metadata"] = json!({"outcome": "failure"});
        let record = record(event);
        assert_eq!(record.time_unix_nano, 1_793_607_330_250_000_000);
        assert_eq!(record.observed_time_unix_nano, 1_793_607_331_007_999_000);
        assert_eq!((record.event_name.as_str(), record.severity_number), ("report.downloaded", 0));
        for (key, value) in [
            ("audit.record.id", "01JSB3C4D5E6F7G8H9J0K1M2N3"),
            ("audit.actor.id", "usr_88"),
            ("audit.actor.type", "user"),
            ("audit.action", "report.downloaded"),
            ("audit.outcome", "failure"),
            ("audit.schema.version", "1"),
            ("audit.sequence.stream_id", "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA"),
            ("audit.target.id", "rep_17"),
            ("audit.target.type", "report"),
            ("audit.source.id", "203.0.113.9"),
            ("audit.source.type", "ipv4"),
        ] {
            let expected = Some(Value::StringValue(value.to_owned()));
            assert_eq!(attribute(&record, key), expected, "{key}");
        }
        assert_eq!(attribute(&record, "audit.sequence.number"), Some(Value::IntValue(7)));
        let Some(Value::StringValue(body)) = record.body.and_then(|body| body.value) else {
            panic!("no text")
        };
        assert!(body.starts_with("{\"id\":\"01JSB3C4D5E6F7G8H9J0K1M2N3\""), "{body}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut event = example();
        event["targets"] = json!([]);
        event["context"]["location"] = json!("Zürich");
        event["occurred_at"] = json!("1950-01-01T00:00:00Z");
        event["metadata"] = json!({"outcome": "maybe"});
        let record = record(event);
        assert_eq!(record.time_unix_nano, 0);
        let unknown = Some(Value::StringValue("unknown".to_owned()));
        assert_eq!(attribute(&record, "audit.outcome"), unknown);
        for key in ["audit.target.id", "audit.target.type", "audit.source.id"] {
            assert_eq!(attribute(&record, key), None);
        }
    }
}
