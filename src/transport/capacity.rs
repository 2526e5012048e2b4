//! How many calls there may be at a time. A call that is answered at once has a place while it is worked on:
//! from its headers to those of its answer. What may last, streams and downloads, has a place of another
//! kind until its answer has ended, so that watchers never stand in the way of calls. What clients have not
//! taken of their answers shares a room.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::{
    body::{Form, Holding, Hurried, Weighed},
    router::is_grpc,
};
use crate::service::{download::DOWNLOAD_PATH, error::Error};

/// Methods whose answers, or requests, may last. `tests/it/limits` holds the list against the contract.
pub const LASTING: [&str; 7] = [
    "/auditlogs.v1.AuditLogs/GetExport",
    "/auditlogs.v1.AuditLogs/IngestEvents",
    "/auditlogs.v1.AuditLogs/WatchEvents",
    "/auditlogs.v1.LogStreams/GetStatus",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Those of them whose requests may last too.
pub const TAKING: [&str; 3] = [LASTING[1], LASTING[5], LASTING[6]];

/// Those of them that need no key. They have a part of the places, so that strangers do not take them all.
const KEYLESS: [&str; 3] = [LASTING[4], LASTING[5], LASTING[6]];
/// One of so many places of what lasts.
const KEYLESS_PART: u32 = 16;
/// Bytes that the messages which are arriving may take together, if one alone is not larger.
const MESSAGE_ROOM: usize = 256 * 1_024 * 1_024;
/// Bytes of answers that may wait for their clients together.
const ANSWER_ROOM: usize = 512 * 1_024 * 1_024;

/// What orchestrators ask must be answered under any load, or they end what only has much to do.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/grpc.health.v1.Health/Check"];

/// The places.
pub struct Capacity {
    calls: Arc<Semaphore>,
    lasting: Arc<Semaphore>,
    keyless: Arc<Semaphore>,
    body: Duration,
    messages: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Capacity {
    /// So many places for each kind; how long the one message of a call may take to arrive, and how
    /// large it may be.
    pub fn new(calls: u32, lasting: u32, body: Duration, message_bytes: usize) -> Self {
        let places = |count: u32| {
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
        };
        let room = MESSAGE_ROOM.max(message_bytes.saturating_mul(2)).min(Semaphore::MAX_PERMITS);
        Self {
            calls: places(calls),
            lasting: places(lasting),
            keyless: places((lasting / KEYLESS_PART).max(1)),
            body,
            messages: Arc::new(Semaphore::new(room)),
            answers: Arc::new(Semaphore::new(ANSWER_ROOM)),
        }
    }
}

impl Capacity {
    fn weigh(&self, body: Body, form: Form) -> Body {
        Body::new(Weighed::new(body, form, self.answers.clone()))
    }
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    places.clone().try_acquire_owned().map_err(|_| Error::TooManyRequests)
}

/// Lets a request in if there is a place for it.
pub async fn admit(
    State(capacity): State<Arc<Capacity>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let always = ALWAYS.contains(&path);
    let holds = LASTING.contains(&path) || path.starts_with(DOWNLOAD_PATH);
    let places = match (holds, KEYLESS.contains(&path)) {
        (_, true) => &capacity.keyless,
        (true, false) => &capacity.lasting,
        (false, false) => &capacity.calls,
    };
    if always {
        return next.run(request).await;
    }
    let place = match place(places) {
        Ok(place) => place,
        Err(error) => return refuse(error, &request),
    };
    let weighs = !is_grpc(&request);
    let mut answer = next.run(request).await;
    if weighs {
        answer = answer.map(|body| capacity.weigh(body, Form::Http));
    }
    if holds { answer.map(|body| Body::new(Holding::new(body, place))) } else { answer }
}

/// Bounds how long the message of a call takes to arrive, and what messages and answers take of memory.
/// Requests over HTTP have their own time for bodies; see `rest::body`.
pub async fn bound_rpc(
    State(capacity): State<Arc<Capacity>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let hurries = !TAKING.contains(&path);
    let request = if hurries {
        let room = capacity.messages.clone();
        request.map(|body| Body::new(Hurried::new(body, capacity.body, room)))
    } else {
        request
    };
    next.run(request).await.map(|body| capacity.weigh(body, Form::Grpc))
}

/// Refuses in the language of the request.
fn refuse(error: Error, request: &Request) -> Response {
    if !is_grpc(request) {
        return error.into_response();
    }
    let mut answer = Status::from(error).into_http();
    if let Some(content_type) = request.headers().get(header::CONTENT_TYPE) {
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    }
    answer
}
