//! Splunk's HTTP Event Collector (help.splunk.com, "Format events for HTTP Event Collector"). Splunk
//! Cloud takes 1 MB in a request. The number in an answer's body says what happened, whatever the
//! status.

use std::{fmt::Write, time::Duration};

use async_trait::async_trait;
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};

use super::{LINGER, PRODUCT, add_secret, json_array, json_lines, or, sender, url_with_path};
use crate::{
    domain::{
        destination::{Secrets, Splunk, SplunkEncoding},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        destinations::write_text,
        http::{HttpAnswer, HttpSender, gzip_aside},
        payload::write_event,
    },
};

const LIMITS: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 1_000_000 - 2,
    event_bytes: 1_000_000 - 2,
    overhead: 1,
    linger: LINGER,
};
/// How long a call waits for events to be indexed, if a request may take as long.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);
/// How long the next calls go on asking before the events are sent again.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(5);
const FIRST_POLL: Duration = Duration::from_millis(100);
const SLOWEST_POLL: Duration = Duration::from_secs(2);

/// Sends to Splunk.
pub struct SplunkSink {
    sender: HttpSender,
    url: Url,
    acknowledgements: Option<Acknowledgements>,
    headers: HeaderMap,
    payload: PayloadForm,
    encoding: SplunkEncoding,
    /// The members that are the same for every event.
    members: Vec<u8>,
}

/// Asks whether events are indexed.
struct Acknowledgements {
    url: Url,
    within: Duration,
    /// What was sent and is not known to be indexed.
    pending: Mutex<Option<Pending>>,
}

#[derive(Clone, Copy)]
struct Pending {
    /// Which batch.
    digest: [u8; 32],
    id: u64,
    since: Instant,
}

/// What the collector says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    code: u32,
    ack_id: Option<u64>,
    #[serde(rename = "invalid-event-number")]
    invalid_event_number: Option<usize>,
}

impl SplunkSink {
    /// An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &Splunk,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let url = url_with_path(&config.url, "/services/collector/event")?;
        let mut headers = HeaderMap::new();
        let authorization = format!("Splunk {}", secrets.get("hec_token"));
        add_secret(&mut headers, "authorization", &authorization)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let acknowledgements = if config.indexer_acknowledgement {
            let channel = channel(stream);
            add_secret(&mut headers, "x-splunk-request-channel", &channel)?;
            let mut url = url.clone();
            url.set_path("/services/collector/ack");
            url.set_query(Some(&format!("channel={channel}")));
            let within = egress.request_timeout().min(ACKNOWLEDGED_WITHIN);
            Some(Acknowledgements { url, within, pending: Mutex::default() })
        } else {
            None
        };
        let mut members = b",\"source\":".to_vec();
        write_text(or(&config.source, PRODUCT), &mut members);
        for (name, value) in [("sourcetype", &config.sourcetype), ("index", &config.index)] {
            if !value.is_empty() {
                members.extend_from_slice(format!(",\"{name}\":").as_bytes());
                write_text(value, &mut members);
            }
        }
        Ok(Self {
            sender: sender(stream, secrets, egress)?,
            url,
            acknowledgements,
            headers,
            payload: stream.payload,
            encoding: config.encoding,
            members,
        })
    }

    /// Sends the events and reads the number that the acknowledgement has, if any.
    async fn deliver(&self, body: Vec<u8>) -> Result<(HttpAnswer, Option<u64>), Failure> {
        let mut headers = self.headers.clone();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let answer = self.sender.post(&self.url, headers, gzip_aside(body).await?).await?;
        let ack_id = judged(&answer)?;
        Ok((answer, ack_id))
    }

    async fn deliver_and_wait(
        &self,
        acknowledgements: &Acknowledgements,
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let digest: [u8; 32] = Sha256::digest(&body).into();
        let mut pending = acknowledgements.pending.lock().await;
        let asked = pending
            .filter(|pending| pending.digest == digest && pending.since.elapsed() < GIVEN_UP_AFTER);
        let id = if let Some(pending) = asked {
            pending.id
        } else {
            *pending = None;
            let (answer, ack_id) = self.deliver(body).await?;
            let id = ack_id.ok_or_else(|| {
                let why = "the token has no indexer acknowledgement enabled";
                answer.failure(FailureKind::Invalid).about(why)
            })?;
            *pending = Some(Pending { digest, id, since: Instant::now() });
            id
        };
        let answer = self.wait(acknowledgements, id).await?;
        *pending = None;
        Ok(answer)
    }

    /// Asks again and again whether the events are indexed.
    async fn wait(&self, asked: &Acknowledgements, id: u64) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let mut pause = FIRST_POLL;
        loop {
            let body = format!("{{\"acks\":[{id}]}}");
            let answer = self.sender.post(&asked.url, self.headers.clone(), body).await?;
            if is_acknowledged(&answer, id)? {
                return Ok(answer.accepted());
            }
            if begun.elapsed() + pause > asked.within {
                return Err(Failure::temporary("taken, but not indexed yet"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_POLL);
        }
    }
}

