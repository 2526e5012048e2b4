//! Exports.

use axum::{Extension, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, KnownCaller, RestRules, body::Sent, lenient, time::millis};
use crate::{
    domain::{
        event_draft::TimeDraft,
        export::{ExportFormat, ExportState},
        filter::EventFilter,
    },
    service::exports::{ExportView, NewExport},
    transport::http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
};

/// What to export.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateExport {
    /// Whose log.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA")]
    organization_id: String,
    /// Earliest `occurred_at`, inclusive: ISO 8601, or a date alone.
    #[serde(default, deserialize_with = "lenient::time")]
    #[schema(required = true, value_type = String, format = DateTime)]
    range_start: TimeDraft,
    /// Latest `occurred_at`, inclusive: ISO 8601, or a date alone, which is its midnight.
    #[serde(default, deserialize_with = "lenient::time")]
    #[schema(required = true, value_type = String, format = DateTime)]
    range_end: TimeDraft,
    /// Names of actions. At most 100 values, as for every filter.
    #[serde(default, deserialize_with = "lenient::texts")]
    actions: Vec<String>,
    /// Names of actors, exactly.
    #[serde(default, deserialize_with = "lenient::texts")]
    actor_names: Vec<String>,
    /// Old name of `actor_names`; both together are one list.
    #[serde(default, deserialize_with = "lenient::texts")]
    #[schema(deprecated)]
    actors: Vec<String>,
    /// Ids of actors.
    #[serde(default, deserialize_with = "lenient::texts")]
    actor_ids: Vec<String>,
    /// Types of targets.
    #[serde(default, deserialize_with = "lenient::texts")]
    targets: Vec<String>,
}

impl From<CreateExport> for NewExport {
    fn from(sent: CreateExport) -> Self {
        let mut actor_names = sent.actor_names;
        actor_names.extend(sent.actors);
        Self {
            organization_id: sent.organization_id,
            range_start: sent.range_start,
            range_end: sent.range_end,
            filter: EventFilter {
                actions: sent.actions,
                actor_ids: sent.actor_ids,
                actor_names,
                target_types: sent.targets,
                target_ids: Vec::new(),
            },
            format: Some(ExportFormat::Csv),
        }
    }
}

/// An export.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogExport)]
pub struct ExportBody {
    /// Always `audit_log_export`.
    #[schema(example = "audit_log_export")]
    object: &'static str,
    /// Id.
    #[schema(example = "audit_log_export_01JSB2N8W0Q4R6T7Y9ZK3M5HPC")]
    id: String,
    /// `pending`, `ready`, `error` or `expired`.
    #[schema(example = "ready")]
    state: &'static str,
    /// Where to download the CSV file for the next 10 minutes, once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    /// When it was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl ExportBody {
    fn new(view: ExportView, rules: RestRules) -> Self {
        let ExportView { export, link, .. } = view;
        let state = match export.state {
            ExportState::Expired if rules.expired_as_error => ExportState::Error,
            state => state,
        };
        Self {
            object: "audit_log_export",
            id: export.id.to_string(),
            state: state.as_str(),
            url: link.map(|link| link.url),
            created_at: millis(export.created_at),
            updated_at: millis(export.updated_at),
        }
    }
}

/// Starts an export of what the log holds now, as CSV.
#[utoipa::path(
    post,
    path = "/audit_logs/exports",
    tag = "Audit Logs",
    request_body = CreateExport,
    responses(
        (status = 201, body = ExportBody),
        (status = 400, body = ErrorBody, description = "The range is none, or the body is not JSON"),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "A field is missing or malformed"),
    ),
)]
pub(super) async fn create_export(
    State(Api { services, rules }): State<Api>,
    Extension(caller): KnownCaller,
    Sent(sent): Sent<CreateExport>,
) -> Result<(StatusCode, JsonBody<ExportBody>), Refusal> {
    let view = services.exports.create(&caller, sent.into()).await?;
    Ok((StatusCode::CREATED, JsonBody(ExportBody::new(view, rules))))
}

/// Returns an export as it is now, with a fresh link once it is ready.
#[utoipa::path(
    get,
    path = "/audit_logs/exports/{export_id}",
    tag = "Audit Logs",
    params(("export_id" = String, Path, description = "Id of the export")),
    responses(
        (status = 200, body = ExportBody),
        (status = 404, body = ErrorBody, description = "Unknown export"),
        (status = 422, body = ErrorBody, description = "The id is malformed"),
    ),
)]
pub(super) async fn get_export(
    State(Api { services, rules }): State<Api>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<JsonBody<ExportBody>, Refusal> {
    let view = services.exports.get(&caller, &id).await?;
    Ok(JsonBody(ExportBody::new(view, rules)))
}
