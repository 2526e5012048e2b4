//! Microsoft Sentinel through the Logs Ingestion API of Azure Monitor (learn.microsoft.com, "Logs
//! Ingestion API", "Azure Monitor service limits"): 1 MB in a call, and 64 KB in a field, which it
//! would cut off in silence. Tokens come from Microsoft Entra ID by client credentials.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use super::{LINGER, add_secret, json_array, or, sender, url_below};
use crate::{
    domain::{
        destination::{AzureSentinel, Secrets},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        http::{HttpAnswer, HttpSender},
        payload::{rfc3339_millis, write_event},
    },
};

const LIMITS: BatchLimits = BatchLimits {
    events: 5_000,
    bytes: 1_000_000 - 2,
    event_bytes: 128 * 1_024,
    overhead: 1,
    linger: LINGER,
};
const FIELD_BYTES: usize = 64 * 1_024;
/// A token is not used in the last minutes of its life.
const TOKEN_MARGIN: Duration = Duration::from_mins(5);
/// Longest life of a token that is believed; those of Entra ID live for an hour to a day.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A send asks for at most two tokens and sends at most twice; together they end in time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(14);

/// Sends to Microsoft Sentinel.
pub struct AzureSentinelSink {
    sender: HttpSender,
    url: Url,
    token_url: Url,
    token_form: Zeroizing<String>,
    token: Mutex<Option<Token>>,
    payload: PayloadForm,
}

struct Token {
    headers: HeaderMap,
    until: Instant,
}

/// What the authority gives (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: u64,
}

/// What the API says of a failure.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    error: SaidError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SaidError {
    code: String,
}

impl AzureSentinelSink {
    /// An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &AzureSentinel,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let authority = or(&config.authority_url, "https://login.microsoftonline.com");
        let path = format!("/{}/oauth2/v2.0/token", config.tenant_id);
        let token_url = url_below(authority, &path)?;
        let token_form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &config.client_id)
            .append_pair("client_secret", secrets.get("client_secret"))
            .append_pair("scope", or(&config.token_scope, "https://monitor.azure.com/.default"))
            .finish();
        let path = format!(
            "/dataCollectionRules/{}/streams/{}?api-version=2023-01-01",
            config.data_collection_rule_id, config.stream_name
        );
        Ok(Self {
            sender: sender(stream, secrets, egress)?,
            url: url_below(&config.data_collection_endpoint, &path)?,
            token_url,
            token_form: Zeroizing::new(token_form),
            token: Mutex::default(),
            payload: stream.payload,
        })
    }

    /// The headers of a request, with a token that still lives; a new one if `refresh`.
    async fn authorized(&self, refresh: bool) -> Result<HeaderMap, Failure> {
        let mut token = self.token.lock().await;
        match &*token {
            Some(token) if !refresh && token.until > Instant::now() => {
                return Ok(token.headers.clone());
            }
            _ => *token = None,
        }
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        let body = self.token_form.as_str().to_owned();
        let answer = timely(self.sender.post(&self.token_url, headers, body)).await?;
        let given = given(&answer)?;
        let mut headers = HeaderMap::new();
        let authorization = Zeroizing::new(format!("Bearer {}", given.access_token));
        add_secret(&mut headers, "authorization", &authorization).map_err(Failure::temporary)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let until = Instant::now() + used_for(given.expires_in);
        *token = Some(Token { headers: headers.clone(), until });
        Ok(headers)
    }
}

/// How long a token is used that lives so many seconds by the word of an authority, which may be anybody:
/// not in its last minutes, and a day at most.
fn used_for(expires_in: u64) -> Duration {
    let life = Duration::from_secs(expires_in).min(LONGEST_LIFE);
    life.saturating_sub(TOKEN_MARGIN.min(life / 2))
}

async fn timely(
    answer: impl Future<Output = Result<HttpAnswer, Failure>>,
) -> Result<HttpAnswer, Failure> {
    let late = || Failure::temporary("no answer in time");
    tokio::time::timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| Err(late()))
}

/// The token in an answer of the authority. Its refusals, 400 and 401, are about the application and its
/// secret. What it said is told only if it gave nothing.
fn given(answer: &HttpAnswer) -> Result<Given, Failure> {
    let named = |failure: Failure| failure.about("no token");
    match answer.clone().into_result() {
        Ok(_) => serde_json::from_str(&answer.body)
            .map_err(|_| Failure::temporary("no token: the authority's answer has none")),
        Err(failure) if matches!(failure.kind, FailureKind::Refused(_)) => {
            Err(named(answer.failure(FailureKind::Invalid)))
        }
        Err(failure) => Err(named(failure)),
    }
}

/// What an answer of the API means.
fn judged(answer: HttpAnswer) -> Result<Answer, Failure> {
    let said: Said = serde_json::from_str(&answer.body).unwrap_or_default();
    let kind = match (answer.status, &*said.error.code) {
        (400, "InvalidStream" | "InvalidTransformOutput" | "InvalidDataCollectionRule") => {
            FailureKind::Invalid
        }
        (400, "ContentLengthLimitExceeded") => FailureKind::TooLarge,
        (200..=299, _) if !answer.is_object_without("error") => return Err(answer.temporary()),
        _ => return answer.into_result(),
    };
    Err(answer.failure(kind))
}

