//! Datadog's log intake (docs.datadoghq.com, "Send logs"): at most 5 MB before compression, 1,000 logs
//! and 1 MB a log, which it would cut off in silence; logs dated more than 18 hours back are dropped.

use async_trait::async_trait;
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderValue},
};

use super::{LINGER, PRODUCT, add_secret, json_array, or, sender, url_with_path, write_text};
use crate::{
    domain::{
        destination::{Datadog, Secrets},
        destination_check::DATADOG_SITES,
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        http::{HttpAnswer, HttpSender, gzip_aside},
        payload::write_event,
    },
};

const LIMITS: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 5_000_000 - 2,
    event_bytes: 1_000_000,
    overhead: 1,
    linger: LINGER,
};
/// Older events are not dated, so that they are taken; an hour before the limit, for the way there.
const DATED_SECONDS: i64 = 17 * 3_600;

/// Sends to Datadog.
pub struct DatadogSink {
    sender: HttpSender,
    url: Url,
    headers: HeaderMap,
    payload: PayloadForm,
    tail: Vec<u8>,
}

impl DatadogSink {
    /// An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &Datadog,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let url = if config.endpoint.is_empty() {
            let site = DATADOG_SITES.iter().find(|(region, _)| *region == config.region);
            let (_, site) = site.ok_or("the region is unknown")?;
            format!("https://http-intake.logs.{site}")
        } else {
            config.endpoint.clone()
        };
        let mut headers = HeaderMap::new();
        add_secret(&mut headers, "dd-api-key", secrets.get("api_key"))?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut tail = b",\"ddsource\":".to_vec();
        write_text(or(&config.source, PRODUCT), &mut tail);
        tail.extend_from_slice(b",\"service\":\"audit-logs\"}");
        Ok(Self {
            sender: sender(stream, secrets, egress)?,
            url: url_with_path(&url, "/api/v2/logs")?,
            headers,
            payload: stream.payload,
            tail,
        })
    }
}

#[async_trait]
impl Sink for DatadogSink {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.extend_from_slice(b"{\"message\":");
        write_event(self.payload, event, out)?;
        if self.payload == PayloadForm::Ocsf {
            let young = event.occurred_at > now.plus_seconds(-DATED_SECONDS);
            let name = if young { "timestamp" } else { "original_timestamp" };
            let millis = event.occurred_at.micros().div_euclid(1_000);
            out.extend_from_slice(format!(",\"{name}\":{millis}").as_bytes());
        }
        out.extend_from_slice(&self.tail);
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], _now: Timestamp) -> Result<Answer, Failure> {
        let body = gzip_aside(json_array(batch)).await?;
        let answer = self.sender.post(&self.url, self.headers.clone(), body).await?;
        judged(answer)
    }
}

/// Datadog says 202 when it took the logs, and with some proxies 400 when the key is wrong.
fn judged(answer: HttpAnswer) -> Result<Answer, Failure> {
    if answer.status == 400 && answer.body.to_ascii_lowercase().contains("api key") {
        return Err(answer.failure(FailureKind::Invalid));
    }
    if (200..300).contains(&answer.status) && !answer.is_object_without("errors") {
        return Err(answer.temporary());
    }
    answer.into_result()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::forward::{
        destinations::fixture::encoded,
        fixture::{secrets, stream},
        payload::fixture::example,
    };

    fn sink(payload: PayloadForm, config: &Datadog) -> Result<DatadogSink, String> {
        let stream = LogStream { payload, ..stream() };
        DatadogSink::new(&stream, config, &secrets(&[("api_key", "key")]), &Egress::public())
    }

    fn in_region(region: &str) -> Datadog {
        Datadog { region: region.to_owned(), source: "acme".to_owned(), ..Datadog::default() }
    }

    #[test]
    fn a_region_has_its_intake() {
        let url = |region| sink(PayloadForm::WorkOs, &in_region(region)).unwrap().url.to_string();
        assert_eq!(url("US1"), "https://http-intake.logs.datadoghq.com/api/v2/logs");
        assert_eq!(url("EU1"), "https://http-intake.logs.datadoghq.eu/api/v2/logs");
        assert_eq!(url("US1-FED"), "https://http-intake.logs.ddog-gov.com/api/v2/logs");
        assert!(sink(PayloadForm::WorkOs, &in_region("moon")).is_err());
        let endpoint = Datadog { endpoint: "https://proxy/dd?x=1".to_owned(), ..in_region("") };
        assert_eq!(
            sink(PayloadForm::WorkOs, &endpoint).unwrap().url.as_str(),
            "https://proxy/dd?x=1"
        );
    }

    #[test]
    fn the_event_is_the_message() {
        let sink = sink(PayloadForm::WorkOs, &in_region("US1")).unwrap();
        let sent = encoded(&sink, example(), "2026-12-24T00:00:00Z").unwrap();
        assert!(sent.starts_with(r#"{"message":{"id":"01JSB3C4D5E6F7G8H9J0K1M2N3","action":"#));
        assert!(sent.ends_with(r#"},"ddsource":"acme","service":"audit-logs"}"#));
    }

    #[test]
    fn an_old_event_has_no_date() {
        let sink = sink(PayloadForm::Ocsf, &in_region("US1")).unwrap();
        let at = |now| -> Value {
            serde_json::from_str(&encoded(&sink, example(), now).unwrap()).unwrap()
        };
        let young = at("2026-11-03T01:15:29Z");
        assert_eq!(young["timestamp"], json!(1_793_607_330_250_i64));
        let old = at("2026-11-03T01:15:31Z");
        assert_eq!(old["timestamp"], Value::Null);
        assert_eq!(old["original_timestamp"], json!(1_793_607_330_250_i64));
    }

    #[test]
    fn a_wrong_key_is_a_matter_of_configuration() {
        let said = |status, body: &str| {
            let body = body.to_owned();
            judged(HttpAnswer { status, retry_after: None, body }).map_err(|f| f.kind)
        };
        assert!(said(202, "{}").is_ok());
        assert_eq!(said(403, "{\"errors\":[\"Forbidden\"]}"), Err(FailureKind::Invalid));
        assert_eq!(said(400, "{\"errors\":[\"API key invalid\"]}"), Err(FailureKind::Invalid));
        assert_eq!(said(400, "{\"errors\":[\"bad\"]}"), Err(FailureKind::Refused(vec![])));
    }
}
