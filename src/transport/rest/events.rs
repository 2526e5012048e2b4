//! Recording events: `POST /audit_logs/events` and `POST /v1/events:batch`.

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{KnownCaller, body::Sent, lenient, time::millis};
use crate::{
    domain::{
        event_draft::{ContextDraft, EventDraft, PartyDraft, TimeDraft},
        idempotency::Idempotency,
    },
    service::{
        Services,
        events::{NewEvent, Recorded},
    },
    transport::{
        http::{
            error_body::{ErrorBody, FieldError},
            json::JsonBody,
            refusal::Refusal,
        },
        status::ItemFailures,
    },
};

/// The header with the key under which a repetition is recognized.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// An event to record.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateEvent {
    /// The organization whose log takes the event.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA")]
    organization_id: String,
    /// What happened.
    #[serde(default, deserialize_with = "lenient::object")]
    #[schema(required = true, nullable = false)]
    event: Option<Event>,
}

/// What happened.
#[derive(Debug, Deserialize, ToSchema)]
struct Event {
    /// Name of an action that has a schema. At most 255 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "report.downloaded")]
    action: String,
    /// When it happened: ISO 8601; without a zone it is UTC.
    #[serde(default, deserialize_with = "lenient::time")]
    #[schema(required = true, value_type = String, format = DateTime)]
    occurred_at: TimeDraft,
    /// Version of the action's schema; 1 unless it is sent.
    #[serde(default, deserialize_with = "lenient::integer")]
    #[schema(minimum = 0)]
    version: i64,
    /// Who did it.
    #[serde(default, deserialize_with = "lenient::object")]
    #[schema(required = true, nullable = false)]
    actor: Option<Party>,
    /// What it was done to. At most 100.
    #[serde(default, deserialize_with = "lenient::present_objects")]
    #[schema(required = true, nullable = false)]
    targets: Option<Vec<Party>>,
    /// From where it was done.
    #[serde(default, deserialize_with = "lenient::object")]
    #[schema(required = true, nullable = false)]
    context: Option<Context>,
    /// Further facts: at most 50 strings (500 characters), numbers and booleans by key
    /// (`[a-zA-Z0-9_-]{1,40}`).
    #[serde(default, deserialize_with = "lenient::map")]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// Who did it, or what it was done to.
#[derive(Debug, Deserialize, ToSchema)]
struct Party {
    /// Id in your system. At most 1,024 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "usr_88")]
    id: String,
    /// Kind. At most 255 characters.
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "user")]
    kind: String,
    /// Display name. At most 1,024 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    name: String,
    /// Further facts, as those of the event.
    #[serde(default, deserialize_with = "lenient::map")]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// From where it was done.
#[derive(Debug, Deserialize, ToSchema)]
struct Context {
    /// IP address or any other text. At most 1,024 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "203.0.113.9")]
    location: String,
    /// The client's user agent. At most 2,048 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    user_agent: String,
}

impl From<Event> for EventDraft {
    fn from(event: Event) -> Self {
        let Event { action, occurred_at, version, actor, targets, context, metadata } = event;
        let context =
            context.map(|Context { location, user_agent }| ContextDraft { location, user_agent });
        Self {
            action,
            version,
            occurred_at,
            actor: actor.map(PartyDraft::from),
            targets: targets.map(|targets| targets.into_iter().map(PartyDraft::from).collect()),
            context,
            metadata,
        }
    }
}

impl From<Party> for PartyDraft {
    fn from(Party { id, kind, name, metadata }: Party) -> Self {
        Self { id, kind, name, metadata }
    }
}

/// The event was recorded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogEventCreated)]
pub struct Created {
    /// Always true.
    success: bool,
}

/// Records an event.
///
/// When it answers, the event is durable and in its organization's Merkle tree. The same event with
/// the same `Idempotency-Key`, or twice without one, is stored once within 24 hours.
#[utoipa::path(
    post,
    path = "/audit_logs/events",
    tag = "Audit Logs",
    params(("Idempotency-Key" = Option<String>, Header, description = "Key under which a repetition is recognized")),
    request_body = CreateEvent,
    responses(
        (status = 200, body = Created),
        (status = 400, body = ErrorBody, description = "The event does not fit its schema, or the body is not JSON"),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "A field is missing or malformed"),
        (status = 429, body = ErrorBody, description = "Too many events wait to be written"),
    ),
)]
pub(super) async fn create_event(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    headers: HeaderMap,
    Sent(CreateEvent { organization_id, event }): Sent<CreateEvent>,
) -> Result<JsonBody<Created>, Refusal> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|value| header_text(value.as_bytes()));
    let new = NewEvent {
        organization_id,
        event: event.map(EventDraft::from),
        // As WorkOS does it: without a key, the content counts.
        idempotency: Idempotency::Keyed(key.unwrap_or_default()),
        receipt: false,
    };
    services.events.create(&caller, new).await?;
    Ok(JsonBody(Created { success: true }))
}

