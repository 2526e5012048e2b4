//! Logs for standard tools: C2SP tlog-tiles below `/tlog/{organization id}/`, behind the same keys as
//! the RPCs.

use axum::{
    Extension,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::path::Segments;
use crate::{
    domain::caller::Caller,
    service::{error::Error, transparency::Transparency},
};

/// The hashes of a tile never change. They are one tenant's, so no shared cache may keep them. Entries
/// are events, which may be erased one day: no cache keeps those.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// The signed head of a log.
pub async fn checkpoint(
    State(transparency): State<Transparency>,
    Extension(caller): Extension<Caller>,
    Segments(organization): Segments<String>,
) -> Result<Response, Error> {
    let head = transparency.checkpoint(&caller, &organization).await?;
    Ok(content("text/plain; charset=utf-8", "no-store", head.checkpoint))
}

/// A tile or an entry bundle.
pub async fn tile(
    State(transparency): State<Transparency>,
    Extension(caller): Extension<Caller>,
    Segments((organization, path)): Segments<(String, String)>,
) -> Result<Response, Error> {
    let bytes = transparency.tile(&caller, &organization, &path).await?;
    let caching = if path.starts_with("entries/") { "no-store" } else { FOR_EVER };
    Ok(content("application/octet-stream", caching, bytes))
}

fn content(kind: &'static str, caching: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