#[async_trait]
impl Sink for AzureSentinelSink {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let logged = &event.event;
        out.extend_from_slice(b"{\"TimeGenerated\":\"");
        out.extend_from_slice(rfc3339_millis(event.occurred_at).as_bytes());
        out.extend_from_slice(b"\",\"id\":");
        out.extend_from_slice(logged.id.quoted());
        out.extend_from_slice(b",\"event_type\":");
        out.extend_from_slice(logged.action.quoted());
        out.extend_from_slice(b",\"organization_id\":");
        out.extend_from_slice(logged.organization_id.quoted());
        out.extend_from_slice(b",\"data\":");
        let before = out.len();
        write_event(self.payload, event, out)?;
        let bytes = out.len() - before;
        if bytes > FIELD_BYTES {
            return Err(format!("has {bytes} bytes; a field takes {FIELD_BYTES}"));
        }
        out.push(b'}');
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], _now: Timestamp) -> Result<Answer, Failure> {
        let body = bytes::Bytes::from(json_array(batch));
        let headers = self.authorized(false).await?;
        let answer = timely(self.sender.post(&self.url, headers, body.clone())).await?;
        if answer.status != 401 {
            return judged(answer);
        }
        // The token was revoked, or the secret has changed: once more with a new one.
        let headers = self.authorized(true).await?;
        judged(timely(self.sender.post(&self.url, headers, body)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{
        destinations::fixture::encoded,
        fixture::{secrets, stream},
        payload::fixture::example,
    };

    fn sink() -> AzureSentinelSink {
        let config = AzureSentinel {
            tenant_id: "tenant".to_owned(),
            client_id: "client".to_owned(),
            data_collection_endpoint: "https://dce.ingest.monitor.azure.com/".to_owned(),
            data_collection_rule_id: "dcr-1".to_owned(),
            stream_name: "Custom-AuditLogs_CL".to_owned(),
            ..AzureSentinel::default()
        };
        let secrets = secrets(&[("client_secret", "s&cret")]);
        AzureSentinelSink::new(&stream(), &config, &secrets, &Egress::public()).unwrap()
    }

    #[test]
    fn no_life_of_a_token_is_too_long() {
        let minutes = |expires_in| used_for(expires_in).as_secs() / 60;
        assert_eq!((minutes(0), minutes(3_600)), (0, 60 - TOKEN_MARGIN.as_secs() / 60));
        assert!(minutes(u64::MAX) < 24 * 60);
        assert!(Instant::now().checked_add(used_for(u64::MAX)).is_some());
    }

    #[test]
    fn urls_are_those_of_azure() {
        let sink = sink();
        assert_eq!(
            sink.url.as_str(),
            "https://dce.ingest.monitor.azure.com/dataCollectionRules/dcr-1/streams/\
             Custom-AuditLogs_CL?api-version=2023-01-01"
        );
        let token_url = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token";
        assert_eq!(sink.token_url.as_str(), token_url);
        assert_eq!(
            *sink.token_form,
            "grant_type=client_credentials&client_id=client&client_secret=s%26cret\
             &scope=https%3A%2F%2Fmonitor.azure.com%2F.default"
        );
    }

    #[test]
    fn an_event_is_a_row() {
        let sent = encoded(&sink(), example(), "2026-11-03T00:00:00Z").unwrap();
        let head = concat!(
            r#"{"TimeGenerated":"2026-11-02T08:15:30.250Z","id":"01JSB3C4D5E6F7G8H9J0K1M2N3","#,
            r#""event_type":"report.downloaded","#,
            r#""organization_id":"org_01JQ4X7Z6E5M2K9T8V3B1N0CDA","data":{"id":"01J"#
        );
        assert!(sent.starts_with(head) && sent.ends_with("\"}}}"), "{sent}");
    }

    #[test]
    fn what_would_be_cut_is_refused() {
        let mut large = example();
        let text = "x".repeat(500);
        for number in 0..140 {
            large["metadata"][format!("key_{number}")] = text.clone().into();
        }
        let error = encoded(&sink(), large, "2026-11-03T00:00:00Z").unwrap_err();
        assert!(error.contains("a field takes 65536"), "{error}");
    }

    #[test]
    fn answers_are_told_apart() {
        let answer =
            |status, body: &str| HttpAnswer { status, retry_after: None, body: body.to_owned() };
        let kind = |status, code: &str| {
            let body = format!(r#"{{"error":{{"code":"{code}","message":"x"}}}}"#);
            judged(answer(status, &body)).map(|_| ()).map_err(|failure| failure.kind)
        };
        assert!(judged(answer(204, "")).is_ok());
        assert_eq!(kind(403, "OperationFailed"), Err(FailureKind::Invalid));
        assert_eq!(kind(404, "NotFound"), Err(FailureKind::Invalid));
        assert_eq!(kind(400, "InvalidStream"), Err(FailureKind::Invalid));
        assert_eq!(kind(400, "InvalidPayload"), Err(FailureKind::Refused(vec![])));
        assert_eq!(kind(413, "ContentLengthLimitExceeded"), Err(FailureKind::TooLarge));
        let token = |status, body| given(&answer(status, body)).map(|_| ()).map_err(|f| f.kind);
        assert_eq!(token(200, r#"{"access_token":"t","expires_in":3599}"#), Ok(()));
        assert_eq!(token(401, r#"{"error":"invalid_client"}"#), Err(FailureKind::Invalid));
        assert_eq!(token(400, r#"{"error":"unauthorized_client"}"#), Err(FailureKind::Invalid));
        let temporary = || Err(FailureKind::Temporary { retry_after: None });
        assert_eq!(token(503, ""), temporary());
        assert_eq!(token(200, "{}"), temporary());
    }
}
