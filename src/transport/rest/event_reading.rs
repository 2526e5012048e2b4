//! Reading events back, which WorkOS has no API for: `GET /v1/events` and `GET /v1/events/{id}`.

use axum::{Extension, extract::State};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    KnownCaller,
    list::List,
    query::{PageParameters, Query},
    time::millis,
};
use crate::{
    domain::{
        event::{Context, EventRecord, Party},
        filter::{EventFilter, EventQueryDraft},
        page::event_cursor,
        violation::Violations,
    },
    service::{Services, error::Error},
    transport::http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
};

/// An event, as it was recorded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogEvent)]
pub struct EventView {
    /// Always `audit_log_event`.
    #[schema(example = "audit_log_event")]
    object: &'static str,
    /// Id of the event.
    #[schema(example = "audit_event_01JSB3C4D5E6F7G8H9J0K1M2N3")]
    id: String,
    /// The organization whose log holds it.
    organization_id: String,
    /// Its position in that log, from 0.
    sequence: u64,
    /// Name of the action.
    action: String,
    /// Version of the action's schema.
    version: u32,
    /// When it happened.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// When it was received.
    #[schema(format = DateTime)]
    created_at: String,
    /// Who did it.
    actor: PartyView,
    /// What it was done to.
    targets: Vec<PartyView>,
    /// From where it was done.
    context: ContextView,
    /// Further facts.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Hash of its leaf in the Merkle tree, in hexadecimal digits.
    leaf_hash: String,
}

/// Who did it, or what it was done to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogEventParty)]
struct PartyView {
    /// Id in your system.
    id: String,
    /// Kind.
    #[serde(rename = "type")]
    kind: String,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    /// Further facts.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// From where it was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogEventContext)]
struct ContextView {
    /// IP address or any other text.
    location: String,
    /// The client's user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_agent: Option<String>,
}

impl From<EventRecord> for EventView {
    fn from(EventRecord { sequence, logged, leaf_hash }: EventRecord) -> Self {
        let event = logged.event;
        let Context { location, user_agent } = event.context;
        Self {
            object: "audit_log_event",
            id: logged.id.to_string(),
            organization_id: logged.organization_id.to_string(),
            sequence,
            action: event.action,
            version: event.version,
            occurred_at: millis(event.occurred_at),
            created_at: millis(logged.created_at),
            actor: event.actor.into(),
            targets: event.targets.into_iter().map(PartyView::from).collect(),
            context: ContextView { location, user_agent },
            metadata: event.metadata,
            leaf_hash: hex::encode(leaf_hash),
        }
    }
}

impl From<Party> for PartyView {
    fn from(Party { id, name, kind, metadata }: Party) -> Self {
        Self { id, kind, name, metadata }
    }
}

/// Lists events of one organization.
///
/// Beyond WorkOS. All filters that are given must match; within one, any of its values may.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "Events",
    params(
        ("organization_id" = String, Query, description = "Whose log"),
        ("actions" = Option<Vec<String>>, Query, description = "Names of actions; at most 100 values, as for every filter"),
        ("actor_ids" = Option<Vec<String>>, Query, description = "Ids of actors"),
        ("actor_names" = Option<Vec<String>>, Query, description = "Names of actors, exactly"),
        ("target_types" = Option<Vec<String>>, Query, description = "Types of targets"),
        ("target_ids" = Option<Vec<String>>, Query, description = "Ids of targets"),
        ("range_start" = Option<String>, Query, description = "Earliest `occurred_at`, inclusive"),
        ("range_end" = Option<String>, Query, description = "Latest `occurred_at`, inclusive"),
        ("sequence_start" = Option<u64>, Query, description = "Lowest sequence, inclusive"),
        ("sequence_end" = Option<u64>, Query, description = "Highest sequence, inclusive"),
        PageParameters,
    ),
    responses(
        (status = 200, body = List<EventView>),
        (status = 404, body = ErrorBody, description = "Unknown organization or cursor"),
        (status = 422, body = ErrorBody, description = "A parameter is missing or malformed"),
    ),
)]
pub(super) async fn list_events(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    query: Query,
) -> Result<JsonBody<List<EventView>>, Refusal> {
    let mut violations = Violations::default();
    let wanted = EventQueryDraft {
        filter: EventFilter {
            actions: query.texts("actions"),
            actor_ids: query.texts("actor_ids"),
            actor_names: query.texts("actor_names"),
            target_types: query.texts("target_types"),
            target_ids: query.texts("target_ids"),
        },
        range_start: query.time("range_start"),
        range_end: query.time("range_end"),
        sequence_start: query.number("sequence_start", &mut violations),
        sequence_end: query.number("sequence_end", &mut violations),
        page: query.page(),
    };
    violations.into_result(()).map_err(Error::from)?;
    let page = services.events.list(&caller, &query.text("organization_id"), wanted).await?;
    let cursor =
        |record: &EventRecord| event_cursor(&record.logged.organization_id, record.sequence);
    Ok(JsonBody(List::new(page, cursor, EventView::from)))
}

/// Returns one event.
///
/// Beyond WorkOS.
#[utoipa::path(
    get,
    path = "/v1/events/{event_id}",
    tag = "Events",
    params(
        ("event_id" = String, Path, description = "Id of the event"),
        ("organization_id" = String, Query, description = "Whose log"),
    ),
    responses(
        (status = 200, body = EventView),
        (status = 404, body = ErrorBody, description = "Unknown organization or event"),
        (status = 422, body = ErrorBody, description = "A parameter is missing or malformed"),
    ),
)]
pub(super) async fn get_event(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
    query: Query,
) -> Result<JsonBody<EventView>, Refusal> {
    let record = services.events.get(&caller, &query.text("organization_id"), &id).await?;
    Ok(JsonBody(record.into()))
}
