//! OpenTelemetry logs: OTLP/HTTP 1.x with binary protobuf, gzip, one request for each batch; [`record`]
//! says what a record holds.

mod record;

use std::collections::HashMap;

use async_trait::async_trait;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceResponse, resource::v1::Resource,
};
use prost::{Message, encoding};
use reqwest::{
    Method, Request, Url,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
};

use super::{LINGER, add_secret, sender, url_with_path};
use crate::{
    domain::{
        destination::{self, Secrets, header_secret},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        http::{HttpSender, RawAnswer, gzip_aside},
    },
};

const PATH: &str = "/v1/logs";
/// What receivers take at least: the limit of gRPC, which many have for HTTP too.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Resource, scope and the lengths of what holds the records.
const ENVELOPE_BYTES: usize = 1_024;
const BATCH_EVENTS: usize = 1_000;

/// Numbers of fields in `ExportLogsServiceRequest`, `ResourceLogs` and `ScopeLogs`.
const RESOURCE_LOGS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_LOGS: u32 = 2;
const LOG_RECORDS: u32 = 2;

/// A receiver of OTLP.
pub struct OtlpSink {
    http: HttpSender,
    url: Url,
    headers: HeaderMap,
    form: PayloadForm,
    /// The encoded `resource` of a request.
    resource: Vec<u8>,
}

impl OtlpSink {
    /// For a stream. An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &destination::Otlp,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let resource = Resource {
            attributes: vec![
                record::text("service.name", "audit-logs"),
                record::text("service.version", env!("CARGO_PKG_VERSION")),
            ],
            ..Resource::default()
        };
        let mut encoded = Vec::new();
        encoding::message::encode(RESOURCE, &resource, &mut encoded);
        Ok(Self {
            http: sender(stream, secrets, egress)?,
            url: url_with_path(&config.endpoint, PATH)?,
            headers: headers(&config.headers, secrets)?,
            form: stream.payload,
            resource: encoded,
        })
    }

    /// The request, from records that are encoded as fields of `ScopeLogs`.
    fn request(&self, batch: &[EncodedEvent]) -> Vec<u8> {
        let records: usize = batch.iter().map(|event| event.bytes.len()).sum();
        let scope_logs = length_delimited(SCOPE_LOGS, records);
        let content = self.resource.len() + scope_logs.len() + records;
        let mut request = length_delimited(RESOURCE_LOGS, content);
        request.reserve(content);
        request.extend_from_slice(&self.resource);
        request.extend_from_slice(&scope_logs);
        for event in batch {
            request.extend_from_slice(&event.bytes);
        }
        request
    }

    fn understand(&self, raw: RawAnswer) -> Result<Answer, Failure> {
        if !(200..300).contains(&raw.status) {
            let said = Status::decode(raw.body.as_slice()).map(|status| status.message);
            let body = said.map_or(raw.body, String::into_bytes);
            return self.http.tell(&RawAnswer { body, ..raw }).into_result();
        }
        let Some((rejected, message)) = partial_success(&raw.body) else {
            let failure = self.http.tell(&raw).failure(FailureKind::Invalid);
            return Err(failure.about("this is not OTLP's answer"));
        };
        let answer = self.http.tell(&RawAnswer { body: message.into_bytes(), ..raw });
        if rejected == 0 {
            return Ok(answer.accepted());
        }
        let failure = answer.failure(FailureKind::PartlyTaken);
        Err(failure.about(&format!("{rejected} records were rejected")))
    }
}

#[async_trait]
impl Sink for OtlpSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: BATCH_EVENTS,
            bytes: REQUEST_BYTES - ENVELOPE_BYTES,
            event_bytes: REQUEST_BYTES - ENVELOPE_BYTES,
            overhead: 0,
            linger: LINGER,
        }
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let record = record::record_of(self.form, event)?;
        encoding::message::encode(LOG_RECORDS, &record, out);
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], _now: Timestamp) -> Result<Answer, Failure> {
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = Some(gzip_aside(self.request(batch)).await?.into());
        self.understand(self.http.send_raw(request).await?)
    }
}

/// `google.rpc.Status`, with which OTLP tells errors.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

