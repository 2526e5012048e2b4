//! Where settings come from, and what is said when they cannot be used.

use std::path::{Path, PathBuf};

use clap::Args;
use figment::{
    Figment, Profile,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};
use serde::Serialize;
use thiserror::Error;

use super::{LogFormat, Settings};

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "audit-logs.toml";
/// What the name of every environment variable of ours starts with.
const PREFIX: &str = "AUDIT_LOGS_";

/// How the text of a variable is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Number,
    Boolean,
}

/// The key of each setting.
const KEYS: [(&str, Form); 62] = [
    ("listen", Form::Text),
    ("data_dir", Form::Text),
    ("database_url", Form::Text),
    ("bootstrap_api_key", Form::Text),
    ("export_url", Form::Text),
    ("public_url", Form::Text),
    ("log_format", Form::Text),
    ("signing_key_file", Form::Text),
    ("log_name", Form::Text),
    ("database.max_connections", Form::Number),
    ("lanes.count", Form::Number),
    ("lanes.queue_events", Form::Number),
    ("lanes.queue_bytes", Form::Number),
    ("organizations.auto_register", Form::Boolean),
    ("actions.require_schema", Form::Boolean),
    ("events.strict_targets", Form::Boolean),
    ("idempotency.window_seconds", Form::Number),
    ("exports.csv_formula_guard", Form::Boolean),
    ("exports.retention_days", Form::Number),
    ("streams.slow_reader_seconds", Form::Number),
    ("streams.listen", Form::Boolean),
    ("streams.watchers", Form::Number),
    ("streams.watchers_per_key", Form::Number),
    ("exports.workers", Form::Number),
    ("exports.store_patience_seconds", Form::Number),
    ("exports.presigned_urls", Form::Boolean),
    ("retention.default_days", Form::Number),
    ("retention.sweep_interval_seconds", Form::Number),
    ("rest.max_body_bytes", Form::Number),
    ("rest.expired_as_error", Form::Boolean),
    ("cors.allowed_origins", Form::Text),
    ("log_streams.allowed_networks", Form::Text),
    ("log_streams.allow_http", Form::Boolean),
    ("log_streams.deliveries", Form::Number),
    ("secrets.key", Form::Text),
    ("secrets.previous_keys", Form::Text),
    ("system_log.reads", Form::Boolean),
    ("keys.refused_per_minute", Form::Number),
    ("trusted_proxies", Form::Text),
    ("metrics.listen", Form::Text),
    ("tls.cert", Form::Text),
    ("tls.key", Form::Text),
    ("tls.client_ca", Form::Text),
    ("insecure_plaintext", Form::Boolean),
    ("limits.message_bytes", Form::Number),
    ("limits.header_bytes", Form::Number),
    ("limits.headers", Form::Number),
    ("limits.streams_per_connection", Form::Number),
    ("limits.concurrent_requests", Form::Number),
    ("limits.concurrent_streams", Form::Number),
    ("limits.connections", Form::Number),
    ("limits.connections_per_address", Form::Number),
    ("limits.requests_per_minute", Form::Number),
    ("limits.event_requests_per_minute", Form::Number),
    ("limits.handshake_seconds", Form::Number),
    ("limits.header_seconds", Form::Number),
    ("limits.body_seconds", Form::Number),
    ("limits.answer_seconds", Form::Number),
    ("limits.keepalive_seconds", Form::Number),
    ("limits.idle_seconds", Form::Number),
    ("limits.connection_age_seconds", Form::Number),
    ("config", Form::Text),
];
/// Settings that are secrets. A variable with `_FILE` after the name of theirs names a file that has the
/// value, as container engines and systemd hand secrets over.
const SECRETS: [&str; 4] =
    ["database_url", "bootstrap_api_key", "secrets.key", "secrets.previous_keys"];
/// Variables that the client commands read.
const CLIENT_VARIABLES: [&str; 6] = [
    "AUDIT_LOGS_API_KEY",
    "AUDIT_LOGS_CA_CERTIFICATE",
    "AUDIT_LOGS_CLIENT_CERTIFICATE",
    "AUDIT_LOGS_CLIENT_KEY",
    "AUDIT_LOGS_SERVER",
    "AUDIT_LOGS_SERVER_NAME",
];
/// Prefix of the variables that tests read.
const TEST_PREFIX: &str = "AUDIT_LOGS_TEST_";

