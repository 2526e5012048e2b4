//! Where a log stream sends events: what an operator configures, apart from the secrets.

mod secrets;

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::secrets::{Secrets, header_secret};

/// A destination without its secrets. Its JSON is what the database holds, and, with `type` and `config`,
/// what the REST API takes and tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "config")]
pub enum Destination {
    /// Datadog's log intake.
    Datadog(Datadog),
    /// Splunk's HTTP Event Collector.
    Splunk(Splunk),
    /// Microsoft Sentinel through the Logs Ingestion API.
    AzureSentinel(AzureSentinel),
    /// A bucket of Amazon S3, or of what speaks its API.
    S3(S3),
    /// A bucket of Google Cloud Storage, with an HMAC key.
    GoogleCloudStorage(GoogleCloudStorage),
    /// A table in Snowflake.
    Snowflake(Snowflake),
    /// Any receiver of HTTPS requests.
    GenericHttps(GenericHttps),
    /// RFC 5424 over TLS.
    Syslog(Syslog),
    /// OTLP over HTTP.
    Otlp(Otlp),
    /// A topic of Apache Kafka.
    Kafka(Kafka),
}

impl Destination {
    /// The name of its kind, as WorkOS has it where it has the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Datadog(_) => "Datadog",
            Self::Splunk(_) => "Splunk",
            Self::AzureSentinel(_) => "AzureSentinel",
            Self::S3(_) => "S3",
            Self::GoogleCloudStorage(_) => "GoogleCloudStorage",
            Self::Snowflake(_) => "Snowflake",
            Self::GenericHttps(_) => "GenericHttps",
            Self::Syslog(_) => "Syslog",
            Self::Otlp(_) => "Otlp",
            Self::Kafka(_) => "Kafka",
        }
    }
}

impl Destination {
    /// The name of its field in the contract.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Datadog(_) => "datadog",
            Self::Splunk(_) => "splunk",
            Self::AzureSentinel(_) => "azure_sentinel",
            Self::S3(_) => "s3",
            Self::GoogleCloudStorage(_) => "google_cloud_storage",
            Self::Snowflake(_) => "snowflake",
            Self::GenericHttps(_) => "generic_https",
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
            Self::Kafka(_) => "kafka",
        }
    }

    /// The names of its secrets that are fields of their own; headers have theirs beside.
    pub fn secret_names(&self) -> impl Iterator<Item = &'static str> {
        let kind = self.kind();
        SECRETS.iter().filter(move |(of, _)| *of == kind).map(|(_, name)| *name)
    }

    /// The names of the secrets of every kind that are fields of their own.
    pub fn all_secret_names() -> impl Iterator<Item = &'static str> {
        SECRETS.iter().map(|(_, name)| *name)
    }

    /// How old an event may be by its own account for the destination to take it as dated so; `None` where
    /// that does not matter. Datadog's documentation ("Send logs") has 18 hours.
    pub const fn max_age(&self) -> Option<Duration> {
        match self {
            Self::Datadog(_) => Some(Duration::from_hours(18)),
            _ => None,
        }
    }

    /// Where it sends, as far as that is configured by URLs and hosts, and whether anybody between can
    /// read it. Secrets belong to such a place: who changes it must know them.
    pub fn addresses(&self) -> Vec<Cow<'_, str>> {
        let texts: &[&String] = match self {
            Self::Datadog(datadog) => &[&datadog.region, &datadog.endpoint],
            Self::Splunk(splunk) => &[&splunk.url],
            Self::AzureSentinel(sentinel) => {
                &[&sentinel.data_collection_endpoint, &sentinel.authority_url]
            }
            Self::S3(s3) => &[&s3.endpoint],
            Self::GoogleCloudStorage(storage) => &[&storage.endpoint],
            Self::Snowflake(snowflake) => &[&snowflake.account_url],
            Self::GenericHttps(https) => &[&https.url],
            Self::Otlp(otlp) => &[&otlp.endpoint],
            Self::Syslog(syslog) => {
                return vec![syslog.host.as_str().into(), syslog.port.to_string().into()];
            }
            Self::Kafka(kafka) => {
                let servers = kafka.bootstrap_servers.iter().map(|server| server.as_str().into());
                return servers.chain([kafka.tls.to_string().into()]).collect();
            }
        };
        texts.iter().map(|text| text.as_str().into()).collect()
    }

    /// The names of its further headers.
    pub fn headers(&self) -> &[String] {
        match self {
            Self::GenericHttps(https) => &https.headers,
            Self::Otlp(otlp) => &otlp.headers,
            _ => &[],
        }
    }
}

/// The secrets that are fields of their own, by kind.
const SECRETS: [(&str, &str); 9] = [
    ("Datadog", "api_key"),
    ("Splunk", "hec_token"),
    ("AzureSentinel", "client_secret"),
    ("S3", "secret_access_key"),
    ("GoogleCloudStorage", "secret_access_key"),
    ("Snowflake", "private_key_pem"),
    ("Snowflake", "private_key_passphrase"),
    ("GenericHttps", "signing_secret"),
    ("Kafka", "password"),
];

