//! Buckets of Amazon S3 and of Google Cloud Storage, which speaks the same API: PutObject and nothing
//! else, signed, with the MD5 of what is stored, so that it works with Object Lock too. Objects are
//! named by what is in them: sent again, they replace themselves.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use md5::{Digest, Md5};
use reqwest::{
    Method, Request, Url,
    header::{HeaderName, HeaderValue},
};

use super::{
    LINGER, json_lines,
    layout::{BatchManifest, batch_key, event_key, write_pretty},
    or, sender, url_below,
};
use crate::{
    domain::{
        destination::{BucketLayout, GoogleCloudStorage, S3, Secrets},
        destination_check::is_region,
        ids::{LogStreamId, OrganizationId},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        aws::{AssumedRole, Signer, element, own_credentials, sign},
        http::{HttpAnswer, HttpSender, gzip_aside},
        payload::write_event,
    },
};

const PER_EVENT: BatchLimits = BatchLimits {
    events: 256,
    bytes: 4 * 1_024 * 1_024,
    event_bytes: 1_024 * 1_024,
    overhead: 0,
    linger: LINGER,
};
const PER_BATCH: BatchLimits = BatchLimits {
    events: 10_000,
    bytes: 8 * 1_024 * 1_024,
    event_bytes: 1_024 * 1_024,
    overhead: 1,
    linger: Duration::from_mins(1),
};
/// Files of events that are written at once.
const IN_FLIGHT: usize = 16;
const SEND_TIMEOUT: Duration = Duration::from_secs(55);

/// Sends to a bucket.
pub struct BucketSink {
    sender: HttpSender,
    signer: Signer,
    region: String,
    /// The bucket's URL, with what every object's name starts with, and a slash at the end.
    base: Url,
    layout: BucketLayout,
    by_day: bool,
    payload: PayloadForm,
    stream_id: LogStreamId,
    organization_id: OrganizationId,
}

impl BucketSink {
    /// A bucket of Amazon S3. An error is why the configuration cannot be used.
    pub fn s3(
        stream: &LogStream,
        config: &S3,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let region = or(&config.region, "us-east-1");
        // Streams of older versions may have any text.
        if !is_region(region) {
            return Err(format!("{region:?} is not a region"));
        }
        let (partition, domain) = partition(region);
        let amazon = format!("https://s3.{region}.{domain}");
        let endpoint = or(&config.endpoint, &amazon);
        let sender = sender(stream, secrets, egress)?;
        let signer = if config.role_name.is_empty() {
            Signer::key(&config.access_key_id, secrets.get("secret_access_key"))?
        } else {
            // The request is signed with the service's own credentials: never at a place that the
            // stream names.
            if !config.endpoint.is_empty() {
                return Err("endpoint must not be used with role_name".to_owned());
            }
            let url = url_below(&format!("https://sts.{region}.{domain}"), "/")?;
            let S3 { account_id, role_name, external_id, .. } = config;
            let arn = format!("arn:{partition}:iam::{account_id}:role/{role_name}");
            let own = own_credentials()?;
            let role = AssumedRole::new(sender.clone(), url, region, &arn, external_id, own);
            Signer::Role(Box::new(role))
        };
        let base = base(endpoint, &config.bucket, &config.path)?;
        Ok(Self {
            sender,
            signer,
            region: region.to_owned(),
            base,
            layout: config.layout,
            by_day: true,
            payload: stream.payload,
            stream_id: stream.id.clone(),
            organization_id: stream.organization_id.clone(),
        })
    }

    /// A bucket of Google Cloud Storage, with an HMAC key. An error is why the configuration cannot be
    /// used.
    pub fn google_cloud_storage(
        stream: &LogStream,
        config: &GoogleCloudStorage,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        let endpoint = or(&config.endpoint, "https://storage.googleapis.com");
        Ok(Self {
            sender: sender(stream, secrets, egress)?,
            signer: Signer::key(&config.access_key_id, secrets.get("secret_access_key"))?,
            region: "auto".to_owned(),
            base: base(endpoint, &config.bucket, &config.path)?,
            layout: config.layout,
            by_day: false,
            payload: stream.payload,
            stream_id: stream.id.clone(),
            organization_id: stream.organization_id.clone(),
        })
    }