/// Why settings cannot be used. No message has the value of a secret.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// There is no such setting.
    #[error("{place}: there is no setting {name}{hint}")]
    Unknown {
        /// The file or the environment.
        place: String,
        /// What was set.
        name: String,
        /// A name that may have been meant.
        hint: String,
    },
    /// A value has the wrong form.
    #[error("{0}")]
    Malformed(String),
    /// A value cannot be used.
    #[error("the setting {key} cannot be used: {why}")]
    Impossible {
        /// The setting.
        key: &'static str,
        /// Why.
        why: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings file {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl SettingsError {
    pub(super) fn impossible(key: &'static str, why: &str) -> Self {
        Self::Impossible { key, why: why.to_owned() }
    }
}

/// Settings as flags.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct Flags {
    /// Settings file [default: audit-logs.toml, if it is there; env: `AUDIT_LOGS_CONFIG`]
    #[arg(long, value_name = "FILE", global = true)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:50051; env: `AUDIT_LOGS_LISTEN`]
    #[arg(long, value_name = "ADDRESS", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Directory of the SQLite file and of local exports [default: ./data; env: `AUDIT_LOGS_DATA_DIR`]
    #[arg(long, value_name = "DIR", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// <sqlite://path> or <postgres://...> [default: SQLite in the data directory; env: `AUDIT_LOGS_DATABASE_URL`]
    #[arg(long, value_name = "URL", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// Where export files go: <file:///dir>, <s3://bucket/prefix>, gs://, az:// [env: `AUDIT_LOGS_EXPORT_URL`]
    #[arg(long, value_name = "URL", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_url: Option<String>,
    /// Base of links that are handed out [default: the listening address; env: `AUDIT_LOGS_PUBLIC_URL`]
    #[arg(long, value_name = "URL", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Form of the log [default: text on a terminal, JSON otherwise; env: `AUDIT_LOGS_LOG_FORMAT`]
    #[arg(long, value_name = "FORMAT", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// TLS on the listener.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Listen without TLS beyond loopback too, where something in front encrypts [env: `AUDIT_LOGS_INSECURE_PLAINTEXT`]
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_plaintext: bool,
}

/// Settings of TLS as flags.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct TlsFlags {
    /// Certificate of the listener and those above it, PEM [env: `AUDIT_LOGS_TLS_CERT`]
    #[arg(long = "tls-cert", value_name = "FILE", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM [env: `AUDIT_LOGS_TLS_KEY`]
    #[arg(long = "tls-key", value_name = "FILE", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Authorities of clients, PEM; with it each must show a certificate [env: `AUDIT_LOGS_TLS_CLIENT_CA`]
    #[arg(long = "tls-client-ca", value_name = "FILE", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Reads the settings from all sources.
pub fn load(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, SettingsError> {
    let environment: Vec<_> =
        environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    let environment = with_secrets(environment)?;
    let named = environment.iter().find(|(name, _)| name == "AUDIT_LOGS_CONFIG");
    let file = flags.config.clone().or(named.map(|(_, path)| PathBuf::from(path)));
    let from_environment = environment_values(&environment)?;
    let settings: Settings = Figment::from(Serialized::defaults(Settings::default()))
        .merge(file_source(file.as_deref())?)
        .merge(from_environment)
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(|error| describe(&error))?;
    settings.validate()?;
    Ok(settings)
}

fn file_source(named: Option<&Path>) -> Result<Figment, SettingsError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    if named.is_none() && !path.exists() {
        return Ok(Figment::new());
    }
    // Read here, so that a file that is missing or not TOML is told apart from a wrong value.
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::File {
        path: path.display().to_string(),
        why: error.to_string(),
    })?;
    let parsed = Figment::from(Toml::string(&text));
    match parsed.extract::<Dict>() {
        Ok(_) => Ok(parsed),
        Err(error) => Err(SettingsError::File {
            path: path.display().to_string(),
            why: in_one_line(&error.kind.to_string()),
        }),
    }
}

/// The variables that are set, as nested values.
struct EnvironmentValues(Dict);

