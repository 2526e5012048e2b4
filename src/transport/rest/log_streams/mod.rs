//! Log streams. Beyond WorkOS, which manages them in its dashboard.

pub mod actions;
pub mod bodies;
pub mod dead_letters;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use self::{
    actions::act,
    bodies::{LogStreamBody, LogStreamStatus},
    dead_letters::{list_dead_letters, redrive_dead_letters},
};
use super::{
    Api, KnownCaller,
    body::Sent,
    lenient,
    list::List,
    log_stream_config::Configured,
    query::{PageParameters, Query},
};
use crate::{
    domain::{
        event_draft::TimeDraft,
        log_stream::PayloadDraft,
        violation::{Reason, Violation},
    },
    service::{
        Services,
        error::Error,
        log_streams::{LogStreamChanges, NewLogStream},
        watch::WatchStart,
    },
    transport::http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
};

/// The routes of this file.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/log_streams", get(list_log_streams).post(create_log_stream))
        .route(
            "/v1/log_streams/{id}",
            get(get_log_stream).put(update_log_stream).delete(delete_log_stream).post(act),
        )
        .route("/v1/log_streams/{id}/status", get(get_log_stream_status))
        .route("/v1/log_streams/{id}/dead_letters", get(list_dead_letters))
        .route("/v1/log_streams/{id}/dead_letters:redrive", post(redrive_dead_letters))
        // Some clients encode the colon.
        .route("/v1/log_streams/{id}/dead_letters%3Aredrive", post(redrive_dead_letters))
}

/// A log stream to create.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateLogStream {
    /// Whose log it forwards.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA")]
    organization_id: String,
    /// What people call it. At most 255 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    name: String,
    /// `AzureSentinel`, `Datadog`, `GenericHttps`, `GoogleCloudStorage`, `S3`, `Snowflake`, `Splunk`,
    /// `Syslog`, `Otlp` or `Kafka`.
    #[serde(default, rename = "type", deserialize_with = "lenient::text")]
    #[schema(required = true, example = "Datadog")]
    kind: String,
    /// The destination: the members of its message in the gRPC contract, `headers` as an object.
    #[serde(default, deserialize_with = "lenient::map")]
    #[schema(required = true, value_type = Object)]
    config: Map<String, Value>,
    /// Authorities that the destination's certificate may also be signed by, in PEM.
    #[serde(default, deserialize_with = "lenient::text")]
    ca_certificates_pem: String,
    /// `workos` (default) or `ocsf`.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(example = "workos")]
    payload: String,
    /// The sequence of the first event; otherwise it begins with what is recorded from now on.
    #[serde(default, deserialize_with = "lenient::present_integer")]
    from_sequence: Option<i64>,
    /// When the first event was received; not together with `from_sequence`.
    #[serde(default, deserialize_with = "lenient::time")]
    #[schema(value_type = String, format = DateTime)]
    from_time: TimeDraft,
    /// Whether it is created inactive.
    #[serde(default, deserialize_with = "lenient::boolean")]
    paused: bool,
}

/// What is to be changed of a log stream; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct UpdateLogStream {
    /// What people call it.
    name: Option<String>,
    /// The destination, all of it; secrets that are absent or empty stay what they were, as in the gRPC
    /// contract.
    #[serde(default, deserialize_with = "lenient::present_map")]
    #[schema(value_type = Object)]
    config: Option<Map<String, Value>>,
    /// Goes with `config`, which is required with it; absent means none.
    #[serde(default, deserialize_with = "lenient::text")]
    ca_certificates_pem: String,
    /// `workos` or `ocsf`.
    #[serde(default, deserialize_with = "lenient::text")]
    payload: String,
}

/// Where to begin; `None` if that is not said.
fn start(sequence: Option<i64>, time: TimeDraft) -> Result<Option<WatchStart>, Error> {
    let refused = |reason, why| Err(vec![Violation::new("from_sequence", reason, why)].into());
    match (sequence, time) {
        (None, TimeDraft::Absent) => Ok(None),
        (None, time) => Ok(Some(WatchStart::Time(time))),
        (Some(sequence), TimeDraft::Absent) => match u64::try_from(sequence) {
            Ok(sequence) => Ok(Some(WatchStart::Sequence(sequence))),
            Err(_) => refused(Reason::OutOfRange, "from_sequence must be at least 0"),
        },
        (Some(_), _) => {
            refused(Reason::Conflict, "from_sequence and from_time must not be used together")
        }
    }
}

