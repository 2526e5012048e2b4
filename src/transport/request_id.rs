//! `x-request-id`: an id for every request and its answer, over gRPC and HTTP, by which a caller, a proxy
//! and this service speak of the same one. SDKs show it in their errors.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Builder;

/// The header. Old PHP SDKs look for it in lower case.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a request, in bytes.
const LONGEST: usize = 128;

/// The id of a request, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// What the sender calls the request, if that is 1 to 128 visible ASCII characters; else a random
    /// UUID (RFC 9562, version 4).
    fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(REQUEST_ID).filter(|value| is_usable(value.as_bytes()));
        Self(sent.cloned().unwrap_or_else(random))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives a request and its answer their id.
pub async fn assign(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id.0);
    response
}

fn is_usable(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn random() -> HeaderValue {
    let id = Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
}
