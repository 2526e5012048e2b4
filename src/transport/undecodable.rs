//! Requests that are no message of the contract. The gRPC library calls them INTERNAL; they are the
//! caller's fault, and are told as such.

use axum::{extract::Request, middleware::Next, response::Response};
use tonic::{Code, Status};

use crate::{
    domain::violation::{Reason, Violation},
    service::error::Error,
};

/// How the library's complaints begin.
const COMPLAINTS: [&str; 2] = ["failed to decode Protobuf message", "Missing request message"];

/// Turns the library's INTERNAL into INVALID_ARGUMENT where a request could not be decoded.
pub async fn refuse(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = Status::from_header_map(response.headers());
    match status.as_ref().and_then(refusal) {
        None => response,
        Some(error) => Status::from(error).into_http(),
    }
}

/// What to tell the caller, if the library's complaint is about a message that cannot be decoded.
pub fn refusal(status: &Status) -> Option<Error> {
    let is_one = status.code() == Code::Internal
        && COMPLAINTS.iter().any(|complaint| status.message().starts_with(complaint));
    let violation =
        || Violation::new("request", Reason::InvalidType, "must be a message of the contract");
    is_one.then(|| Error::InvalidRequest(vec![violation()]))
}
