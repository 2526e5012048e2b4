//! A table of Snowflake, by its SQL API (docs.snowflake.com, "Snowflake SQL API reference"): one INSERT
//! for a batch, whose rows are one bound text. A statement whose outcome is not known is submitted again
//! under its request id, so that it is not executed twice.

use std::time::Duration;

use async_trait::async_trait;
use rand::random;
use reqwest::{
    Method, Request, Url,
    header::{self, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use super::{add_secret, json_array, sender, url_below};
use crate::{
    domain::{
        destination::{Secrets, Snowflake},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        http::{HttpAnswer, HttpSender},
        key_pair::KeyPair,
        payload::{rfc3339_millis, write_event},
    },
};

/// A statement wakes a warehouse, which costs: more events share one.
const LIMITS: BatchLimits = BatchLimits {
    events: 5_000,
    bytes: 4 * 1_024 * 1_024,
    event_bytes: 1_024 * 1_024,
    overhead: 1,
    linger: Duration::from_secs(5),
};
/// After which Snowflake gives a statement up, in seconds; before a request does.
const STATEMENT_SECONDS: u64 = 20;
/// How long a call waits for a statement that Snowflake goes on with by itself.
const WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(500);

/// Sends to Snowflake.
pub struct SnowflakeSink {
    sender: HttpSender,
    url: Url,
    key: KeyPair,
    statement: String,
    /// Where the statement is executed: warehouse, database, schema and role.
    context: Map<String, Value>,
    payload: PayloadForm,
    /// The batch whose outcome is not known, with the id of its request.
    unknown: Mutex<Option<([u8; 32], Uuid)>>,
}

/// What the API says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said {
    code: String,
    statement_handle: String,
}

impl SnowflakeSink {
    /// An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &Snowflake,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let url = url_below(&config.account_url, "/api/v2/statements")?;
        let account = account(url.host_str().unwrap_or_default());
        let (pem, passphrase) =
            (secrets.get("private_key_pem"), secrets.get("private_key_passphrase"));
        let key = KeyPair::new(pem, passphrase, account, &config.username)?;
        let mut context = Map::new();
        for (name, text) in [
            ("warehouse", &config.warehouse),
            ("database", &config.database),
            ("schema", &config.schema),
            ("role", &config.role),
        ] {
            if !text.is_empty() {
                context.insert(name.to_owned(), resolved(text).into());
            }
        }
        let table = [&config.database, &config.schema, &config.table].map(|name| quoted(name));
        let statement = format!(
            "INSERT INTO {} (event_id, event_type, occurred_at, organization_id, data) \
             SELECT value:event_id::VARCHAR, value:event_type::VARCHAR, \
             TO_TIMESTAMP_TZ(value:occurred_at::VARCHAR), value:organization_id::VARCHAR, value:data \
             FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))",
            table.join(".")
        );
        Ok(Self {
            sender: sender(stream, secrets, egress)?,
            url,
            key,
            statement,
            context,
            payload: stream.payload,
            unknown: Mutex::default(),
        })
    }

    async fn call(&self, request: Request, now: Timestamp) -> Result<HttpAnswer, Failure> {
        let mut request = request;
        let token = self.key.token(now).map_err(Failure::invalid)?;
        let mut headers = HeaderMap::new();
        add_secret(&mut headers, "authorization", &format!("Bearer {token}"))
            .map_err(Failure::invalid)?;
        for (name, value) in [
            ("x-snowflake-authorization-token-type", "KEYPAIR_JWT"),
            ("accept", "application/json"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.headers_mut() = headers;
        self.sender.send(request).await
    }

    async fn submit(
        &self,
        id: Uuid,
        retry: bool,
        rows: &str,
        now: Timestamp,
    ) -> Result<HttpAnswer, Failure> {
        let mut body = self.context.clone();
        body.insert("statement".to_owned(), self.statement.clone().into());
        body.insert("timeout".to_owned(), STATEMENT_SECONDS.into());
        body.insert("bindings".to_owned(), json!({"1": {"type": "TEXT", "value": rows}}));
        let mut url = self.url.clone();
        let retry = if retry { "&retry=true" } else { "" };
        url.set_query(Some(&format!("requestId={id}{retry}")));
        let mut request = Request::new(Method::POST, url);
        *request.body_mut() = Some(Value::Object(body).to_string().into());
        self.call(request, now).await
    }

    /// Asks for a statement that goes on until it is done.
    async fn finished(&self, answer: HttpAnswer, now: Timestamp) -> Result<HttpAnswer, Failure> {
        let begun = Instant::now();
        let mut answer = answer;
        while answer.status == 202 {
            let handle = said(&answer).statement_handle;
            let is_handle = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if handle.is_empty() || !handle.chars().all(is_handle) || begun.elapsed() > WAIT {
                return Err(answer.temporary());
            }
            tokio::time::sleep(POLL).await;
            let url = Url::parse(&format!("{}/{handle}", self.url));
            let url = url.map_err(|error| Failure::temporary(error.to_string()))?;
            answer = self.call(Request::new(Method::GET, url), now).await?;
        }
        Ok(answer)
    }
}

/// The account in the name of its host: the first part, and of organizations that replicate, what is
/// before the hyphen.
fn account(host: &str) -> &str {
    let end = if host.contains(".global.") { host.find('-') } else { host.find('.') };
    host.get(..end.unwrap_or(host.len())).unwrap_or(host)
}

/// Whether Snowflake reads that name without quotes (and in upper case).
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_$".contains(&byte);
    name.bytes().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit() || c == '$')
}

