//! Requests that are no message of the contract, or too large to be read. The gRPC library calls the first
//! INTERNAL; they are the caller's fault, and are told as such, with details, as all refusals are.

use axum::{extract::Request, middleware::Next, response::Response};
use tonic::{Code, Status};

use crate::{
    domain::violation::{Reason, Violation},
    service::error::Error,
};

/// How the library's complaints begin.
const COMPLAINTS: [&str; 3] =
    ["failed to decode Protobuf message", "Missing request message", "tonic-web: "];

/// How the library's complaint about a message that is too large begins; it goes on with both sizes.
const TOO_LARGE: &str = "Error, decoded message length too large: ";

/// Puts what the service says in the place of what the library says of a request that it could not decode.
pub async fn refuse(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = Status::from_header_map(response.headers());
    match status.as_ref().and_then(refusal) {
        None => response,
        Some(error) => Status::from(error).into_http(),
    }
}

/// What to tell the caller, if the library's complaint is about a message that it did not decode.
pub fn refusal(status: &Status) -> Option<Error> {
    if status.code() == Code::OutOfRange
        && let Some(sizes) = status.message().strip_prefix(TOO_LARGE)
    {
        return Some(Error::MessageTooLarge(format!("the message is too large: {sizes}")));
    }
    let is_one = status.code() == Code::Internal
        && COMPLAINTS.iter().any(|complaint| status.message().starts_with(complaint));
    let violation =
        || Violation::new("request", Reason::InvalidType, "must be a message of the contract");
    is_one.then(|| Error::InvalidRequest(vec![violation()]))
}
