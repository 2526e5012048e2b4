//! Reading a JSON body, whatever its content type says.

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::{
    domain::violation::{Reason, Violation},
    service::error::Error,
    transport::http::refusal::Refusal,
};

/// Most bytes of a body, in the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// How much of a body that is too large is read and thrown away: a client that still writes would not
/// see the answer if the connection were closed on it.
const THROWN_AWAY: usize = 32 * 1_024 * 1_024;

/// A JSON object that was sent.
pub struct Sent<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let limit = request.extensions().get::<BodyLimit>().map_or(0, |limit| limit.0);
        let bytes = read(request.into_body(), limit).await?;
        decode(&bytes).map(Self)
    }
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut total) = (Vec::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Refusal::Body("The body ended too early.".to_owned()))?;
        total = total.saturating_add(chunk.len());
        if total <= limit {
            bytes.extend_from_slice(&chunk);
        } else if total > THROWN_AWAY {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if total > limit { Err(Refusal::TooLarge(limit)) } else { Ok(bytes) }
}

/// Decodes a body: what is no JSON object is refused as a whole, a member of the wrong type by its
/// path.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let Some(first) = first else {
        return Err(Refusal::Body("The body is empty; send a JSON object.".to_owned()));
    };
    match serde_json::from_slice(bytes) {
        Ok(sent) if *first == b'{' => Ok(sent),
        Err(error) if error.classify() != Category::Data => {
            let (line, column) = (error.line(), error.column());
            let place = format!("The body is not JSON at line {line}, column {column}.");
            Err(Refusal::Body(place))
        }
        Err(error) if *first == b'{' => Err(misfit::<T>(bytes, &error).into()),
        _ => Err(Refusal::Body("The body must be a JSON object.".to_owned())),
    }
}

/// Says which member is of the wrong type. Reads the body once more, which notes where it is.
fn misfit<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Error {
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize::<_, T>(deserializer);
    let path = read.err().map(|error| error.path().to_string()).unwrap_or_default();
    let path = if path.is_empty() || path == "." { "body".to_owned() } else { path };
    // serde's sentence: what was found (which is not repeated), what was expected, where.
    let text = error.to_string();
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    let expected = expected.map(|text| text.split(" at line ").next().unwrap_or(text));
    let (reason, description) = match expected {
        Some(expected) => (Reason::InvalidType, format!("{path} must be {expected}")),
        None => (Reason::Duplicate, format!("{path} has a member twice")),
    };
    vec![Violation::new(path, reason, description)].into()
}
