//! Any receiver of HTTPS requests: `{"event","keySuffix","timestamp","source"}` as WorkOS sends them, in
//! an array or a line each, signed as Standard Webhooks (standardwebhooks.com) has it if there is a
//! secret.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderValue},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{LINGER, add_secret, json_array, json_lines, sender, url_with_path, write_text};
use crate::{
    domain::{
        destination::{GenericHttps, HttpsFormat, Secrets, header_secret},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, OutgoingEvent, Sink,
        http::{HttpSender, gzip_aside},
        payload::{key_suffix, rfc3339_millis, write_event},
    },
};

/// Common servers take a mebibyte and no more unless they are told otherwise.
const LIMITS: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 512 * 1_024,
    event_bytes: 512 * 1_024,
    overhead: 1,
    linger: LINGER,
};

/// Sends to an HTTPS receiver.
pub struct GenericHttpsSink {
    sender: HttpSender,
    url: Url,
    headers: HeaderMap,
    payload: PayloadForm,
    format: HttpsFormat,
    gzip: bool,
    tail: Vec<u8>,
    signing_keys: Vec<Zeroizing<Vec<u8>>>,
}

impl GenericHttpsSink {
    /// An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &GenericHttps,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for name in &config.headers {
            add_secret(&mut headers, name, secrets.get(&header_secret(name)))?;
        }
        let media_type = match config.format {
            HttpsFormat::Json => "application/json",
            HttpsFormat::Ndjson => "application/x-ndjson",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if config.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut tail = b"\"".to_vec();
        if !config.source.is_empty() {
            tail.extend_from_slice(b",\"source\":");
            write_text(&config.source, &mut tail);
        }
        tail.push(b'}');
        Ok(Self {
            sender: sender(stream, secrets, egress)?,
            url: url_with_path(&config.url, "/")?,
            headers,
            payload: stream.payload,
            format: config.format,
            gzip: config.gzip,
            tail,
            signing_keys: signing_keys(secrets.get("signing_secret"))?,
        })
    }

    /// The headers of Standard Webhooks. The id is that of the content, the same when it is sent again,
    /// so that a receiver can tell. What is signed is the body as a receiver reads it, before gzip.
    fn sign(&self, body: &[u8], now: Timestamp) -> Result<HeaderMap, Failure> {
        let mut headers = self.headers.clone();
        if self.signing_keys.is_empty() {
            return Ok(headers);
        }
        let id = format!("msg_{}", hex::encode(&Sha256::digest(body)[..16]));
        let timestamp = now.seconds().to_string();
        let mut signatures = Vec::new();
        for key in &self.signing_keys {
            let mac = Hmac::<Sha256>::new_from_slice(key);
            let mut mac = mac.map_err(|error| Failure::invalid(format!("signing: {error}")))?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            signatures.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
        }
        for (name, value) in [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signatures.join(" ")),
        ] {
            let value = HeaderValue::from_str(&value);
            headers.insert(name, value.map_err(|error| Failure::invalid(error.to_string()))?);
        }
        Ok(headers)
    }
}

/// The keys of one or two secrets, `whsec_` and base64, separated by a space.
fn signing_keys(secrets: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, String> {
    let key = |secret: &str| {
        let encoded = secret.strip_prefix("whsec_")?;
        STANDARD.decode(encoded).ok().map(Zeroizing::new)
    };
    let wrong = "signing_secret is not whsec_ and base64";
    secrets.split_whitespace().map(|secret| key(secret).ok_or_else(|| wrong.to_owned())).collect()
}

#[async_trait]
impl Sink for GenericHttpsSink {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let id = event.event.id.decoded().unwrap_or_default();
        out.extend_from_slice(b"{\"event\":");
        write_event(self.payload, event, out)?;
        out.extend_from_slice(b",\"keySuffix\":\"");
        out.extend_from_slice(key_suffix(&String::from_utf8_lossy(&id)).as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":\"");
        out.extend_from_slice(rfc3339_millis(event.created_at).as_bytes());
        out.extend_from_slice(&self.tail);
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], now: Timestamp) -> Result<Answer, Failure> {
        let body = match self.format {
            HttpsFormat::Json => json_array(batch),
            HttpsFormat::Ndjson => json_lines(batch),
        };
        let headers = self.sign(&body, now)?;
        let body = if self.gzip { gzip_aside(body).await? } else { body };
        self.sender.post(&self.url, headers, body).await?.into_result()
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

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn sink(config: GenericHttps, signing_secret: &str) -> GenericHttpsSink {
        let config = GenericHttps { url: "https://example.com/x".to_owned(), ..config };
        let secrets = secrets(&[("signing_secret", signing_secret)]);
        GenericHttpsSink::new(&stream(), &config, &secrets, &Egress::public()).unwrap()
    }

    #[test]
    fn an_event_is_wrapped_as_workos_does() {
        let config = GenericHttps { source: "acme".to_owned(), ..GenericHttps::default() };
        let sent = encoded(&sink(config, ""), example(), "2026-11-03T00:00:00Z").unwrap();
        assert!(sent.starts_with(r#"{"event":{"id":"01JSB3C4D5E6F7G8H9J0K1M2N3","#));
        let suffix = key_suffix("01JSB3C4D5E6F7G8H9J0K1M2N3");
        let tail = format!(
            r#"}},"keySuffix":"{suffix}","timestamp":"2026-11-02T08:15:31.007Z","source":"acme"}}"#
        );
        assert!(sent.ends_with(&tail), "{sent}");
        let bare = encoded(&sink(GenericHttps::default(), ""), example(), "2026-11-03T00:00:00Z");
        assert!(bare.unwrap().ends_with(r#""timestamp":"2026-11-02T08:15:31.007Z"}"#));
    }

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let now = Timestamp::parse_rfc3339("2021-02-25T18:13:50Z").unwrap();
        let sink = sink(GenericHttps::default(), SECRET);
        let headers = sink.sign(b"{\"test\": 2432232314}", now).unwrap();
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        assert_eq!(headers["webhook-timestamp"], "1614276830");
        // By another implementation: Python's hmac.
        assert_eq!(id, "msg_ae858931f67887e8150d6f96c9fe0306");
        assert_eq!(headers["webhook-signature"], "v1,RZs2bAKm0hsRxQ8L/VbzED0vjse/13+d2S9YE0uX2lE=");
    }

    #[test]
    fn two_secrets_sign_twice_and_a_retry_has_the_same_id() {
        let sink = sink(GenericHttps::default(), &format!("{SECRET} {SECRET}"));
        let at = |micros| sink.sign(b"[]", Timestamp::from_micros(micros)).unwrap();
        let (first, second) = (at(0), at(60_000_000));
        assert_eq!(first["webhook-id"], second["webhook-id"]);
        assert_ne!(first["webhook-signature"], second["webhook-signature"]);
        let signatures: Vec<_> = first["webhook-signature"].to_str().unwrap().split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(signatures[0], signatures[1]);
    }
}