/// The text of a header: UTF-8, or else Latin-1, in which every byte is a character (RFC 9110, 5.5).
fn header_text(bytes: &[u8]) -> String {
    str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

/// Events to record.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateEvents {
    /// 1 to 1,000 events, of any organizations.
    #[serde(default, deserialize_with = "lenient::objects")]
    #[schema(required = true)]
    requests: Vec<BatchedEvent>,
    /// Whether all or none are to be stored.
    #[serde(default, deserialize_with = "lenient::boolean")]
    atomic: bool,
}

/// One event of a batch.
#[derive(Debug, Deserialize, ToSchema)]
struct BatchedEvent {
    /// The organization whose log takes the event.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA")]
    organization_id: String,
    /// What happened.
    #[serde(default, deserialize_with = "lenient::object")]
    #[schema(required = true, nullable = false)]
    event: Option<Event>,
    /// Key under which a repetition is recognized. Without one the content counts.
    #[serde(default, deserialize_with = "lenient::text")]
    idempotency_key: String,
}

/// What became of the events of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResults {
    /// One for each event, in the order of the request.
    results: Vec<BatchResult>,
}

/// What became of one event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = BatchedEventResult)]
enum BatchResult {
    /// It was recorded.
    Created(CreatedEvent),
    /// It was refused.
    Refused(RefusedEvent),
}

/// An event that was recorded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchedEventCreated)]
struct CreatedEvent {
    /// The status that the event would have got alone: 200.
    #[schema(example = 200)]
    status: u16,
    /// Id of the event.
    event_id: String,
    /// Its position in the organization's log, from 0.
    sequence: u64,
    /// Hash of its leaf in the Merkle tree, in hexadecimal digits.
    leaf_hash: String,
    /// Whether it was there already.
    duplicate: bool,
    /// When it was received.
    #[schema(format = DateTime)]
    created_at: String,
}

/// An event that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchedEventRefused)]
struct RefusedEvent {
    /// The status that the event would have got alone.
    #[schema(example = 422)]
    status: u16,
    /// Stable reason.
    code: String,
    /// A sentence.
    message: String,
    /// What is wrong with its fields. After 1 MiB of these in one answer the rest have none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Records many events.
///
/// Beyond WorkOS. Each event succeeds or fails by itself, unless `atomic` is set: then all are stored
/// in one transaction, or none and the answer is the first failure.
#[utoipa::path(
    post,
    path = "/v1/events:batch",
    tag = "Events",
    request_body = CreateEvents,
    responses(
        (status = 200, body = BatchResults),
        (status = 400, body = ErrorBody, description = "With `atomic`, an event does not fit its schema; or the body is not JSON"),
        (status = 422, body = ErrorBody, description = "The batch is empty or too large; with `atomic`, a field is missing or malformed"),
        (status = 429, body = ErrorBody, description = "Too many events wait to be written"),
    ),
)]
pub(super) async fn create_events(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Sent(CreateEvents { requests, atomic }): Sent<CreateEvents>,
) -> Result<JsonBody<BatchResults>, Refusal> {
    let batch = requests.into_iter().map(|request| NewEvent {
        organization_id: request.organization_id,
        event: request.event.map(EventDraft::from),
        idempotency: Idempotency::Keyed(request.idempotency_key),
        receipt: false,
    });
    let results = services.events.create_batch(&caller, batch.collect(), atomic).await?;
    let mut failures = ItemFailures::default();
    let results = results.into_iter().map(|result| match result {
        Ok(recorded) => BatchResult::Created(created(&recorded)),
        Err(error) => {
            let (status, ErrorBody { code, message, errors }) = failures.of(&error);
            BatchResult::Refused(RefusedEvent { status: status.as_u16(), code, message, errors })
        }
    });
    Ok(JsonBody(BatchResults { results: results.collect() }))
}

fn created(Recorded { appended, .. }: &Recorded) -> CreatedEvent {
    CreatedEvent {
        status: StatusCode::OK.as_u16(),
        event_id: appended.event_id.to_string(),
        sequence: appended.sequence,
        leaf_hash: hex::encode(appended.leaf_hash),
        duplicate: appended.duplicate,
        created_at: millis(appended.created_at),
    }
}
