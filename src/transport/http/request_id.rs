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

/// Gives the answers of these routes an id.
pub async fn assign(request: Request, next: Next) -> Response {
    with_id(next.run(request).await)
}

/// The answer with a random UUID (RFC 9562, version 4).
pub fn with_id(mut response: Response) -> Response {
    let id = Builder::from_random_bytes(rand::random()).into_uuid();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
