//! Apache Kafka: a record for each event, acknowledged by all in-sync replicas. Its key is the
//! organization, its value the event as JSON, its headers are `event_id` and `sequence`.
//!
//! The partition is the one that Kafka's own clients choose for that key, so a log lies in one
//! partition, in order. A batch that was stored although its acknowledgement got lost is stored
//! again: the client has no idempotent producer; `event_id` tells repetitions apart.
//!
//! A record has the time at which it is sent. Kafka deletes by the time of records and refuses those
//! of the future, so with the time of the event a replay of last year's log would be deleted before
//! it is read.
//!
//! Every broker, those that brokers tell of too, is dialled by [`socks`], which knows where the
//! stream may go.

mod socks;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use rskafka::{
    BackoffConfig,
    chrono::DateTime,
    client::{
        ClientBuilder, Credentials, SaslConfig,
        error::{Error as KafkaError, ProtocolError},
        partition::{Compression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use rustls::ClientConfig;
use tokio::{sync::Mutex, time::timeout};

use self::socks::Dialler;
use crate::{
    domain::{
        destination::{self, Secrets},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink,
        payload,
    },
    tls,
};

/// How long the client may try again by itself: the worker waits better, and says so.
const CLIENT_RETRIES: Duration = Duration::from_secs(3);
/// Below the 1,048,588 bytes that a broker takes in a batch by default (`message.max.bytes`).
const BATCH_BYTES: usize = 1_000_000;
const BATCH_EVENTS: usize = 5_000;
/// Key, headers and lengths of a record.
const RECORD_BYTES: usize = 256;
/// Most bytes of an answer of a broker, which may be anybody; that with the metadata of a cluster of many
/// thousand partitions is the largest.
const ANSWER_BYTES: usize = 8 * 1_024 * 1_024;

/// A topic.
pub struct KafkaSink {
    bootstrap_servers: Vec<String>,
    topic: String,
    key: String,
    tls: Option<Arc<ClientConfig>>,
    credentials: Option<SaslConfig>,
    egress: Egress,
    form: PayloadForm,
    producer: Mutex<Option<Producer>>,
}

/// A connection to the leader of the partition.
struct Producer {
    partition: PartitionClient,
    /// What the connection goes through.
    dialler: Dialler,
}

impl KafkaSink {
    /// For a stream. An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &destination::Kafka,
        secrets: &Secrets,
        egress: &Egress,
    ) -> Result<Self, String> {
        if config.bootstrap_servers.is_empty() || config.topic.is_empty() {
            return Err("bootstrap_servers and topic are needed".to_owned());
        }
        let tls = if config.tls {
            Some(Arc::new(tls::client_config(&stream.ca_certificates_pem)?))
        } else {
            None
        };
        let credentials = (!config.username.is_empty()).then(|| {
            let password = secrets.get("password").to_owned();
            SaslConfig::Plain(Credentials::new(config.username.clone(), password))
        });
        Ok(Self {
            bootstrap_servers: config.bootstrap_servers.clone(),
            topic: config.topic.clone(),
            key: stream.organization_id.to_string(),
            tls,
            credentials,
            egress: egress.clone(),
            form: stream.payload,
            producer: Mutex::new(None),
        })
    }

    async fn connect(&self) -> Result<Producer, Failure> {
        let dialler = Dialler::start(self.egress.clone()).await;
        let dialler = dialler.map_err(|error| Failure::temporary(error.to_string()))?;
        let failed = |error: KafkaError| failure(&error, dialler.last_failure());
        let mut builder = ClientBuilder::new(self.bootstrap_servers.clone())
            .client_id("audit-logs")
            .max_message_size(ANSWER_BYTES)
            .socks5_proxy(dialler.address().to_string())
            .backoff_config(BackoffConfig {
                max_backoff: Duration::from_secs(1),
                deadline: Some(CLIENT_RETRIES),
                ..BackoffConfig::default()
            });
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone());
        }
        if let Some(credentials) = &self.credentials {
            builder = builder.sasl_config(credentials.clone());
        }
        let client = builder.build().await.map_err(failed)?;
        let topics = client.list_topics().await.map_err(failed)?;
        let topic = topics.into_iter().find(|topic| topic.name == self.topic);
        let topic = topic.ok_or_else(|| {
            Failure::invalid(format!("there is no topic {:?}, or it may not be seen", self.topic))
        })?;
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX).max(1);
        let partition = partition_of(self.key.as_bytes(), partitions);
        let unknown = UnknownTopicHandling::Error;
        let partition = client.partition_client(&self.topic, partition, unknown);
        let partition = partition.await.map_err(failed)?;
        Ok(Producer { partition, dialler })
    }

    async fn deliver(&self, batch: &[EncodedEvent], now: Timestamp) -> Result<Answer, Failure> {
        // Whatever goes wrong from here on, the next batch makes a new connection.
        let mut slot = self.producer.lock().await;
        let producer = match slot.take() {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let timestamp = DateTime::from_timestamp_micros(now.micros()).unwrap_or_default();
        let records = batch.iter().map(|event| Record {
            key: Some(self.key.clone().into_bytes()),
            value: Some(event.bytes.clone()),
            headers: BTreeMap::from([
                ("event_id".to_owned(), event.event_id.clone().into_bytes()),
                ("sequence".to_owned(), event.sequence.to_string().into_bytes()),
            ]),
            timestamp,
        });
        let offsets = producer.partition.produce(records.collect(), Compression::NoCompression);
        let offsets =
            offsets.await.map_err(|error| failure(&error, producer.dialler.last_failure()))?;
        producer.dialler.forget_failure();
        let (partition, first) = (producer.partition.partition(), offsets.first().copied());
        *slot = Some(producer);
        let text = format!("partition {partition}, offset {}", first.unwrap_or_default());
        Ok(Answer::new(text, None))
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: BATCH_EVENTS,
            bytes: BATCH_BYTES,
            event_bytes: BATCH_BYTES - RECORD_BYTES,
            overhead: RECORD_BYTES,
            // A batch costs little more than its bytes; meanwhile the next one gathers.
            linger: Duration::ZERO,
        }
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        payload::write_event(self.form, event, out)
    }

    async fn send(&self, batch: &[EncodedEvent], now: Timestamp) -> Result<Answer, Failure> {
        let sent = timeout(self.egress.request_timeout(), self.deliver(batch, now)).await;
        sent.unwrap_or_else(|_| Err(Failure::temporary("no acknowledgement in time")))
    }
}

