//! Export files and their manifests: `GET /v1/exports/download/{export id}?expires=...&signature=...`
//! and the same with `{export id}.manifest.json`, with Range.

use std::{io::SeekFrom, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt};
use http_range_header::{EndPosition, StartPosition, parse_range_header};
use object_store::GetResult;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::path::Segments;
use crate::{
    domain::{caller::Origin, export::Export},
    export::files::{ByteRange, Part},
    service::{error::Error, exports::Exports},
};

/// Bytes of a local file that are read and sent at once.
const PIECE: usize = 256 * 1_024;

/// Serves the file that a signed link names. A link is its own credential.
pub async fn download(
    State(exports): State<Exports>,
    Extension(origin): Extension<Arc<Origin>>,
    Segments(id): Segments<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some((expires, signature)) = link_parts(query.as_deref().unwrap_or_default()) else {
        return Error::LinkRefused.into_response();
    };
    let range = wanted_range(&headers);
    let (id, part) = match id.strip_suffix(Part::Manifest.suffix()) {
        Some(id) => (id, Part::Manifest),
        None => (&*id, Part::File),
    };
    match exports.open(id, part, expires, signature, range.clone()).await {
        Ok((export, file)) => {
            exports.downloaded(&export, part, &origin).await;
            file_response(&export, part, file, range.is_some())
        }
        Err(Error::Files(error)) if range.is_some() && !is_missing(&error) => {
            // The range may begin behind the end: then the whole file can still be opened.
            match exports.open(id, part, expires, signature, None).await {
                Ok((_, file)) => not_satisfiable(file.meta.size),
                Err(error) => error.into_response(),
            }
        }
        Err(error) => error.into_response(),
    }
}

fn link_parts(query: &str) -> Option<(i64, &str)> {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    Some((value("expires")?.parse().ok()?, value("signature")?))
}

/// The wanted part, if exactly one was asked for; a server may answer several, or a malformed
/// header, with the whole (RFC 9110, section 14.2).
fn wanted_range(headers: &HeaderMap) -> Option<ByteRange> {
    let header = headers.get(header::RANGE)?.to_str().ok()?;
    let parsed = parse_range_header(header).ok()?;
    let [range] = parsed.ranges.as_slice() else { return None };
    match (range.start, range.end) {
        (StartPosition::Index(first), EndPosition::LastByte) => Some(ByteRange::From(first)),
        (StartPosition::Index(first), EndPosition::Index(last)) => {
            (first <= last).then(|| ByteRange::Within(first..last.saturating_add(1)))
        }
        (StartPosition::FromLast(count), _) => Some(ByteRange::Last(count)),
    }
}

/// The bytes in pieces that are worth a system call each.
fn stream(file: GetResult) -> impl Stream<Item = std::io::Result<Bytes>> {
    use object_store::GetResultPayload;
    let length = file.range.end - file.range.start;
    let start = file.range.start;
    match file.payload {
        GetResultPayload::File(file, _) => {
            let mut file = tokio::fs::File::from_std(file);
            file.set_max_buf_size(PIECE);
            let from_start = async move {
                file.seek(SeekFrom::Start(start)).await?;
                Ok::<_, std::io::Error>(ReaderStream::with_capacity(file.take(length), PIECE))
            };
            from_start.try_flatten_stream().left_stream()
        }
        GetResultPayload::Stream(stream) => stream.map_err(Into::into).right_stream(),
    }
}

fn is_missing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
}

fn not_satisfiable(size: u64) -> Response {
    let unsatisfied = format!("bytes */{size}");
    (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, unsatisfied)]).into_response()
}

fn file_response(export: &Export, part: Part, file: GetResult, partial: bool) -> Response {
    let (size, range) = (file.meta.size, file.range.clone());
    let length = range.end - range.start;
    let mut response = Body::from_stream(stream(file)).into_response();
    let headers = response.headers_mut();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, part.content_type(export).to_owned());
    let name = part.file_name(export);
    set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    set(header::CONTENT_LENGTH, length.to_string());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CACHE_CONTROL, "private, no-store".to_owned());
    // A browser must take the file for what it says it is.
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    if partial {
        let content_range = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        set(header::CONTENT_RANGE, content_range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}
