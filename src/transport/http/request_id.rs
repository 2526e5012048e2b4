//! `x-request-id`: an id for every answer over HTTP, which SDKs show in their errors.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Builder;

/// The header. Old PHP SDKs look for it in lower case.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the answer a random UUID (RFC 9562, version 4).
pub async fn assign(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let id = Builder::from_random_bytes(rand::random()).into_uuid();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