/// What an error of the client means. Why a broker was not dialled says more than an error that may pass,
/// and less than a broker that says what will never pass.
fn failure(error: &KafkaError, not_dialled: Option<(bool, String)>) -> Failure {
    let said = said(error);
    match not_dialled {
        Some((may_pass, message)) if matches!(said.kind, FailureKind::Temporary { .. }) => {
            if may_pass {
                Failure::temporary(message)
            } else {
                Failure::invalid(message)
            }
        }
        _ => said,
    }
}

/// What an error of the client means by itself.
fn said(error: &KafkaError) -> Failure {
    let KafkaError::ServerError { protocol_error, .. } = error else {
        let message = error.to_string();
        // The client has no type for it once it has tried twice.
        let is_refused = message.contains("Sasl handshake failed: API error");
        return if is_refused { Failure::invalid(message) } else { Failure::temporary(message) };
    };
    let kind = match protocol_error {
        ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge => FailureKind::TooLarge,
        ProtocolError::InvalidRecord | ProtocolError::PolicyViolation => {
            FailureKind::Refused(vec![])
        }
        ProtocolError::TopicAuthorizationFailed
        | ProtocolError::ClusterAuthorizationFailed
        | ProtocolError::InvalidTopicException
        | ProtocolError::SaslAuthenticationFailed => FailureKind::Invalid,
        _ => FailureKind::Temporary { retry_after: None },
    };
    Failure::new(kind, format!("the broker says {protocol_error:?}"), None)
}

/// The partition of a key, as Kafka's own clients choose it (`BuiltInPartitioner.partitionForKey`).
fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive).unwrap_or(0) % partitions
}

/// MurmurHash2 with the seed that Kafka has (`org.apache.kafka.common.utils.Utils`).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = SEED ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test of its hash (`UtilsTest.testMurmur2`).
    #[test]
    fn keys_are_hashed_as_kafka_does() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert!((0..50).contains(&partition_of(b"org_acme", 50)));
    }

    #[test]
    fn the_broker_says_what_is_wrong() {
        let error = |protocol_error| KafkaError::ServerError {
            protocol_error,
            error_message: None,
            request: rskafka::client::error::RequestContext::Topic("audit".to_owned()),
            response: None,
            is_virtual: false,
        };
        let kind = |protocol_error| failure(&error(protocol_error), None).kind;
        let temporary = FailureKind::Temporary { retry_after: None };
        assert_eq!(kind(ProtocolError::MessageTooLarge), FailureKind::TooLarge);
        assert_eq!(kind(ProtocolError::TopicAuthorizationFailed), FailureKind::Invalid);
        assert_eq!(kind(ProtocolError::NotEnoughReplicas), temporary);
        assert_eq!(failure(&KafkaError::Timeout, None).kind, temporary);
        // Some other broker was not reached before.
        let with = |protocol_error| {
            failure(&error(protocol_error), Some((false, "b:9092: refused".to_owned()))).kind
        };
        assert_eq!(with(ProtocolError::MessageTooLarge), FailureKind::TooLarge);
        assert_eq!(with(ProtocolError::InvalidRecord), FailureKind::Refused(vec![]));
        assert_eq!(with(ProtocolError::NotLeaderOrFollower), FailureKind::Invalid);
    }
}
