//! Actions and the versions of their schemas.

use axum::{Extension, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    KnownCaller,
    body::Sent,
    lenient,
    list::List,
    query::{PageParameters, Query},
    time::millis,
};
use crate::{
    domain::action_schema::{
        Action, ActionSchema, ActorDefinition, SchemaDefinition, TargetDefinition,
    },
    service::{Services, schemas::schema_cursor},
    transport::http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
};

/// What the events of an action must look like.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateSchema {
    /// The target types that must occur in every event. 1 to 50.
    #[serde(default, deserialize_with = "lenient::objects")]
    #[schema(required = true, min_items = 1)]
    targets: Vec<TargetSchema>,
    /// What the actor must look like.
    #[serde(default, deserialize_with = "lenient::object")]
    actor: Option<ActorSchema>,
    /// JSON Schema of the event's metadata.
    #[serde(default, deserialize_with = "lenient::present_map")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// A target type that must occur.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct TargetSchema {
    /// The type.
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "report")]
    kind: String,
    /// JSON Schema of its metadata.
    #[serde(
        default,
        deserialize_with = "lenient::present_map",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<Object>, nullable = false)]
    metadata: Option<Map<String, Value>>,
}

/// What the actor must look like.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct ActorSchema {
    /// JSON Schema of its metadata. Must be sent, but may be null.
    #[serde(deserialize_with = "lenient::present_map", skip_serializing_if = "Option::is_none")]
    #[schema(required = true, value_type = Option<Object>, nullable = false)]
    metadata: Option<Map<String, Value>>,
}

impl From<CreateSchema> for SchemaDefinition {
    fn from(CreateSchema { targets, actor, metadata }: CreateSchema) -> Self {
        let targets = targets.into_iter().map(|TargetSchema { kind, metadata }| TargetDefinition {
            kind,
            metadata: metadata.and_then(demands),
        });
        // An actor of which nothing is asked is as good as none.
        let actor = actor.and_then(|actor| actor.metadata).and_then(demands);
        Self {
            targets: targets.collect(),
            actor: actor.map(|metadata| ActorDefinition { metadata: Some(metadata) }),
            metadata: metadata.and_then(demands),
        }
    }
}

/// A schema that is more than an empty map, which asks nothing.
fn demands(schema: Map<String, Value>) -> Option<Map<String, Value>> {
    (!schema.is_empty()).then(|| with_maps(schema))
}

/// The same schema with `{}` where PHP wrote `[]`.
fn with_maps(mut schema: Map<String, Value>) -> Map<String, Value> {
    let Some(properties) = schema.get_mut("properties") else { return schema };
    if properties.as_array().is_some_and(Vec::is_empty) {
        *properties = Value::Object(Map::new());
    }
    if let Value::Object(properties) = properties {
        for property in properties.values_mut() {
            if let Value::Object(inner) = property {
                *inner = with_maps(std::mem::take(inner));
            }
        }
    }
    schema
}

/// One version of an action's schema.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogSchema)]
pub struct SchemaView {
    /// Always `audit_log_schema`.
    #[schema(example = "audit_log_schema")]
    object: &'static str,
    /// Version, from 1.
    version: u32,
    /// What the actor must look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    actor: Option<ActorSchema>,
    /// The target types that must occur.
    targets: Vec<TargetSchema>,
    /// JSON Schema of the event's metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    metadata: Option<Map<String, Value>>,
    /// When the version was created.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<ActionSchema> for SchemaView {
    fn from(ActionSchema { version, definition, created_at }: ActionSchema) -> Self {
        let targets = definition.targets.into_iter();
        let actor = definition.actor.and_then(|actor| actor.metadata);
        Self {
            object: "audit_log_schema",
            version,
            actor: actor.map(|metadata| ActorSchema { metadata: Some(metadata) }),
            targets: targets
                .map(|TargetDefinition { kind, metadata }| TargetSchema { kind, metadata })
                .collect(),
            metadata: definition.metadata,
            created_at: millis(created_at),
        }
    }
}

/// An action.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogAction)]
pub struct ActionView {
    /// Always `audit_log_action`.
    #[schema(example = "audit_log_action")]
    object: &'static str,
    /// Name.
    #[schema(example = "report.downloaded")]
    name: String,
    /// Newest version of its schema.
    schema: SchemaView,
    /// When the action was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When the newest version was created.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<Action> for ActionView {
    fn from(Action { name, schema, created_at }: Action) -> Self {
        Self {
            object: "audit_log_action",
            name,
            created_at: millis(created_at),
            updated_at: millis(schema.created_at),
            schema: schema.into(),
        }
    }
}

/// Creates a version of an action's schema, and the action if there is none.
///
/// A schema that is equal to the newest version makes no version: the newest is returned.
#[utoipa::path(
    post,
    path = "/audit_logs/actions/{action_name}/schemas",
    tag = "Audit Logs",
    params(("action_name" = String, Path, description = "Name of the action, percent-encoded")),
    request_body = CreateSchema,
    responses(
        (status = 201, body = SchemaView),
        (status = 400, body = ErrorBody, description = "The body is not JSON"),
        (status = 422, body = ErrorBody, description = "A field is missing or malformed, or a keyword is not supported"),
    ),
)]
pub(super) async fn create_schema(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(action): Segments<String>,
    Sent(sent): Sent<CreateSchema>,
) -> Result<(StatusCode, JsonBody<SchemaView>), Refusal> {
    let (schema, _) = services.schemas.create(&caller, &action, sent.into()).await?;
    Ok((StatusCode::CREATED, JsonBody(schema.into())))
}

/// Lists the versions of an action's schema.
#[utoipa::path(
    get,
    path = "/audit_logs/actions/{action_name}/schemas",
    tag = "Audit Logs",
    params(
        ("action_name" = String, Path, description = "Name of the action, percent-encoded"),
        PageParameters,
    ),
    responses(
        (status = 200, body = List<SchemaView>),
        (status = 404, body = ErrorBody, description = "Unknown action or cursor"),
        (status = 422, body = ErrorBody, description = "A parameter is malformed"),
    ),
)]
pub(super) async fn list_schemas(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(action): Segments<String>,
    query: Query,
) -> Result<JsonBody<List<SchemaView>>, Refusal> {
    let page = services.schemas.list_schemas(&caller, &action, query.page()).await?;
    Ok(JsonBody(List::new(page, schema_cursor, SchemaView::from)))
}

/// Lists the actions of the environment.
#[utoipa::path(
    get,
    path = "/audit_logs/actions",
    tag = "Audit Logs",
    params(
        PageParameters,
    ),
    responses(
        (status = 200, body = List<ActionView>),
        (status = 404, body = ErrorBody, description = "Unknown cursor"),
        (status = 422, body = ErrorBody, description = "A parameter is malformed"),
    ),
)]
pub(super) async fn list_actions(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    query: Query,
) -> Result<JsonBody<List<ActionView>>, Refusal> {
    let page = services.schemas.list_actions(&caller, query.page()).await?;
    let cursor = |(cursor, _): &(_, Action)| ToString::to_string(cursor);
    Ok(JsonBody(List::new(page, cursor, |(_, action)| action.into())))
}
