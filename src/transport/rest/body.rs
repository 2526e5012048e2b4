//! Reading a JSON body, whatever its content type says.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::header,
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    domain::violation::{Reason, Violation},
    service::error::Error,
    transport::http::refusal::Refusal,
};

/// How bodies are read; in the extensions of a request.
#[derive(Debug, Clone)]
pub struct BodyRules {
    /// Most bytes of one body.
    limit: usize,
    /// How long its sender may take: less than the whole request, whose timeout says that something may
    /// have been written.
    patience: Duration,
    /// A permit for each byte that bodies together may take while they are read.
    room: Arc<Semaphore>,
}

/// Bytes that the bodies which are being read may take together.
const ROOM: usize = 64 * 1_024 * 1_024;
/// How much of a body that is too large is read and thrown away: a client that still writes would not
/// see the answer if the connection were closed on it.
const THROWN_AWAY: usize = 32 * 1_024 * 1_024;

impl BodyRules {
    /// Bodies of at most `limit` bytes that arrive in `patience`.
    pub fn new(limit: usize, patience: Duration) -> Self {
        Self { limit, patience, room: Arc::new(Semaphore::new(ROOM.max(limit))) }
    }

    /// Reads a body, with what it holds of the room.
    async fn read(&self, body: Body) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Refusal> {
        let read = tokio::time::timeout(self.patience, self.collect(body));
        read.await.unwrap_or(Err(Refusal::TooSlow))
    }

    async fn collect(&self, body: Body) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Refusal> {
        let mut stream = body.into_data_stream();
        let (mut bytes, mut total, mut held) = (Vec::new(), 0_usize, None);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Refusal::Body("The body ended too early.".to_owned()))?;
            total = total.saturating_add(chunk.len());
            if total > THROWN_AWAY.max(self.limit) {
                break;
            }
            if total > self.limit {
                (bytes, held) = (Vec::new(), None);
                continue;
            }
            let size = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let room = self.room.try_acquire_many(size).map_err(|_| Error::QueueFull)?;
            match &mut held {
                None => held = Some(room),
                Some(held) => held.merge(room),
            }
            bytes.extend_from_slice(&chunk);
        }
        if total > self.limit { Err(Refusal::TooLarge(self.limit)) } else { Ok((bytes, held)) }
    }
}

/// A JSON object that was sent.
pub struct Sent<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let rules = request.extensions().get::<BodyRules>().cloned();
        let rules = rules.ok_or_else(|| Error::Internal("no rules for bodies".to_owned()))?;
        let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
        // Who waits for leave to send is told before.
        if announced > rules.limit && request.headers().contains_key(header::EXPECT) {
            return Err(Refusal::TooLarge(rules.limit));
        }
        let (bytes, _room) = rules.read(request.into_body()).await?;
        decode(&bytes).map(Self)
    }
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
        Err(error) if error.classify() != Category::Data => Err(Refusal::Body(unreadable(&error))),
        Err(error) if first == '{' => Err(misfit::<T>(text, &error).into()),
        _ => Err(Refusal::Body("The body must be a JSON object.".to_owned())),
    }
}

/// Says where a body is no JSON that can be read.
fn unreadable(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    // The parser's word for it; there is no other way to tell.
    if error.to_string().starts_with("recursion limit exceeded") {
        return format!(
            "The body is nested too deeply at line {line}, column {column}: at most 127 objects and lists \
             in one another."
        );
    }
    format!(
        "The body is not JSON that can be read at line {line}, column {column}: malformed, or a number \
         beyond a double."
    )
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
    let (reason, description) = if sentence.starts_with("duplicate ") {
        (Reason::Duplicate, format!("{path} has a member twice"))
    } else {
        let expected = sentence.rsplit_once(", expected ").map(|(_, expected)| expected);
        let expected = expected.map(|text| text.split(" at line ").next().unwrap_or(text));
        let expected = match expected {
            Some("a sequence") => "a list",
            Some(expected) => expected,
            None => "what the API describes",
        };
        (Reason::InvalidType, format!("{path} must be {expected}"))
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

    fn slow_body() -> Body {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("{")]);
        Body::from_stream(first.chain(futures::stream::pending()))
    }

    #[tokio::test]
    async fn who_sends_too_slowly_is_told_so() {
        let rules = BodyRules::new(10, Duration::from_millis(1));
        let refusal = rules.read(slow_body()).await.unwrap_err().into_response();
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(refusal.headers()["connection"], "close");
        assert_eq!(rules.room.available_permits(), ROOM);
    }

    #[tokio::test]
    async fn bodies_together_find_only_so_much_room() {
        let rules = BodyRules {
            room: Arc::new(Semaphore::new(10)),
            ..BodyRules::new(8, Duration::from_secs(20))
        };
        let (_, held) = rules.read(Body::from("12345678")).await.unwrap();
        let refusal = rules.read(Body::from("123")).await.unwrap_err().into_response();
        assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refusal.headers()["retry-after"], "1");
        drop(held);
        let (bytes, held) = rules.read(Body::from("123")).await.unwrap();
        assert_eq!((&*bytes, rules.room.available_permits()), (&b"123"[..], 7));
        drop(held);
        assert_eq!(rules.room.available_permits(), 10);
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