    async fn put(&self, key: &str, media_type: &str, body: Bytes) -> Result<Answer, Failure> {
        let answer = self.try_put(key, media_type, body.clone(), false).await?;
        if self.signer.can_refresh()
            && matches!(element(&answer.body, "Code"), Some("ExpiredToken" | "InvalidToken"))
        {
            return judged(self.try_put(key, media_type, body, true).await?);
        }
        judged(answer)
    }

    async fn try_put(
        &self,
        key: &str,
        media_type: &str,
        body: Bytes,
        refresh: bool,
    ) -> Result<HttpAnswer, Failure> {
        let url = self.base.join(&encoded(key));
        let url = url.map_err(|error| Failure::invalid(error.to_string()))?;
        let mut request = Request::new(Method::PUT, url);
        let md5 = STANDARD.encode(Md5::digest(&body));
        for (name, value) in [("content-md5", &*md5), ("content-type", media_type)] {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|error| Failure::invalid(error.to_string()))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let credential = self.signer.credential(refresh).await?;
        sign(&mut request, &credential, "s3", &self.region, body)?;
        self.sender.send(request).await
    }

    async fn put_event(&self, event: &EncodedEvent) -> Result<Answer, Failure> {
        let body = Bytes::copy_from_slice(&event.bytes);
        self.put(&event_key(event, self.by_day), "application/json", body).await
    }

    async fn put_each(&self, batch: &[EncodedEvent]) -> Result<Answer, Failure> {
        let puts: Vec<_> = batch.iter().map(|event| self.put_event(event)).collect();
        let mut answers = stream::iter(puts).buffered(IN_FLIGHT);
        let mut last = Answer::default();
        while let Some(answer) = answers.try_next().await? {
            last = answer;
        }
        Ok(last)
    }

    async fn put_batch(&self, batch: &[EncodedEvent]) -> Result<Answer, Failure> {
        let lines = json_lines(batch);
        let key = batch_key(&self.organization_id, batch, &lines);
        let stored = Bytes::from(gzip_aside(lines).await?);
        let file = format!("{key}.ndjson.gz");
        let ids = (&self.stream_id, &self.organization_id);
        let manifest = BatchManifest::new(ids, &file, batch, &stored);
        let manifest = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Failure::temporary(error.to_string()))?;
        self.put(&file, "application/gzip", stored).await?;
        self.put(&format!("{key}.manifest.json"), "application/json", manifest.into()).await
    }
}

/// Name and domain of the part of Amazon's cloud that a region is in.
fn partition(region: &str) -> (&'static str, &'static str) {
    if region.starts_with("cn-") {
        ("aws-cn", "amazonaws.com.cn")
    } else if region.starts_with("us-gov-") {
        ("aws-us-gov", "amazonaws.com")
    } else {
        ("aws", "amazonaws.com")
    }
}

fn base(endpoint: &str, bucket: &str, path: &str) -> Result<Url, String> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    if parts.clone().any(|part| matches!(part, "." | "..")) {
        return Err("path must have no parts that are dots".to_owned());
    }
    let parts: Vec<_> = std::iter::once(bucket).chain(parts).map(encoded).collect();
    url_below(endpoint, &format!("/{}/", parts.join("/")))
}

/// A name as it stands in a URL and in what is signed: all but letters, digits and `-._~/` escaped.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 16);
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push('%');
            text.push_str(&hex::encode_upper([byte]));
        }
    }
    text
}

/// What an answer of S3 means (docs.aws.amazon.com, "Error responses"). What is put has one form, so
/// that a 400 that will not pass is about the bucket or the key it is signed with.
fn judged(answer: HttpAnswer) -> Result<Answer, Failure> {
    let code = element(&answer.body, "Code").unwrap_or_default();
    let kind = match (answer.status, code) {
        (_, "EntityTooLarge") => FailureKind::TooLarge,
        (400, "RequestTimeout" | "BadDigest" | "IncompleteBody")
        | (403, "RequestTimeTooSkewed")
        | (409, _) => {
            return Err(answer.temporary());
        }
        (400..=499, _) if !matches!(answer.status, 408 | 413 | 425 | 429) => FailureKind::Invalid,
        // Some compatible services say 200 before they know.
        (200..=299, code) if !code.is_empty() => return Err(answer.temporary()),
        _ => return answer.into_result(),
    };
    Err(answer.failure(kind))
}