/// Creates a log stream.
#[utoipa::path(
    post,
    path = "/v1/log_streams",
    tag = "Log Streams",
    request_body = CreateLogStream,
    responses(
        (status = 201, body = LogStreamBody),
        (status = 400, body = ErrorBody, description = "The body is not JSON"),
        (status = 403, body = ErrorBody, description = "The service has no key for secrets, or the organization has its five streams"),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "A field is missing or malformed"),
    ),
)]
async fn create_log_stream(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Sent(sent): Sent<CreateLogStream>,
) -> Result<(StatusCode, JsonBody<LogStreamBody>), Refusal> {
    let configured = Configured::read(&sent.kind, sent.config, sent.ca_certificates_pem)?;
    let new = NewLogStream {
        organization_id: sent.organization_id,
        name: sent.name,
        payload: PayloadDraft::from_name(&sent.payload),
        start: start(sent.from_sequence, sent.from_time)?.unwrap_or_default(),
        paused: sent.paused,
        destination: Some(configured.draft),
    };
    let created = services.log_streams.create(&caller, new).await;
    let created = created.map_err(|error| error.with_renamed(&configured.prefix, "config."))?;
    Ok((StatusCode::CREATED, JsonBody(created.into())))
}

/// Lists the log streams of the environment, or of one organization (`organization_id`).
#[utoipa::path(
    get,
    path = "/v1/log_streams",
    tag = "Log Streams",
    params(
        ("organization_id" = Option<String>, Query, description = "Only those of this organization"),
        PageParameters,
    ),
    responses(
        (status = 200, body = List<LogStreamBody>),
        (status = 404, body = ErrorBody, description = "Unknown organization or cursor"),
        (status = 422, body = ErrorBody, description = "A parameter is malformed"),
    ),
)]
async fn list_log_streams(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    query: Query,
) -> Result<JsonBody<List<LogStreamBody>>, Refusal> {
    let organization = query.text("organization_id");
    let page = services.log_streams.list(&caller, &organization, query.page()).await?;
    Ok(JsonBody(List::new(page, |item| item.id.to_string(), LogStreamBody::from)))
}

/// Returns one log stream.
#[utoipa::path(
    get,
    path = "/v1/log_streams/{id}",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    responses(
        (status = 200, body = LogStreamBody),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
    ),
)]
async fn get_log_stream(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<JsonBody<LogStreamBody>, Refusal> {
    Ok(JsonBody(services.log_streams.get(&caller, &id).await?.into()))
}

/// Changes a log stream. Its kind stays.
#[utoipa::path(
    put,
    path = "/v1/log_streams/{id}",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    request_body = UpdateLogStream,
    responses(
        (status = 200, body = LogStreamBody),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
        (status = 422, body = ErrorBody, description = "A field is malformed"),
    ),
)]
async fn update_log_stream(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
    Sent(sent): Sent<UpdateLogStream>,
) -> Result<JsonBody<LogStreamBody>, Refusal> {
    let configured = match sent.config {
        None if !sent.ca_certificates_pem.is_empty() => {
            let why = "config is required with ca_certificates_pem";
            return Err(Error::from(vec![Violation::new("config", Reason::Required, why)]).into());
        }
        None => None,
        Some(config) => {
            let kind = services.log_streams.get(&caller, &id).await?.destination.kind();
            Some(Configured::read(kind, config, sent.ca_certificates_pem)?)
        }
    };
    let prefix = configured.as_ref().map(|configured| configured.prefix.clone());
    let destination = configured.map(|configured| configured.draft);
    let changes = LogStreamChanges {
        name: sent.name,
        destination,
        payload: PayloadDraft::from_name(&sent.payload),
    };
    let updated = services.log_streams.update(&caller, &id, changes).await.map_err(|error| {
        error.with_renamed(prefix.as_deref().unwrap_or("destination."), "config.")
    })?;
    Ok(JsonBody(updated.into()))
}

/// Deletes a log stream and its dead letters.
#[utoipa::path(
    delete,
    path = "/v1/log_streams/{id}",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
    ),
)]
async fn delete_log_stream(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Refusal> {
    services.log_streams.delete(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns how a log stream is doing.
#[utoipa::path(
    get,
    path = "/v1/log_streams/{id}/status",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    responses(
        (status = 200, body = LogStreamStatus),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
    ),
)]
async fn get_log_stream_status(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<JsonBody<LogStreamStatus>, Refusal> {
    Ok(JsonBody(services.log_streams.status(&caller, &id).await?.into()))
}
