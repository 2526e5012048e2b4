//! How long events are kept, and how an organization's audit trail is set up.

use axum::{Extension, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, KnownCaller, body::Sent, lenient, time::millis};
use crate::{
    domain::{
        log_stream::LogStream,
        organization::{AuditLogConfiguration, days_of_period},
        violation::{Reason, Violation},
    },
    service::{Services, error::Error},
    transport::http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
};

/// The routes of this file.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/organizations/{id}/audit_logs_retention", get(get_retention).put(set_retention))
        .route("/organizations/{id}/audit_log_configuration", get(get_configuration))
}

/// For how long events are kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retention {
    /// In days, counted from when an event was received; null if it was never set.
    #[schema(required = true, example = 365)]
    retention_period_in_days: Option<u32>,
}

/// Sets for how long events are kept: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SetRetention {
    /// `1_MONTH` (30 days) to `11_MONTHS`, or `1_YEAR` (365 days) to `10_YEARS`.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(example = "6_MONTHS")]
    retention_period: String,
    /// 30 to 330 in steps of 30, or 365 to 3,650 in steps of 365.
    #[serde(default, deserialize_with = "lenient::present_integer")]
    #[schema(deprecated)]
    retention_period_in_days: Option<i64>,
}

/// The days that are wanted.
fn wanted_days(sent: &SetRetention) -> Result<i32, Error> {
    const BOTH: &str = "retention_period and retention_period_in_days must not be used together";
    const NEITHER: &str = "retention_period is required";
    const UNKNOWN: &str = "retention_period must be 1_MONTH to 11_MONTHS or 1_YEAR to 10_YEARS";
    let refused = |reason, why| Err(vec![Violation::new("retention_period", reason, why)].into());
    match (&*sent.retention_period, sent.retention_period_in_days) {
        ("", None) => refused(Reason::Required, NEITHER),
        ("", Some(days)) => Ok(i32::try_from(days).unwrap_or(i32::MAX)),
        (_, Some(_)) => refused(Reason::Conflict, BOTH),
        (period, None) => match days_of_period(period) {
            Some(days) => Ok(days.cast_signed()),
            None => refused(Reason::Unknown, UNKNOWN),
        },
    }
}

/// Returns for how long an organization's events are kept.
#[utoipa::path(
    get,
    path = "/organizations/{id}/audit_logs_retention",
    tag = "Organizations",
    params(("id" = String, Path, description = "Id of the organization")),
    responses(
        (status = 200, body = Retention),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "The id is malformed"),
    ),
)]
async fn get_retention(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<JsonBody<Retention>, Refusal> {
    let days = services.organizations.retention(&caller, &id).await?;
    Ok(JsonBody(Retention { retention_period_in_days: days }))
}

/// Sets for how long an organization's events are kept.
#[utoipa::path(
    put,
    path = "/organizations/{id}/audit_logs_retention",
    tag = "Organizations",
    params(("id" = String, Path, description = "Id of the organization")),
    request_body = SetRetention,
    responses(
        (status = 200, body = Retention),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "There is no such period, or both or neither are sent"),
    ),
)]
async fn set_retention(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
    Sent(sent): Sent<SetRetention>,
) -> Result<JsonBody<Retention>, Refusal> {
    let days = services.organizations.set_retention(&caller, &id, wanted_days(&sent)?).await?;
    Ok(JsonBody(Retention { retention_period_in_days: Some(days) }))
}

/// How an organization's audit trail is set up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogConfiguration)]
pub struct Configuration {
    /// The organization.
    organization_id: String,
    /// For how many days events are kept; the service's default if it was never set.
    retention_period_in_days: u32,
    /// `active`; or `inactive` while the environment has no action.
    #[schema(example = "active")]
    state: &'static str,
    /// Its oldest log stream; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_stream: Option<StreamSummary>,
}

/// A log stream, in short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogStreamSummary)]
pub struct StreamSummary {
    /// The id.
    #[schema(example = "als_01JR7C5D2F9G8H6J4K3M1N0PQR")]
    id: String,
    /// The kind of its destination.
    #[serde(rename = "type")]
    #[schema(example = "Datadog")]
    kind: &'static str,
    /// `active`, `inactive`, `error` or `invalid`.
    state: &'static str,
    /// When the destination last took an event; null before the first.
    #[schema(required = true)]
    last_synced_at: Option<String>,
    /// When it was created.
    created_at: String,
}

impl From<LogStream> for StreamSummary {
    fn from(stream: LogStream) -> Self {
        Self {
            id: stream.id.to_string(),
            kind: stream.destination.kind(),
            state: stream.state.as_str(),
            last_synced_at: stream.progress.last_success_at.map(millis),
            created_at: millis(stream.created_at),
        }
    }
}

impl From<AuditLogConfiguration> for Configuration {
    fn from(configuration: AuditLogConfiguration) -> Self {
        Self {
            organization_id: configuration.organization_id.to_string(),
            retention_period_in_days: configuration.retention_days,
            state: if configuration.active { "active" } else { "inactive" },
            log_stream: configuration.log_stream.map(StreamSummary::from),
        }
    }
}

/// Returns how an organization's audit trail is set up.
#[utoipa::path(
    get,
    path = "/organizations/{id}/audit_log_configuration",
    tag = "Organizations",
    params(("id" = String, Path, description = "Id of the organization")),
    responses(
        (status = 200, body = Configuration),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "The id is malformed"),
    ),
)]
async fn get_configuration(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<JsonBody<Configuration>, Refusal> {
    let configuration = services.organizations.configuration(&caller, &id).await?;
    Ok(JsonBody(configuration.into()))
}
