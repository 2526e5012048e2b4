//! Requests to destinations over HTTP: no redirects, no proxies, only addresses that may be dialled,
//! answers of bounded size, and nothing secret in what is told of a failure.

use std::{error::Error, io, io::Write, net::IpAddr, time::Duration};

use flate2::{Compression, write::GzEncoder};
use reqwest::{
    Client, Method, Request, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{self, HeaderMap, HeaderValue},
};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use zeroize::Zeroizing;

use super::{Answer, Egress, Failure, FailureKind, egress};
use crate::{domain::destination::Secrets, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_BYTES: usize = 64 * 1024;
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Shorter texts would be found in words that are not secret.
const SHORTEST_HIDDEN: usize = 6;

tokio::task_local! {
    /// The trace that requests of this task belong to.
    static TRACE: HeaderValue;
}

/// Sends the requests of `work` as parts of a trace, which this header tells (W3C Trace Context, section 3.2:
/// `traceparent`).
pub async fn within_trace<F: Future>(traceparent: Option<String>, work: F) -> F::Output {
    match traceparent.and_then(|value| HeaderValue::try_from(value).ok()) {
        Some(value) => TRACE.scope(value, work).await,
        None => work.await,
    }
}

/// Sends requests for one stream. Cheap to clone: the connections are shared.
#[derive(Debug, Clone)]
pub struct HttpSender {
    client: Client,
    egress: Egress,
    hidden: Hidden,
}

/// Texts that are taken out of what destinations say.
#[derive(Clone, Default)]
struct Hidden(std::sync::Arc<Vec<Zeroizing<String>>>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

fn client(egress: &Egress, ca_certificates_pem: &str) -> Result<Client, String> {
    let mut config = tls::client_config(ca_certificates_pem)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(PermittedAddresses(egress.clone().without_clients()))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(egress.request_timeout())
        .user_agent(concat!("audit-logs/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| reason(&error))
}

impl HttpSender {
    /// Finds or makes the client. An error is what is wrong with the certificates.
    pub fn new(egress: &Egress, ca_certificates_pem: &str) -> Result<Self, String> {
        let client = egress.client(ca_certificates_pem, || client(egress, ca_certificates_pem))?;
        Ok(Self { client, egress: egress.clone(), hidden: Hidden::default() })
    }

    /// The same, with these secrets taken out of every answer: a destination may repeat what it was
    /// sent.
    #[must_use]
    pub fn hiding(mut self, secrets: &Secrets) -> Self {
        let texts = secrets.iter().flat_map(|(_, value)| {
            // Of `Bearer <token>` the token alone is secret too.
            std::iter::once(value).chain(value.split_whitespace())
        });
        let long = texts.filter(|text| text.len() >= SHORTEST_HIDDEN);
        self.hidden = Hidden(std::sync::Arc::new(long.map(|t| t.to_owned().into()).collect()));
        self
    }

    /// Sends a POST and reads the answer.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: impl Into<reqwest::Body>,
    ) -> Result<HttpAnswer, Failure> {
        let mut request = Request::new(Method::POST, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        self.send(request).await
    }

    /// Sends a request and reads the answer; its bytes become text, in which no secret is left. Fails
    /// as [`Self::send_raw`] does.
    pub async fn send(&self, request: Request) -> Result<HttpAnswer, Failure> {
        Ok(self.tell(&self.send_raw(request).await?))
    }

    /// Sends a request and reads the answer, which need not be text. The failure, of the network and
    /// of a body that ends too early, names the host and nothing else of the URL.
    pub async fn send_raw(&self, request: Request) -> Result<RawAnswer, Failure> {
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let failed = |error: io::Error| {
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let message = format!("{host}: {error}");
            if denied { Failure::invalid(message) } else { Failure::temporary(message) }
        };
        let mut response = self.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while body.len() < BODY_BYTES {
            let chunk = response.chunk().await.map_err(|error| failed(as_io(&error)))?;
            let Some(chunk) = chunk else { break };
            body.extend_from_slice(chunk.get(..BODY_BYTES - body.len()).unwrap_or(&chunk));
        }
        Ok(RawAnswer { status, retry_after, body })
    }

    /// What can be told of an answer: its text without the secrets of the stream.
    pub fn tell(&self, answer: &RawAnswer) -> HttpAnswer {
        let mut body = String::from_utf8_lossy(&answer.body).into_owned();
        for secret in self.hidden.0.iter() {
            body = body.replace(secret.as_str(), "[secret]");
        }
        HttpAnswer { status: answer.status, retry_after: answer.retry_after, body }
    }

    /// Sends a request, for what reads answers itself. An address that stands in the URL is checked
    /// here: the resolver is asked for names only.
    pub(super) async fn execute(&self, mut request: Request) -> io::Result<Response> {
        if let Ok(trace) = TRACE.try_with(HeaderValue::clone) {
            request.headers_mut().insert("traceparent", trace);
        }
        let host = request.url().host_str().unwrap_or_default();
        if egress::bare(host).parse::<IpAddr>().is_ok_and(|address| !self.egress.permits(address)) {
            return Err(egress::refused(host));
        }
        self.client.execute(request).await.map_err(|error| as_io(&error))
    }
}

/// Asked for the addresses of every name that is dialled: what it gives is what is dialled.
struct PermittedAddresses(Egress);

impl Resolve for PermittedAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.0.clone();
        Box::pin(async move {
            let addresses = egress.resolve(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An error of the client with its causes and without the URL. The kind is that of the cause.
fn as_io(error: &reqwest::Error) -> io::Error {
    let mut kind = if error.is_timeout() { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            kind = error.kind();
        }
        cause = error.source();
    }
    io::Error::new(kind, reason(error))
}

/// What happened, with the causes and without the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else if error.is_body() || error.is_decode() {
        "the answer broke off".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// What a destination answered, as it came: a secret that it repeats is still in it.
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// How long it wants to be left alone; at most an hour.
    pub retry_after: Option<Duration>,
    /// The first 64 KiB of its body.
    pub body: Vec<u8>,
}

/// What a destination answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// How long it wants to be left alone; at most an hour.
    pub retry_after: Option<Duration>,
    /// The first 64 KiB of its body, without the secrets of the stream.
    pub body: String,
}

impl HttpAnswer {
    /// What the status means where the body does not matter: 2xx is success; 3xx, 401, 403 to 407,
    /// 410 and 415 want another configuration; 413 is too large; 408, 425, 429 and 5xx may pass;
    /// other 4xx refuse the events.
    pub fn into_result(self) -> Result<Answer, Failure> {
        let kind = match self.status {
            200..=299 => return Ok(self.accepted()),
            300..=399 | 401 | 403..=407 | 410 | 415 => FailureKind::Invalid,
            413 => FailureKind::TooLarge,
            400..=499 if !matches!(self.status, 408 | 425 | 429) => FailureKind::Refused(vec![]),
            _ => FailureKind::Temporary { retry_after: self.retry_after },
        };
        Err(self.failure(kind))
    }

    /// Whether the body is nothing, or a JSON object without that member. A 200 with another body is
    /// the answer of something else, such as a proxy that wants a login, or tells an error.
    pub fn is_object_without(&self, member: &str) -> bool {
        let body = self.body.trim();
        body.is_empty()
            || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(body)
                .is_ok_and(|object| !object.contains_key(member))
    }

    /// Says that the destination took the events.
    pub fn accepted(self) -> Answer {
        Answer::new(self.body, Some(self.status))
    }

    /// A failure of that kind, in the words of the destination.
    pub fn failure(&self, kind: FailureKind) -> Failure {
        let said = self.body.trim();
        let space = if said.is_empty() { "" } else { ": " };
        let message = format!("HTTP status {}{space}{said}", self.status);
        Failure::new(kind, message, Some(self.status))
    }

    /// A failure that may pass, with the wait that the destination asked for.
    pub fn temporary(&self) -> Failure {
        self.failure(FailureKind::Temporary { retry_after: self.retry_after })
    }
}

/// The header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, which is compared to the
/// answer's own `Date`, so that the clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(header::RETRY_AFTER)?;
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = |text| OffsetDateTime::parse(text, &Rfc2822).ok();
        let wait = date(value)? - date(text(header::DATE)?)?;
        Duration::try_from(wait).unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// Compresses with gzip, for speed rather than size.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// [`gzip`] on a thread of its own, so that no other task waits for it.
pub async fn gzip_aside(bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let packed = tokio::task::spawn_blocking(move || gzip(&bytes)).await;
    packed.map_err(|error| Failure::temporary(format!("cannot be compressed: {error}")))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer { status, retry_after: Some(Duration::from_secs(3)), body: body.to_owned() }
    }

    #[test]
    fn a_status_says_what_a_failure_means() {
        for status in [200, 202, 204] {
            assert_eq!(answer(status, "").into_result().unwrap().http_status, Some(status));
        }
        let kind = |status| answer(status, "").into_result().unwrap_err().kind;
        for status in [301, 302, 307, 401, 403, 404, 405, 406, 407, 410, 415] {
            assert_eq!(kind(status), FailureKind::Invalid, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            let retry_after = Some(Duration::from_secs(3));
            assert_eq!(kind(status), FailureKind::Temporary { retry_after }, "{status}");
        }
        for status in [400, 402, 409, 422] {
            assert_eq!(kind(status), FailureKind::Refused(vec![]), "{status}");
        }
        assert_eq!(kind(413), FailureKind::TooLarge);
    }

    #[test]
    fn little_is_told_of_an_answer() {
        let failure = answer(400, &format!("a\r\nb{}", "é".repeat(5_000))).into_result();
        let message = failure.unwrap_err().message;
        assert!(message.starts_with("HTTP status 400: a  bé"), "{message}");
        assert!(message.len() <= super::super::TOLD_BYTES);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let noon = Some("Sun, 06 Nov 1994 12:00:00 GMT");
        assert_eq!(wait("120", None), Some(120));
        assert_eq!(wait("86400", None), Some(3_600));
        assert_eq!(wait("Sun, 06 Nov 1994 12:00:30 GMT", noon), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 11:00:00 GMT", noon), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 12:00:30 GMT", None), None);
        assert_eq!(wait("soon", noon), None);
    }

    #[test]
    fn gzip_is_read_back() {
        let text = b"an event, and another event".repeat(100);
        let packed = gzip(&text);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert!(packed.len() < text.len() && unpacked == text);
    }

    #[tokio::test]
    async fn an_address_in_a_url_is_checked() {
        let sender = HttpSender::new(&Egress::public(), "").unwrap();
        for url in [
            "http://127.0.0.1:9/?token=hidden",
            "https://[::1]/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::ffff:169.254.169.254]/",
            "https://localhost/?token=hidden",
        ] {
            let request = Request::new(Method::POST, url.parse().unwrap());
            let failure = sender.send(request).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Invalid, "{url}: {failure:?}");
            assert!(!failure.message.contains("hidden"), "{failure:?}");
        }
    }
}
