//! Where a log stream sends events: what an operator configures, apart from the secrets.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

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
    pub const fn secret_names(&self) -> &'static [&'static str] {
        match self {
            Self::Datadog(_) => &["api_key"],
            Self::Splunk(_) => &["hec_token"],
            Self::AzureSentinel(_) => &["client_secret"],
            Self::S3(_) | Self::GoogleCloudStorage(_) => &["secret_access_key"],
            Self::Snowflake(_) => &["private_key_pem", "private_key_passphrase"],
            Self::GenericHttps(_) => &["signing_secret"],
            Self::Kafka(_) => &["password"],
            Self::Syslog(_) | Self::Otlp(_) => &[],
        }
    }

    /// How old an event may be by its own account for the destination to take it as dated so; `None` where
    /// that does not matter. Datadog's documentation ("Send logs") has 18 hours.
    pub const fn max_age(&self) -> Option<Duration> {
        match self {
            Self::Datadog(_) => Some(Duration::from_hours(18)),
            _ => None,
        }
    }

    /// Where it sends, as far as that is configured by URLs and names of hosts. Secrets belong to such a
    /// place: who changes it must know them.
    pub fn addresses(&self) -> Vec<&str> {
        match self {
            Self::Datadog(datadog) => vec![&datadog.region, &datadog.endpoint],
            Self::Splunk(splunk) => vec![&splunk.url],
            Self::AzureSentinel(sentinel) => {
                vec![&sentinel.data_collection_endpoint, &sentinel.authority_url]
            }
            Self::S3(s3) => vec![&s3.endpoint],
            Self::GoogleCloudStorage(storage) => vec![&storage.endpoint],
            Self::Snowflake(snowflake) => vec![&snowflake.account_url],
            Self::GenericHttps(https) => vec![&https.url],
            Self::Syslog(syslog) => vec![&syslog.host],
            Self::Otlp(otlp) => vec![&otlp.endpoint],
            Self::Kafka(kafka) => kafka.bootstrap_servers.iter().map(String::as_str).collect(),
        }
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

/// The secrets of a destination by the name of their field (`api_key`), or by [`header_secret`]. Never
/// logged and never told: `Debug` hides the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Zeroizing<String>>);

/// Name under which the value of a header is kept; header names are case-insensitive (RFC 9110, section
/// 5.1).
pub fn header_secret(name: &str) -> String {
    format!("header:{}", name.to_ascii_lowercase())
}

impl Secrets {
    /// The secret with that name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.as_str())
    }

    /// Sets a secret; an empty one is none.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.insert(name.into(), Zeroizing::new(value));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Only those of these that the destination has.
    #[must_use]
    pub fn of(mut self, destination: &Destination) -> Self {
        let headers: Vec<_> =
            destination.headers().iter().map(|name| header_secret(name)).collect();
        let names = destination.secret_names();
        self.0.retain(|name, _| names.contains(&name.as_str()) || headers.contains(name));
        self
    }

    /// These, and those of `older` that are not among them.
    #[must_use]
    pub fn or(mut self, older: &Self) -> Self {
        for (name, value) in &older.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

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