/// Datadog. Secret: `api_key`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Datadog {
    /// Name of the site, such as `US1`; may be empty if `endpoint` is not.
    pub region: String,
    /// Value of `ddsource`; empty for `audit-logs`.
    pub source: String,
    /// URL of the intake in place of the region's.
    pub endpoint: String,
}

/// How a request to Splunk holds several events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplunkEncoding {
    /// Objects one after the other, `time` in seconds.
    #[default]
    Concatenated,
    /// A JSON array, `time` in milliseconds.
    Array,
}

/// Splunk. Secret: `hec_token`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Splunk {
    /// URL of the collector; without a path the usual one is meant.
    pub url: String,
    /// Value of `source`; empty for `audit-logs`.
    pub source: String,
    /// Value of `sourcetype`; empty for none.
    pub sourcetype: String,
    /// The index; empty for the token's own.
    pub index: String,
    /// How a request holds several events.
    pub encoding: SplunkEncoding,
    /// Whether events count as delivered only once they are indexed.
    pub indexer_acknowledgement: bool,
}

/// Microsoft Sentinel. Secret: `client_secret`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureSentinel {
    /// Directory (tenant) id.
    pub tenant_id: String,
    /// Application (client) id.
    pub client_id: String,
    /// URL of the data collection endpoint.
    pub data_collection_endpoint: String,
    /// Immutable id of the data collection rule.
    pub data_collection_rule_id: String,
    /// Name of the stream in the rule.
    pub stream_name: String,
    /// URL of the authority; empty for the public cloud's.
    pub authority_url: String,
    /// Scope of tokens; empty for the public cloud's.
    pub token_scope: String,
}

/// How events become objects of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketLayout {
    /// One JSON file per event.
    #[default]
    FilePerEvent,
    /// One gzip file of JSON lines per batch, and a manifest beside it.
    NdjsonGzip,
}

/// Amazon S3. Secret: `secret_access_key`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// The region; empty for `us-east-1`.
    pub region: String,
    /// What every object's name starts with.
    pub path: String,
    /// Account of the role.
    pub account_id: String,
    /// The role that is assumed; empty where there is an access key.
    pub role_name: String,
    /// What the role's trust policy asks for; made by the service.
    pub external_id: String,
    /// Id of an access key; empty where there is a role.
    pub access_key_id: String,
    /// How events become objects.
    pub layout: BucketLayout,
    /// URL of an S3-compatible service; empty for Amazon's own.
    pub endpoint: String,
}

/// Google Cloud Storage. Secret: `secret_access_key`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoogleCloudStorage {
    /// The bucket.
    pub bucket: String,
    /// Access id of the HMAC key.
    pub access_key_id: String,
    /// What every object's name starts with.
    pub path: String,
    /// How events become objects.
    pub layout: BucketLayout,
    /// URL of the service; empty for Google's own.
    pub endpoint: String,
}

/// Snowflake. Secrets: `private_key_pem`, `private_key_passphrase`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snowflake {
    /// URL of the account.
    pub account_url: String,
    /// The user.
    pub username: String,
    /// The warehouse.
    pub warehouse: String,
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The role; empty for the user's own.
    pub role: String,
}

/// How a request to an HTTPS receiver holds several events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpsFormat {
    /// A JSON array.
    #[default]
    Json,
    /// A JSON object a line.
    Ndjson,
}

/// Any HTTPS receiver. Secrets: `signing_secret`, and [`header_secret`] of each header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenericHttps {
    /// Where to POST.
    pub url: String,
    /// Names of further headers.
    pub headers: Vec<String>,
    /// How a request holds several events.
    pub format: HttpsFormat,
    /// Value of `source`; empty for none.
    pub source: String,
    /// Whether bodies are compressed with gzip.
    pub gzip: bool,
}

/// What a syslog message says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogFormat {
    /// The event as JSON.
    #[default]
    Json,
    /// The Common Event Format.
    Cef,
}

/// Syslog over TLS. No secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Syslog {
    /// The host.
    pub host: String,
    /// The port; 0 for 6514.
    pub port: u16,
    /// What the message says.
    pub format: SyslogFormat,
    /// Value of APP-NAME; empty for `audit-logs`.
    pub app_name: String,
}

/// OTLP over HTTP. Secrets: [`header_secret`] of each header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// Where to POST; without a path `/v1/logs` is meant.
    pub endpoint: String,
    /// Names of further headers.
    pub headers: Vec<String>,
}

/// Apache Kafka. Secret: `password`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Brokers to begin with, `host:port`.
    pub bootstrap_servers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// Whether connections use TLS.
    pub tls: bool,
    /// User of SASL/PLAIN; empty for no SASL.
    pub username: String,
}