/// The channel of a stream, a UUID. It is the same on every replica: Splunk keeps channels for long.
fn channel(stream: &LogStream) -> String {
    let hash: [u8; 32] = Sha256::digest(stream.id.as_str()).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// What an answer means, by the number in its body (help.splunk.com, "Troubleshoot HTTP Event
/// Collector"): the number of the acknowledgement, or the failure.
fn judged(answer: &HttpAnswer) -> Result<Option<u64>, Failure> {
    let Ok(said) = serde_json::from_str::<Said>(&answer.body) else {
        answer.clone().into_result()?;
        // A 200 of something else than a collector.
        return Err(answer.temporary());
    };
    let kind = match said.code {
        0 if (200..300).contains(&answer.status) => return Ok(said.ack_id),
        // Token disabled, required, badly sent, unknown; wrong index; channel missing or wrong;
        // acknowledgements disabled; token in the query.
        1..=4 | 7 | 10 | 11 | 14 | 16 => FailureKind::Invalid,
        // Wrong data; no event; an event that is blank; wrong indexed fields.
        5 | 6 | 12 | 13 | 15 => {
            FailureKind::Refused(said.invalid_event_number.into_iter().collect())
        }
        // Broken, busy, or shutting down.
        8 | 9 | 18..=26 => FailureKind::Temporary { retry_after: answer.retry_after },
        _ => match answer.clone().into_result() {
            Ok(_) => FailureKind::Temporary { retry_after: answer.retry_after },
            Err(failure) => failure.kind,
        },
    };
    Err(answer.failure(kind))
}

/// Whether the collector says that the events of an acknowledgement are indexed: `{"acks":{"7":true}}`.
fn is_acknowledged(answer: &HttpAnswer, id: u64) -> Result<bool, Failure> {
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match said["acks"][id.to_string()].as_bool() {
        Some(indexed) => Ok(indexed),
        None => judged(answer).and_then(|_| Err(answer.temporary())),
    }
}

#[async_trait]
impl Sink for SplunkSink {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        // Splunk knows no time before 1970; the event says when it was.
        let millis = event.occurred_at.millis();
        let mut time = String::new();
        // Writing to a string does not fail.
        let _ = match self.encoding {
            SplunkEncoding::Concatenated => {
                write!(time, "{}.{:03}", millis / 1_000, millis % 1_000)
            }
            SplunkEncoding::Array => write!(time, "{millis}"),
        };
        out.extend_from_slice(b"{\"time\":");
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(&self.members);
        out.extend_from_slice(b",\"event\":");
        write_event(self.payload, event, out)?;
        out.push(b'}');
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], _now: Timestamp) -> Result<Answer, Failure> {
        let body = match self.encoding {
            SplunkEncoding::Concatenated => json_lines(batch),
            SplunkEncoding::Array => json_array(batch),
        };
        match &self.acknowledgements {
            Some(acknowledgements) => self.deliver_and_wait(acknowledgements, body).await,
            None => self.deliver(body).await.map(|(answer, _)| answer.accepted()),
        }
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

    fn sink(config: Splunk) -> SplunkSink {
        let config = Splunk { url: "https://splunk.example.com:8088".to_owned(), ..config };
        let secrets = secrets(&[("hec_token", "token")]);
        SplunkSink::new(&stream(), &config, &secrets, &Egress::public()).unwrap()
    }

    #[test]
    fn a_collector_has_its_usual_path() {
        let sink = sink(Splunk { indexer_acknowledgement: true, ..Splunk::default() });
        assert_eq!(sink.url.path(), "/services/collector/event");
        let url = sink.acknowledgements.unwrap().url;
        let channel = sink.headers["x-splunk-request-channel"].to_str().unwrap();
        assert_eq!(url.path(), "/services/collector/ack");
        assert_eq!(url.query().unwrap(), format!("channel={channel}"));
        assert!(uuid::Uuid::parse_str(channel).is_ok());
    }

    #[test]
    fn time_is_in_the_unit_of_the_encoding() {
        let config = Splunk {
            source: "acme".to_owned(),
            sourcetype: "_json".to_owned(),
            index: "audit".to_owned(),
            ..Splunk::default()
        };
        let sent = encoded(&sink(config), example(), "2026-11-03T00:00:00Z").unwrap();
        let head = concat!(
            r#"{"time":1793607330.250,"source":"acme","sourcetype":"_json","index":"audit","#,
            r#""event":{"id":"01JSB3C4D5E6F7G8H9J0K1M2N3""#
        );
        assert!(sent.starts_with(head), "{sent}");
        let config = Splunk { encoding: SplunkEncoding::Array, ..Splunk::default() };
        let sent = encoded(&sink(config), example(), "2026-11-03T00:00:00Z").unwrap();
        assert!(sent.starts_with(r#"{"time":1793607330250,"source":"audit-logs","event":{"#));
        let mut early = example();
        early["occurred_at"] = "1950-01-01T00:00:00Z".into();
        let sent = encoded(&sink(Splunk::default()), early, "2026-11-03T00:00:00Z").unwrap();
        assert!(sent.starts_with(r#"{"time":0.000,"#) && sent.contains("1950-01-01"));
    }

    #[test]
    fn the_number_in_an_answer_decides() {
        let said = |status, body: &str| {
            let body = body.to_owned();
            judged(&HttpAnswer { status, retry_after: None, body }).map_err(|f| f.kind)
        };
        let code = |status, code: u32| {
            said(status, &format!(r#"{{"text":"x","code":{code},"invalid-event-number":3}}"#))
        };
        assert_eq!(said(200, r#"{"text":"Success","code":0}"#), Ok(None));
        assert_eq!(said(200, r#"{"text":"Success","code":0,"ackId":9}"#), Ok(Some(9)));
        for (status, number) in
            [(403, 1), (401, 2), (401, 3), (403, 4), (400, 7), (400, 10), (400, 11), (400, 14)]
        {
            assert_eq!(code(status, number), Err(FailureKind::Invalid), "{number}");
        }
        for number in [6, 12, 13] {
            assert_eq!(code(400, number), Err(FailureKind::Refused(vec![3])), "{number}");
        }
        let temporary = || Err(FailureKind::Temporary { retry_after: None });
        for (status, number) in [(500, 8), (503, 9), (200, 9), (503, 23), (200, 99)] {
            assert_eq!(code(status, number), temporary(), "{number}");
        }
        assert_eq!(said(200, "<html>a proxy</html>"), temporary());
        assert_eq!(said(200, ""), temporary());
        assert_eq!(said(303, ""), Err(FailureKind::Invalid));
        assert_eq!(said(413, "<html>too large</html>"), Err(FailureKind::TooLarge));
    }
}
