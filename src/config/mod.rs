//! Settings: flag, then environment, then `audit-logs.toml`, then default.

mod callers;
mod cors;
mod forwarding;
mod limits;
mod sources;
mod streams;
mod telemetry;
mod tls;

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    callers::{KeySettings, SystemLogSettings},
    cors::CorsSettings,
    forwarding::{LogStreamSettings, SecretSettings},
    limits::LimitSettings,
    sources::{Flags, SettingsError, load},
    streams::StreamSettings,
    telemetry::MetricsSettings,
    tls::TlsSettings,
};

/// Every setting that a server has. The names here are the keys of the file; an environment
/// variable is `AUDIT_LOGS_`, the key in upper case, `_` for a dot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Directory of the SQLite file and of local exports.
    pub data_dir: PathBuf,
    /// `sqlite://path` or `postgres://...`; SQLite in the data directory if absent.
    pub database_url: Option<Secret>,
    /// Value of a key that the default environment has, with every scope.
    pub bootstrap_api_key: Option<Secret>,
    /// Where export files go; a directory in the data directory if absent.
    pub export_url: Option<String>,
    /// Base of links that are handed out; the listening address if absent.
    pub public_url: Option<String>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// The key that signs checkpoints: PKCS#8 PEM; a file in the data directory if absent.
    pub signing_key_file: Option<PathBuf>,
    /// What the origin of every checkpoint starts with.
    pub log_name: String,
    /// The database.
    pub database: DatabaseSettings,
    /// The lanes that write events.
    pub lanes: LaneSettings,
    /// Organizations.
    pub organizations: OrganizationSettings,
    /// Actions.
    pub actions: ActionSettings,
    /// Events.
    pub events: EventSettings,
    /// Idempotency keys.
    pub idempotency: IdempotencySettings,
    /// Exports.
    pub exports: ExportSettings,
    /// Streams of events.
    pub streams: StreamSettings,
    /// Retention.
    pub retention: RetentionSettings,
    /// The REST API.
    pub rest: RestSettings,
    /// Browsers.
    pub cors: CorsSettings,
    /// Log streams.
    pub log_streams: LogStreamSettings,
    /// Secrets of destinations.
    pub secrets: SecretSettings,
    /// TLS on the listener.
    pub tls: TlsSettings,
    /// Whether to listen without TLS beyond loopback.
    pub insecure_plaintext: bool,
    /// What connections and calls may take.
    pub limits: LimitSettings,
    /// Metrics.
    pub metrics: MetricsSettings,
    /// The system log.
    pub system_log: SystemLogSettings,
    /// API keys.
    pub keys: KeySettings,
    /// Proxies whose `X-Forwarded-For` is taken: addresses or networks, separated by commas.
    pub trusted_proxies: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50_051)),
            data_dir: PathBuf::from("./data"),
            database_url: None,
            bootstrap_api_key: None,
            export_url: None,
            public_url: None,
            log_format: LogFormat::default(),
            signing_key_file: None,
            log_name: "audit-logs".to_owned(),
            database: DatabaseSettings::default(),
            lanes: LaneSettings::default(),
            organizations: OrganizationSettings::default(),
            actions: ActionSettings::default(),
            events: EventSettings::default(),
            idempotency: IdempotencySettings::default(),
            exports: ExportSettings::default(),
            streams: StreamSettings::default(),
            retention: RetentionSettings::default(),
            rest: RestSettings::default(),
            cors: CorsSettings::default(),
            log_streams: LogStreamSettings::default(),
            secrets: SecretSettings::default(),
            tls: TlsSettings::default(),
            insecure_plaintext: false,
            limits: LimitSettings::default(),
            metrics: MetricsSettings::default(),
            system_log: SystemLogSettings::default(),
            keys: KeySettings::default(),
            trusted_proxies: String::new(),
        }
    }
}

const MOST_EXPORT_WORKERS: u32 = 16;
const MOST_LANES: u32 = 64;
const LEAST_QUEUE_BYTES: u32 = 32 * 1_024 * 1_024;
const LEAST_BODY_BYTES: u32 = 1_024;
const MOST_BODY_BYTES: u32 = 32 * 1_024 * 1_024;

/// A text that `Debug` hides.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// The database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    /// Most connections to PostgreSQL, or readers of SQLite.
    pub max_connections: u32,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self { max_connections: 10 }
    }
}

/// The lanes that write events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaneSettings {
    /// How many, each with a connection of its own; 0 means as many as there are processors, at
    /// least 2 and at most 8. SQLite has one writer at a time and always gets one lane.
    pub count: u32,
    /// Most events that wait in one lane or are being written.
    pub queue_events: u32,
    /// Most bytes that they take.
    pub queue_bytes: u32,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self { count: 0, queue_events: 20_000, queue_bytes: 64 * 1_024 * 1_024 }
    }
}

/// Organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrganizationSettings {
    /// Whether the first event of an unknown organization registers it.
    pub auto_register: bool,
}

impl Default for OrganizationSettings {
    fn default() -> Self {
        Self { auto_register: true }
    }
}

/// Actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActionSettings {
    /// Whether an action must have a schema before its events are taken.
    pub require_schema: bool,
}

impl Default for ActionSettings {
    fn default() -> Self {
        Self { require_schema: true }
    }
}

/// Events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventSettings {
    /// Whether targets of undeclared types are refused and every declared one must fit.
    pub strict_targets: bool,
}

/// Idempotency keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdempotencySettings {
    /// How long a key counts.
    pub window_seconds: u32,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self { window_seconds: 86_400 }
    }
}

/// Exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportSettings {
    /// Whether a CSV cell that a spreadsheet would run is prefixed with `'`.
    pub csv_formula_guard: bool,
    /// For how many days files are kept.
    pub retention_days: u32,
    /// How many exports a replica writes at once.
    pub workers: u32,
    /// For how many seconds a bucket that fails or does not answer is asked again, before the attempt
    /// at the export fails.
    pub store_patience_seconds: u32,
    /// Whether links are the bucket's own, where it signs them. They must be of use to those who get
    /// them: a bucket that only the service can reach needs `false`.
    pub presigned_urls: bool,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            csv_formula_guard: true,
            retention_days: 30,
            workers: 2,
            store_patience_seconds: 60,
            presigned_urls: true,
        }
    }
}

/// Retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// For how many days events are kept where the organization says nothing.
    pub default_days: u32,
    /// How many seconds after the end of one sweep for events that are past their retention the next
    /// one begins.
    pub sweep_interval_seconds: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { default_days: 365, sweep_interval_seconds: 3_600 }
    }
}

/// The REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestSettings {
    /// Most bytes of a request's body.
    pub max_body_bytes: u32,
    /// Whether an expired export is told as `error`, for SDKs that do not know `expired`.
    pub expired_as_error: bool,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self { max_body_bytes: 1_024 * 1_024, expired_as_error: false }
    }
}

impl Settings {
    /// The database's URL.
    pub fn database_url(&self) -> String {
        match &self.database_url {
            Some(url) => url.reveal().to_owned(),
            None => format!("sqlite://{}", self.data_dir.join("audit-logs.db").display()),
        }
    }

    /// Where export files go. The data directory must exist.
    pub fn export_url(&self) -> Result<String, SettingsError> {
        if let Some(url) = &self.export_url {
            return Ok(url.clone());
        }
        let directory = std::path::absolute(self.data_dir.join("exports"));
        let directory =
            directory.map_err(|error| SettingsError::impossible("data_dir", &error.to_string()))?;
        let url = reqwest::Url::from_file_path(&directory)
            .map_err(|()| SettingsError::impossible("data_dir", "it is no path"))?;
        Ok(url.into())
    }

    /// Whether every value can be used.
    fn validate(&self) -> Result<(), SettingsError> {
        let impossible = |key, why| Err(SettingsError::impossible(key, why));
        if let Some(url) = &self.public_url {
            let parsed = reqwest::Url::parse(url);
            if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                return impossible("public_url", "it must be an http:// or https:// URL");
            }
        }
        if let Some(key) = &self.bootstrap_api_key
            && crate::domain::api_key::KeyValue::from_operator(key.reveal()).is_none()
        {
            let why = "it must be sk_ and at least 32 letters, digits or underscores";
            return impossible("bootstrap_api_key", why);
        }
        if !crate::merkle::is_key_name(&self.log_name) {
            let why = "it must not be empty nor have white space, control characters or a +";
            return impossible("log_name", why);
        }
        if self.lanes.count > MOST_LANES {
            return impossible("lanes.count", "it must be at most 64");
        }
        // A batch of the greatest size must find room in an empty queue.
        if self.lanes.queue_events < 1_000 {
            return impossible("lanes.queue_events", "it must be at least 1000");
        }
        if self.lanes.queue_bytes < LEAST_QUEUE_BYTES {
            return impossible("lanes.queue_bytes", "it must be at least 33554432 (32 MiB)");
        }
        if self.database.max_connections < 2 {
            return impossible("database.max_connections", "it must be at least 2");
        }
        if self.exports.retention_days == 0 {
            return impossible("exports.retention_days", "it must be at least 1");
        }
        if let Some(name) = self.streams.zero() {
            return impossible(name, "it must be at least 1");
        }
        if !(1..=MOST_EXPORT_WORKERS).contains(&self.exports.workers) {
            return impossible("exports.workers", "it must be 1 to 16");
        }
        if self.exports.store_patience_seconds == 0 {
            return impossible("exports.store_patience_seconds", "it must be at least 1");
        }
        if self.retention.default_days == 0 {
            return impossible("retention.default_days", "it must be at least 1");
        }
        if self.retention.sweep_interval_seconds == 0 {
            return impossible("retention.sweep_interval_seconds", "it must be at least 1");
        }
        if !(LEAST_BODY_BYTES..=MOST_BODY_BYTES).contains(&self.rest.max_body_bytes) {
            return impossible("rest.max_body_bytes", "it must be 1024 to 33554432 (32 MiB)");
        }
        self.cors.validate()?;
        self.tls.validate()?;
        self.limits.validate()?;
        self.log_streams.validate()
    }
}
