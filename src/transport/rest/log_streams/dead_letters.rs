//! Events that destinations can never take.

use axum::{Extension, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{log_stream::DeadLetter, violation::Violations},
    service::{Services, error::Error},
    transport::{
        http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
        rest::{KnownCaller, body::Sent, query::Query, time::millis},
    },
};

/// Which dead letters are sent again.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Redrive {
    /// Only those of these sequences; absent or empty means all.
    #[serde(default)]
    sequences: Vec<u64>,
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetters {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The dead letters, in the order of the log.
    data: Vec<DeadLetterBody>,
    /// To be sent as `after` for the next page; null at the end.
    #[schema(required = true)]
    next_after: Option<u64>,
}

/// An event that the destination can never take.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct DeadLetterBody {
    /// Position in the log.
    sequence: u64,
    /// Id of the event.
    event_id: String,
    /// Why it was not taken.
    reason: String,
    /// When it was given up.
    #[schema(format = DateTime)]
    created_at: String,
    /// How often it was sent again, in vain.
    redrives: u32,
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { sequence, event_id, reason, created_at, redrives } = letter;
        Self { sequence, event_id, reason, created_at: millis(created_at), redrives }
    }
}

/// How many dead letters will be sent again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Redriven {
    /// How many.
    count: u64,
}

/// Lists the events that the destination could never take.
#[utoipa::path(
    get,
    path = "/v1/log_streams/{id}/dead_letters",
    tag = "Log Streams",
    params(
        ("id" = String, Path, description = "Id of the log stream"),
        ("limit" = Option<u32>, Query, description = "How many: 1 to 100; 10 unless given"),
        ("after" = Option<u64>, Query, description = "Only those after this sequence"),
    ),
    responses(
        (status = 200, body = DeadLetters),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
        (status = 422, body = ErrorBody, description = "A parameter is malformed"),
    ),
)]
pub(in crate::transport::rest) async fn list_dead_letters(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
    query: Query,
) -> Result<JsonBody<DeadLetters>, Refusal> {
    let mut violations = Violations::default();
    let after = query.number("after", &mut violations);
    violations.into_result(()).map_err(Error::from)?;
    let limit = query.page().limit;
    let page = services.log_streams.dead_letters(&caller, &id, limit, after).await?;
    let data = page.letters.into_iter().map(DeadLetterBody::from).collect();
    Ok(JsonBody(DeadLetters { object: "list", data, next_after: page.next_after }))
}

/// Has dead letters sent again.
#[utoipa::path(
    post,
    path = "/v1/log_streams/{id}/dead_letters:redrive",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    request_body = Redrive,
    responses(
        (status = 200, body = Redriven),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
        (status = 422, body = ErrorBody, description = "A field is malformed"),
    ),
)]
pub(in crate::transport::rest) async fn redrive_dead_letters(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
    Sent(sent): Sent<Redrive>,
) -> Result<JsonBody<Redriven>, Refusal> {
    let count = services.log_streams.redrive(&caller, &id, &sent.sequences).await?;
    Ok(JsonBody(Redriven { count }))
}
