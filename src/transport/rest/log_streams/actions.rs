//! What can be done with a log stream beyond reading and changing it: a POST on its name, a colon and a
//! verb.

use axum::{
    Extension,
    extract::{FromRequest, Request, State},
    http::header,
    response::{AppendHeaders, IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    bodies::{LogStreamBody, TestBody},
    start,
};
use crate::{
    domain::{caller::Caller, event_draft::TimeDraft},
    service::{Services, log_streams::LogStreams},
    transport::{
        http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
        rest::{KnownCaller, body::Sent, lenient},
    },
};

/// From where on a log stream delivers: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Replay {
    /// From this sequence.
    #[serde(default, deserialize_with = "lenient::present_integer")]
    from_sequence: Option<i64>,
    /// From the first event that was received then or later.
    #[serde(default, deserialize_with = "lenient::time")]
    #[schema(value_type = String, format = DateTime)]
    from_time: TimeDraft,
}

/// What a name with a colon asks for: `{id}:test`, `{id}:pause`, `{id}:resume` or `{id}:replay`.
pub(in crate::transport::rest) async fn act(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(name): Segments<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let streams = &services.log_streams;
    let (id, action) = name.rsplit_once(':').unwrap_or((&name, ""));
    match action {
        "test" => Ok(test_log_stream(streams, &caller, id).await?.into_response()),
        "pause" => Ok(pause_log_stream(streams, &caller, id).await?.into_response()),
        "resume" => Ok(resume_log_stream(streams, &caller, id).await?.into_response()),
        "replay" => {
            let sent = Sent::from_request(request, &()).await?;
            Ok(replay_log_stream(streams, &caller, id, sent).await?.into_response())
        }
        // A log stream by itself takes no POST.
        "" => Ok((AppendHeaders([(header::ALLOW, "GET,PUT,DELETE")]), Refusal::WrongMethod)
            .into_response()),
        _ => Err(Refusal::UnknownPath),
    }
}

/// Sends one synthetic event, and tells what the destination answered. Changes nothing of the stream.
#[utoipa::path(
    post,
    path = "/v1/log_streams/{id}:test",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    responses(
        (status = 200, body = TestBody),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
    ),
)]
pub(in crate::transport::rest) async fn test_log_stream(
    streams: &LogStreams,
    caller: &Caller,
    id: &str,
) -> Result<JsonBody<TestBody>, Refusal> {
    Ok(JsonBody(streams.test(caller, id).await?.into()))
}

/// Makes a log stream inactive.
#[utoipa::path(
    post,
    path = "/v1/log_streams/{id}:pause",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    responses(
        (status = 200, body = LogStreamBody),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
    ),
)]
pub(in crate::transport::rest) async fn pause_log_stream(
    streams: &LogStreams,
    caller: &Caller,
    id: &str,
) -> Result<JsonBody<LogStreamBody>, Refusal> {
    Ok(JsonBody(streams.pause(caller, id).await?.into()))
}

/// Makes a log stream active: it goes on where it stopped. One that failed is tried at once.
#[utoipa::path(
    post,
    path = "/v1/log_streams/{id}:resume",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    responses(
        (status = 200, body = LogStreamBody),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
    ),
)]
pub(in crate::transport::rest) async fn resume_log_stream(
    streams: &LogStreams,
    caller: &Caller,
    id: &str,
) -> Result<JsonBody<LogStreamBody>, Refusal> {
    Ok(JsonBody(streams.resume(caller, id).await?.into()))
}

/// Moves the cursor of a log stream: it delivers from there on.
#[utoipa::path(
    post,
    path = "/v1/log_streams/{id}:replay",
    tag = "Log Streams",
    params(("id" = String, Path, description = "Id of the log stream")),
    request_body = Replay,
    responses(
        (status = 200, body = LogStreamBody),
        (status = 404, body = ErrorBody, description = "Unknown log stream"),
        (status = 422, body = ErrorBody, description = "A field is missing or malformed"),
    ),
)]
pub(in crate::transport::rest) async fn replay_log_stream(
    streams: &LogStreams,
    caller: &Caller,
    id: &str,
    Sent(sent): Sent<Replay>,
) -> Result<JsonBody<LogStreamBody>, Refusal> {
    let from = start(sent.from_sequence, sent.from_time)?;
    Ok(JsonBody(streams.replay(caller, id, from).await?.into()))
}
