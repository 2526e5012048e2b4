//! Buckets of Amazon S3 and of Google Cloud Storage, which speaks the same API: PutObject and nothing
//! else, signed, with the MD5 of what is stored, so that it works with Object Lock too. Objects are
//! named by what is in them: sent again, they replace themselves.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use md5::{Digest, Md5};
use rand::RngExt;
use reqwest::{
    Method, Request, Url,
    header::{HeaderName, HeaderValue},
};
use tokio::time::{Instant, timeout_at};

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
    // Four rounds of requests: a bucket that answers slowly takes them in time too.
    events: 64,
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
/// How long a send goes on: below the minute that it may.
const SEND_TIMEOUT: Duration = Duration::from_secs(55);
/// How often an object is put before the batch is given up, and the longest wait before the second time;
/// it doubles.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait that the bucket may ask for and that is not left to the worker.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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

    /// Puts an object, again if it fails in a way that may pass, as long as there is time.
    async fn put_again(
        &self,
        key: &str,
        media_type: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let late = || Failure::temporary("the bucket did not take everything in time");
        let mut tries = 1;
        loop {
            let put = timeout_at(deadline, self.put(key, media_type, body.clone())).await;
            let failure = match put.unwrap_or_else(|_| Err(late())) {
                Err(failure) if tries < TRIES => failure,
                done => return done,
            };
            let Some(wait) = wait(&failure.kind, tries) else { return Err(failure) };
            if Instant::now() + wait >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(wait).await;
            tries += 1;
        }
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

    async fn put_event(&self, event: &EncodedEvent, deadline: Instant) -> Result<Answer, Failure> {
        let body = Bytes::copy_from_slice(&event.bytes);
        let key = event_key(event, self.by_day);
        self.put_again(&key, "application/json", body, deadline).await
    }

    /// A failure tells how many of the first events have their files.
    async fn put_each(&self, batch: &[EncodedEvent], deadline: Instant) -> Result<Answer, Failure> {
        let puts: Vec<_> = batch.iter().map(|event| self.put_event(event, deadline)).collect();
        let mut answers = stream::iter(puts).buffered(IN_FLIGHT).enumerate();
        let mut last = Answer::default();
        while let Some((taken, answer)) = answers.next().await {
            last = answer.map_err(|failure| Failure { taken, ..failure })?;
        }
        Ok(last)
    }

    async fn put_batch(
        &self,
        batch: &[EncodedEvent],
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let lines = json_lines(batch);
        let key = batch_key(&self.organization_id, batch, &lines);
        let stored = Bytes::from(gzip_aside(lines).await?);
        let file = format!("{key}.ndjson.gz");
        let ids = (&self.stream_id, &self.organization_id);
        let manifest = BatchManifest::new(ids, &file, batch, &stored);
        let manifest = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Failure::temporary(error.to_string()))?;
        self.put_again(&file, "application/gzip", stored, deadline).await?;
        let file = format!("{key}.manifest.json");
        self.put_again(&file, "application/json", manifest.into(), deadline).await
    }
}

/// How long to wait before an object is put again after so many tries: exponential with full jitter, or as
/// long as the bucket asks for. `None` if that is the worker's to do.
fn wait(kind: &FailureKind, tries: u32) -> Option<Duration> {
    let FailureKind::Temporary { retry_after } = kind else { return None };
    let jittered = (FIRST_WAIT * (1 << tries.saturating_sub(1))).mul_f64(rand::rng().random());
    let wait = retry_after.unwrap_or_default().max(jittered);
    (wait <= LONGEST_WAIT).then_some(wait)
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
        let deadline = Instant::now() + SEND_TIMEOUT;
        match self.layout {
            BucketLayout::FilePerEvent => self.put_each(batch, deadline).await,
            BucketLayout::NdjsonGzip => self.put_batch(batch, deadline).await,
        }
    }
}

#[cfg(test)]
mod tests;
