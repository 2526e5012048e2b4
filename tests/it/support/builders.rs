//! Requests that are right; a test changes what it is about.

use audit_logs::{
    domain::limits::METADATA_VALUE_CHARS,
    proto::v1::{
        Actor, Context, CreateActionSchemaRequest, CreateEventRequest, Event, SchemaTarget, Target,
    },
};
use prost_types::{Struct, Timestamp, Value, value::Kind};

/// An instant, as protobuf has it, from RFC 3339 text.
pub fn at(text: &str) -> Timestamp {
    let instant = audit_logs::domain::timestamp::Timestamp::parse_rfc3339(text).unwrap();
    Timestamp { seconds: instant.seconds(), nanos: instant.subsecond_nanos() }
}

/// A schema for `action` that asks for one target of the type `document`.
pub fn schema_for(action: &str) -> CreateActionSchemaRequest {
    CreateActionSchemaRequest {
        action_name: action.to_owned(),
        targets: vec![SchemaTarget { r#type: "document".to_owned(), metadata: None }],
        actor: None,
        metadata: None,
    }
}

/// An event that fits `schema_for(action)`.
pub fn an_event(action: &str) -> Event {
    Event {
        action: action.to_owned(),
        version: 0,
        occurred_at: Some(at("2026-01-02T03:04:05.678901Z")),
        actor: Some(Actor {
            id: "user_1".to_owned(),
            r#type: "user".to_owned(),
            name: "Mira".to_owned(),
            metadata: Some(metadata(&[("role", "analyst".into())])),
        }),
        targets: vec![Target {
            id: "doc_1".to_owned(),
            r#type: "document".to_owned(),
            name: "Plan".to_owned(),
            metadata: None,
        }],
        context: Some(Context {
            location: "203.0.113.9".to_owned(),
            user_agent: "test".to_owned(),
        }),
        metadata: Some(metadata(&[("pages", 12.0.into()), ("signed", true.into())])),
    }
}

/// A request to record `an_event(action)` without an idempotency key.
pub fn create_event(organization: &str, action: &str) -> CreateEventRequest {
    CreateEventRequest {
        organization_id: organization.to_owned(),
        event: Some(an_event(action)),
        idempotency_key: String::new(),
        receipt: false,
    }
}

/// The request with so many bytes of text more in its metadata; at most 24,000.
pub fn with_text(mut request: CreateEventRequest, bytes: usize) -> CreateEventRequest {
    let metadata = request.event.as_mut().and_then(|event| event.metadata.as_mut()).unwrap();
    for (number, text) in "x".repeat(bytes).as_bytes().chunks(METADATA_VALUE_CHARS).enumerate() {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let value = Value { kind: Some(Kind::StringValue(text)) };
        metadata.fields.insert(format!("text_{number}"), value);
    }
    request
}

/// A value of a `Struct`.
pub struct Scalar(Kind);

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self(Kind::StringValue(text.to_owned()))
    }
}

impl From<f64> for Scalar {
    fn from(number: f64) -> Self {
        Self(Kind::NumberValue(number))
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self(Kind::BoolValue(value))
    }
}

impl From<Kind> for Scalar {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

/// A `Struct` of some values.
pub fn metadata(pairs: &[(&str, Scalar)]) -> Struct {
    let value = |scalar: &Scalar| Value { kind: Some(scalar.0.clone()) };
    Struct { fields: pairs.iter().map(|(key, kind)| ((*key).to_owned(), value(kind))).collect() }
}