#[async_trait]
impl Sink for BucketSink {
    fn limits(&self) -> BatchLimits {
        match self.layout {
            BucketLayout::FilePerEvent => PER_EVENT,
            BucketLayout::NdjsonGzip => PER_BATCH,
        }
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match self.layout {
            BucketLayout::FilePerEvent => {
                let mut compact = Vec::new();
                write_event(self.payload, event, &mut compact)?;
                write_pretty(&compact, out);
                Ok(())
            }
            BucketLayout::NdjsonGzip => write_event(self.payload, event, out),
        }
    }

    async fn send(&self, batch: &[EncodedEvent], _now: Timestamp) -> Result<Answer, Failure> {
        let sent = async {
            match self.layout {
                BucketLayout::FilePerEvent => self.put_each(batch).await,
                BucketLayout::NdjsonGzip => self.put_batch(batch).await,
            }
        };
        let late = || Failure::temporary("the bucket did not take everything in time");
        tokio::time::timeout(SEND_TIMEOUT, sent).await.unwrap_or_else(|_| Err(late()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::{secrets, stream};

    fn base_of(config: S3) -> Result<String, String> {
        crate::tls::install_provider();
        let config = S3 { bucket: "logs".to_owned(), access_key_id: "AKIA".to_owned(), ..config };
        let secrets = secrets(&[("secret_access_key", "secret")]);
        let sink = BucketSink::s3(&stream(), &config, &secrets, &Egress::public())?;
        Ok(sink.base.to_string())
    }

    #[test]
    fn a_bucket_has_its_url() {
        assert_eq!(base_of(S3::default()).unwrap(), "https://s3.us-east-1.amazonaws.com/logs/");
        let region = "cn-north-1".to_owned();
        let path = "/a b//ü/".to_owned();
        assert_eq!(
            base_of(S3 { region, path, ..S3::default() }).unwrap(),
            "https://s3.cn-north-1.amazonaws.com.cn/logs/a%20b/%C3%BC/"
        );
        let endpoint = "http://minio:9000/".to_owned();
        assert_eq!(base_of(S3 { endpoint, ..S3::default() }).unwrap(), "http://minio:9000/logs/");
        assert!(base_of(S3 { path: "a/../b".to_owned(), ..S3::default() }).is_err());
    }

    #[test]
    fn nothing_of_a_stream_leads_the_services_credentials_elsewhere() {
        let role = || S3 { role_name: "writer".to_owned(), ..S3::default() };
        assert_eq!(base_of(role()).unwrap(), "https://s3.us-east-1.amazonaws.com/logs/");
        let region = "evil.example/".to_owned();
        assert!(base_of(S3 { region: region.clone(), ..role() }).is_err());
        assert!(base_of(S3 { region, ..S3::default() }).is_err());
        let endpoint = "https://evil.example".to_owned();
        let error = base_of(S3 { endpoint, ..role() }).unwrap_err();
        assert!(error.contains("endpoint"), "{error}");
    }

    #[test]
    fn codes_of_s3_are_told_apart() {
        let kind = |status, code: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>x</Message></Error>");
            judged(HttpAnswer { status, retry_after: None, body }).unwrap_err().kind
        };
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (404, "NoSuchBucket"),
            (301, "PermanentRedirect"),
            (400, "AuthorizationHeaderMalformed"),
            (400, "InvalidRequest"),
        ] {
            assert_eq!(kind(status, code), FailureKind::Invalid, "{code}");
        }
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (400, "RequestTimeout"),
            (403, "RequestTimeTooSkewed"),
            (409, "OperationAborted"),
            (200, "InternalError"),
        ] {
            assert_eq!(kind(status, code), FailureKind::Temporary { retry_after: None }, "{code}");
        }
        assert_eq!(kind(400, "EntityTooLarge"), FailureKind::TooLarge);
        let taken = HttpAnswer { status: 200, retry_after: None, body: String::new() };
        assert!(judged(taken).is_ok());
    }
}
