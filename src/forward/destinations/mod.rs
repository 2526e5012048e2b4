//! What events are sent to: one file for each.

mod azure_sentinel;
mod bucket;
mod datadog;
mod generic_https;
#[cfg(feature = "kafka")]
mod kafka;
mod layout;
mod otlp;
mod snowflake;
mod splunk;
mod syslog;

use std::time::Duration;

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

#[cfg(feature = "kafka")]
pub use self::kafka::KafkaSink;
pub use self::{
    azure_sentinel::AzureSentinelSink, bucket::BucketSink, datadog::DatadogSink,
    generic_https::GenericHttpsSink, otlp::OtlpSink, snowflake::SnowflakeSink, splunk::SplunkSink,
    syslog::SyslogSink,
};
use super::{EncodedEvent, http::HttpSender};
use crate::{
    domain::{destination::Secrets, log_stream::LogStream},
    forward::Egress,
};

/// How long to wait for more events, where a request costs little.
const LINGER: Duration = Duration::from_millis(50);
/// What these destinations call the product where nothing else is configured.
const PRODUCT: &str = "audit-logs";

/// What sends the requests of a stream.
fn sender(stream: &LogStream, secrets: &Secrets, egress: &Egress) -> Result<HttpSender, String> {
    Ok(HttpSender::new(egress, &stream.ca_certificates_pem)?.hiding(secrets))
}

/// A URL of the configuration, with that path if it has none.
fn url_with_path(text: &str, path: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    if matches!(url.path(), "" | "/") {
        url.set_path(path);
    }
    Ok(url)
}

/// A URL of the configuration, and this path below its own.
fn url_below(text: &str, path: &str) -> Result<Url, String> {
    let text = format!("{}{path}", text.trim_end_matches('/'));
    Url::parse(&text).map_err(|error| format!("{text:?} is no URL: {error}"))
}

/// Adds a header whose value is secret.
fn add_secret(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let wrong =
        |what| format!("the {what} of the header {name:?} has characters that none may have");
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
    let mut value = HeaderValue::from_str(value).map_err(|_| wrong("value"))?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(())
}

/// The text, or another if it is empty.
const fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// Appends a text as a JSON string.
fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// A JSON array of the events.
fn json_array(batch: &[EncodedEvent]) -> Vec<u8> {
    let mut body = Vec::with_capacity(size(batch));
    for event in batch {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&event.bytes);
    }
    body.push(b']');
    body
}

/// The events, each followed by a line feed.
fn json_lines(batch: &[EncodedEvent]) -> Vec<u8> {
    let mut body = Vec::with_capacity(size(batch));
    for event in batch {
        body.extend_from_slice(&event.bytes);
        body.push(b'\n');
    }
    body
}

fn size(batch: &[EncodedEvent]) -> usize {
    batch.iter().map(|event| event.bytes.len() + 1).sum::<usize>() + 1
}

/// What tests of destinations send.
#[cfg(test)]
mod fixture {
    use serde_json::Value;

    use crate::{
        domain::timestamp::Timestamp,
        forward::{Sink, payload::fixture},
    };

    /// What a destination makes of an event at an instant.
    pub fn encoded(sink: &dyn Sink, event: Value, now: &str) -> Result<String, String> {
        let bytes = fixture::canonical(event);
        let mut out = Vec::new();
        let now = Timestamp::parse_rfc3339(now).unwrap();
        sink.encode(&fixture::outgoing(&bytes), now, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }
}