/// How many records were rejected and what was said, in protobuf or JSON. `None` if it is neither.
fn partial_success(body: &[u8]) -> Option<(i64, String)> {
    if let Ok(response) = ExportLogsServiceResponse::decode(body) {
        let partial = response.partial_success.unwrap_or_default();
        return Some((partial.rejected_log_records, partial.error_message));
    }
    let json: HashMap<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let Some(partial) = json.get("partialSuccess") else { return Some((0, String::new())) };
    // ProtoJSON has 64-bit integers as strings, and takes both.
    let rejected = partial.get("rejectedLogRecords");
    let rejected = rejected.and_then(|number| number.as_i64().or(number.as_str()?.parse().ok()));
    let message = partial.get("errorMessage").and_then(|message| message.as_str());
    Some((rejected.unwrap_or(0), message.unwrap_or_default().to_owned()))
}

/// The start of a field that holds so many bytes.
fn length_delimited(field: u32, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    encoding::encode_key(field, encoding::WireType::LengthDelimited, &mut out);
    encoding::encode_varint(length as u64, &mut out);
    out
}

fn headers(names: &[String], secrets: &Secrets) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    for name in names {
        add_secret(&mut headers, name, secrets.get(&header_secret(name)))?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::payload::fixture::{canonical, example, outgoing};
    use opentelemetry_proto::tonic::collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest,
    };

    fn otlp() -> OtlpSink {
        OtlpSink {
            http: HttpSender::new(&Egress::public(), "").unwrap(),
            url: "https://collector.example.com/v1/logs".parse().unwrap(),
            headers: HeaderMap::new(),
            form: PayloadForm::WorkOs,
            resource: Vec::new(),
        }
    }

    fn encoded(event: serde_json::Value) -> EncodedEvent {
        let mut bytes = Vec::new();
        let now = Timestamp::from_micros(0);
        otlp().encode(&outgoing(&canonical(event)), now, &mut bytes).unwrap();
        EncodedEvent { sequence: 7, event_id: String::new(), created_at: now, bytes }
    }

    fn sent(events: &[EncodedEvent]) -> Vec<record::LogRecord> {
        let request = otlp().request(events);
        let mut request = ExportLogsServiceRequest::decode(request.as_slice()).unwrap();
        assert_eq!(request.resource_logs.len(), 1);
        let mut scopes = request.resource_logs.remove(0).scope_logs;
        assert!(scopes.len() == 1 && scopes[0].scope.is_none());
        scopes.remove(0).log_records
    }

    #[test]
    fn a_request_holds_each_event_once() {
        let events = vec![encoded(example()); 300];
        assert_eq!(sent(&events).len(), 300);
        let room: usize = events.iter().map(|event| event.bytes.len()).sum();
        assert!(otlp().request(&events).len() < room + ENVELOPE_BYTES);
    }

    fn understood(status: u16, body: Vec<u8>) -> Result<Answer, Failure> {
        otlp().understand(RawAnswer { status, retry_after: None, body })
    }

    fn partial(rejected: i64) -> Vec<u8> {
        let partial = ExportLogsPartialSuccess {
            rejected_log_records: rejected,
            error_message: "too old".to_owned(),
        };
        ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    #[test]
    fn records_that_were_rejected_are_not_sent_again() {
        for body in [vec![], partial(0), b"{}".to_vec(), br#"{"partialSuccess":{}}"#.to_vec()] {
            assert!(understood(200, body).is_ok());
        }
        assert_eq!(understood(200, partial(0)).unwrap().text, "too old");
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"300","errorMessage":"too old"}}"#;
        for body in [partial(300), json.to_vec()] {
            let failure = understood(200, body).unwrap_err();
            assert_eq!(failure.kind, FailureKind::PartlyTaken);
            assert_eq!(failure.message, "300 records were rejected: HTTP status 200: too old");
        }
    }

    #[test]
    fn a_page_is_not_an_answer() {
        let failure = understood(200, b"<html>Sign in</html>".to_vec()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid);
    }

    #[test]
    fn an_error_is_told_in_words() {
        let status = Status { message: "slow down".to_owned() }.encode_to_vec();
        let failure = understood(429, status).unwrap_err();
        assert_eq!(failure.message, "HTTP status 429: slow down");
        assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None });
        let failure = understood(401, b"no such key".to_vec()).unwrap_err();
        assert_eq!((failure.kind, failure.http_status), (FailureKind::Invalid, Some(401)));
        assert!(failure.message.ends_with("no such key"), "{}", failure.message);
    }
}
