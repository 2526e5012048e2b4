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
    let undecodable = Status::from_header_map(response.headers()).is_some_and(|status| {
        status.code() == Code::Internal
            && COMPLAINTS.iter().any(|complaint| status.message().starts_with(complaint))
    });
    if !undecodable {
        return response;
    }
    let violation =
        Violation::new("request", Reason::InvalidType, "must be a message of the contract");
    Status::from(Error::InvalidRequest(vec![violation])).into_http()
}