/// A name as it stands in SQL.
fn quoted(name: &str) -> String {
    if name.len() > 1 && name.starts_with('"') && name.ends_with('"') {
        return quoted_exactly(&name[1..name.len() - 1].replace("\"\"", "\""));
    }
    quoted_exactly(&resolved(name))
}

fn quoted_exactly(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name as Snowflake keeps it: plain names in upper case.
fn resolved(name: &str) -> String {
    if is_plain(name) { name.to_uppercase() } else { name.to_owned() }
}

fn said(answer: &HttpAnswer) -> Said {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

/// What an answer means. 422 is an error of the statement: those of the class 100 are about the data,
/// nearly all others about names, rights or the warehouse.
fn judged(answer: HttpAnswer) -> Result<Answer, Failure> {
    let code = said(&answer).code;
    let kind = match (answer.status, &*code) {
        (200, "090001") => return Ok(answer.accepted()),
        (200..=299, _) => return Err(answer.temporary()),
        // Cancelled, timed out, queued too long, the warehouse is suspended.
        (422, "000604" | "000605" | "000625" | "000630" | "090073") => {
            return Err(answer.temporary());
        }
        (422, code) if code.starts_with("100") => FailureKind::Refused(vec![]),
        (400 | 405 | 415 | 422, _) => FailureKind::Invalid,
        _ => return answer.into_result(),
    };
    Err(answer.failure(kind))
}

#[async_trait]
impl Sink for SnowflakeSink {
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
        for (name, value) in [
            ("{\"event_id\":", logged.id.quoted()),
            (",\"event_type\":", logged.action.quoted()),
            (",\"organization_id\":", logged.organization_id.quoted()),
        ] {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        }
        out.extend_from_slice(b",\"occurred_at\":\"");
        out.extend_from_slice(rfc3339_millis(event.occurred_at).as_bytes());
        out.extend_from_slice(b"\",\"data\":");
        write_event(self.payload, event, out)?;
        out.push(b'}');
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], now: Timestamp) -> Result<Answer, Failure> {
        let rows = String::from_utf8(json_array(batch))
            .map_err(|_| Failure::invalid("the events are not UTF-8"))?;
        let digest: [u8; 32] = Sha256::digest(&rows).into();
        let mut unknown = self.unknown.lock().await;
        let known = unknown.filter(|(before, _)| *before == digest);
        let new = || uuid::Builder::from_random_bytes(random()).into_uuid();
        let id = known.map_or_else(new, |(_, id)| id);
        *unknown = Some((digest, id));
        let answer = self.submit(id, known.is_some(), &rows, now).await?;
        let answer = self.finished(answer, now).await?;
        // What Snowflake answered is known; a statement that failed needs another id.
        if answer.status < 500 && answer.status != 429 {
            *unknown = None;
        }
        judged(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_in_the_name_of_its_host() {
        assert_eq!(account("acme-eu1.snowflakecomputing.com"), "acme-eu1");
        assert_eq!(account("xy12345.eu-central-1.snowflakecomputing.com"), "xy12345");
        assert_eq!(account("xy12345-abc.global.snowflakecomputing.com"), "xy12345");
        assert_eq!(account("localhost"), "localhost");
    }

    #[test]
    fn names_are_those_that_snowflake_keeps() {
        assert_eq!(quoted("audit_logs"), "\"AUDIT_LOGS\"");
        assert_eq!(quoted("Audit Logs"), "\"Audit Logs\"");
        assert_eq!(quoted("\"lower\""), "\"lower\"");
        assert_eq!(quoted("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
        assert_eq!(quoted("\"a\"b\""), "\"a\"\"b\"");
    }

    #[test]
    fn codes_of_snowflake_are_told_apart() {
        let kind = |status, code: &str| {
            let body = format!(r#"{{"code":"{code}","message":"x"}}"#);
            judged(HttpAnswer { status, retry_after: None, body }).map(|_| ()).map_err(|f| f.kind)
        };
        assert_eq!(kind(200, "090001"), Ok(()));
        for (status, code) in [
            (401, "390144"),
            (403, ""),
            (404, ""),
            (422, "002003"),
            (422, "000606"),
            (400, "391902"),
        ] {
            assert_eq!(kind(status, code), Err(FailureKind::Invalid), "{code}");
        }
        assert_eq!(kind(422, "100069"), Err(FailureKind::Refused(vec![])));
        for (status, code) in [(422, "000630"), (408, "000630"), (429, ""), (503, ""), (200, "x")] {
            let temporary = FailureKind::Temporary { retry_after: None };
            assert_eq!(kind(status, code), Err(temporary), "{code}");
        }
    }
}
