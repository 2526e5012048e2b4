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
    // The parser alone would not look at texts that nobody reads.
    let Ok(text) = str::from_utf8(bytes) else {
        return Err(Refusal::Body("The body is not UTF-8.".to_owned()));
    };
    let Some(first) = text.trim_start().chars().next() else {
        return Err(Refusal::Body("The body is empty; send a JSON object.".to_owned()));
    };
    match serde_json::from_str(text) {
        Ok(sent) if first == '{' => Ok(sent),
        Err(error) if error.classify() != Category::Data => {
            let (line, column) = (error.line(), error.column());
            let place = format!("The body is not JSON at line {line}, column {column}.");
            Err(Refusal::Body(place))
        }
        Err(error) if first == '{' => Err(misfit::<T>(text, &error).into()),
        _ => Err(Refusal::Body("The body must be a JSON object.".to_owned())),
    }
}

/// Says which member is of the wrong type. Reads the body once more, which notes where it is.
fn misfit<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> Error {
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize::<_, T>(deserializer);
    let path = read.err().map(|error| error.path().to_string()).unwrap_or_default();
    let path = if path.is_empty() || path == "." { "body".to_owned() } else { path };
    // serde's sentence: what was found (which is not repeated), what was expected, where.
    let sentence = error.to_string();
    let missing = sentence.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(member) = missing {
        let path = format!("{path}.{member}");
        let description = format!("{path} is required");
        return vec![Violation::new(path, Reason::Required, description)].into();
    }
    let expected = sentence.rsplit_once(", expected ").map(|(_, expected)| expected);
    let expected = expected.map(|text| text.split(" at line ").next().unwrap_or(text));
    let (reason, description) = match expected {
        Some(expected) => (Reason::InvalidType, format!("{path} must be {expected}")),
        None => (Reason::Duplicate, format!("{path} has a member twice")),
    };
    vec![Violation::new(path, reason, description)].into()
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse};
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::transport::rest::{
        events::{CreateEvent, CreateEvents},
        exports::CreateExport,
        organizations::{CreateOrganization, UpdateOrganization},
        retention::SetRetention,
        schemas::CreateSchema,
    };

    /// Decodes as every request; what is refused must be the sender's fault.
    fn decode_all(bytes: &[u8]) {
        fn one<T: DeserializeOwned>(bytes: &[u8]) {
            if let Err(refusal) = decode::<T>(bytes) {
                let status = refusal.into_response().status();
                assert!(
                    [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&status)
                );
            }
        }
        one::<CreateEvent>(bytes);
        one::<CreateEvents>(bytes);
        one::<CreateExport>(bytes);
        one::<CreateOrganization>(bytes);
        one::<UpdateOrganization>(bytes);
        one::<SetRetention>(bytes);
        one::<CreateSchema>(bytes);
    }

    /// Any JSON, with the names that requests have.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            Just(json!("2026-11-02T08:15:30.250Z")),
        ];
        let name = prop::sample::select(vec![
            "organization_id",
            "event",
            "action",
            "occurred_at",
            "version",
            "actor",
            "targets",
            "id",
            "type",
            "name",
            "metadata",
            "context",
            "location",
            "requests",
            "range_start",
            "actions",
            "retention_period",
            "retention_period_in_days",
            "domain_data",
            "properties",
            "x",
        ]);
        leaf.prop_recursive(5, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn bytes_never_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode_all(&bytes);
        }

        #[test]
        fn json_never_does_harm(json in any_json(), cut: prop::sample::Index, flip: u8) {
            let mut bytes = json.to_string().into_bytes();
            decode_all(&bytes);
            let at = cut.index(bytes.len());
            bytes[at] ^= flip;
            decode_all(&bytes);
            decode_all(&bytes[..at]);
        }
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named_without_its_value() {
        let sent = br#"{"event": {"targets": [{"id": "a"}, {"id": {"secret": 1}}]}}"#;
        let Err(Refusal::Service(error)) = decode::<CreateEvent>(sent) else { panic!("taken") };
        let violation = &error.violations()[0];
        assert_eq!(violation.field, "event.targets[1].id");
        assert_eq!(violation.description, "event.targets[1].id must be a string");
    }
}