impl figment::Provider for EnvironmentValues {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named("the environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

/// The variables, with what is in the files of secrets in place of their names. An empty name is no name.
fn with_secrets(
    environment: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let (files, mut values): (Vec<_>, Vec<_>) =
        environment.into_iter().partition(|(name, _)| secret_of_file(name).is_some());
    for (name, path) in files.into_iter().filter(|(_, path)| !path.is_empty()) {
        let Some(secret) = secret_of_file(&name) else { continue };
        if values.iter().any(|(set, value)| *set == secret && !value.is_empty()) {
            let why = format!("the environment: {secret} and {name} are both set");
            return Err(SettingsError::Malformed(why));
        }
        let value = std::fs::read_to_string(&path).map_err(|error| {
            SettingsError::Malformed(format!(
                "the environment: {name}: cannot read {path}: {error}"
            ))
        })?;
        values.retain(|(set, _)| *set != secret);
        // Editors and `echo` end a file with a new line.
        values.push((secret, value.trim_end().to_owned()));
    }
    Ok(values)
}

/// The variable whose value is in the file that the variable `name` names.
fn secret_of_file(name: &str) -> Option<String> {
    let variables = SECRETS.iter().map(|key| variable(key));
    variables.into_iter().find(|variable| name.strip_suffix("_FILE") == Some(variable))
}

fn environment_values(
    environment: &[(String, String)],
) -> Result<EnvironmentValues, SettingsError> {
    let mut values = Dict::new();
    for (name, text) in environment {
        if CLIENT_VARIABLES.contains(&name.as_str()) || name.starts_with(TEST_PREFIX) {
            continue;
        }
        let known = KEYS.iter().find(|(key, _)| variable(key) == *name);
        let variables = || KEYS.map(|(key, _)| variable(key));
        let (key, form) = known.ok_or_else(|| unknown("the environment", name, variables()))?;
        // An empty variable is an absent one, as in compose files.
        if text.is_empty() || *key == "config" {
            continue;
        }
        let value = form.read(text);
        match key.split_once('.') {
            None => {
                values.insert((*key).to_owned(), value);
            }
            Some((section, field)) => {
                let section =
                    values.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
                if let Value::Dict(_, fields) = section {
                    fields.insert(field.to_owned(), value);
                }
            }
        }
    }
    Ok(EnvironmentValues(values))
}

impl Form {
    /// A text of the wrong form stays a text, and is refused with the others of the wrong type.
    fn read(self, text: &str) -> Value {
        match self {
            Self::Text => Value::from(text),
            Self::Number => text.parse::<u32>().map_or_else(|_| Value::from(text), Value::from),
            Self::Boolean => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        }
    }
}

/// The lines of a parser's complaint that say something, without its drawing.
fn in_one_line(text: &str) -> String {
    let drawing = |line: &&str| line.is_empty() || line.contains('|');
    let lines = text.lines().map(str::trim).filter(|line| !drawing(line));
    lines.collect::<Vec<_>>().join(": ")
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

fn unknown(place: &str, name: &str, known: impl IntoIterator<Item = String>) -> SettingsError {
    // The known name that shares the longest start is most likely the one that was meant.
    let shared = |known: &String| {
        known.bytes().zip(name.bytes()).take_while(|(known, set)| known == set).count()
    };
    let nearest = known.into_iter().max_by_key(shared);
    let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
    SettingsError::Unknown { place: place.to_owned(), name: name.to_owned(), hint }
}

/// Says what is wrong without repeating a value, which may be a secret.
fn describe(error: &figment::Error) -> SettingsError {
    use figment::error::Kind;
    let place = error.metadata.as_ref().map_or("the settings", |metadata| metadata.name.as_ref());
    // As figment calls a text that was read for it.
    let place = if place == "TOML source string" { "the settings file" } else { place };
    let path = error.path.join(".");
    match &error.kind {
        Kind::UnknownField(field, _) => {
            let mut parts = error.path.clone();
            if parts.last() != Some(field) {
                parts.push(field.clone());
            }
            unknown("the settings file", &parts.join("."), KEYS.map(|(key, _)| key.to_owned()))
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
            SettingsError::Malformed(format!("{place}: {path} must be {expected}"))
        }
        Kind::Message(text) if path.is_empty() => {
            SettingsError::Malformed(format!("{place}: {text}"))
        }
        Kind::Message(text) => SettingsError::Malformed(format!("{place}: {path}: {text}")),
        Kind::UnknownVariant(_, known) => {
            let known = known.join(", ");
            SettingsError::Malformed(format!("{place}: {path} must be one of {known}"))
        }
        other => SettingsError::Malformed(format!("{place}: {path}: {other}")),
    }
}

#[cfg(test)]
mod tests;
