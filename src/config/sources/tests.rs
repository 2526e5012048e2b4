//! Settings from every source.

use super::*;
use crate::config::Secret;

fn with(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(&Flags::default(), pairs)
}

fn with_file(text: &str, flags: Flags, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(&Flags { config: Some(path), ..flags }, pairs)
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let settings = with(&[]).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.database_url(), "sqlite://./data/audit-logs.db");
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let text = "listen = '127.0.0.1:1'\npublic_url = 'http://file'\ndata_dir = '/file'";
    let variables =
        [("AUDIT_LOGS_LISTEN", "127.0.0.1:2"), ("AUDIT_LOGS_PUBLIC_URL", "http://variable")];
    let flags = Flags { listen: Some("127.0.0.1:3".to_owned()), ..Flags::default() };
    let settings = with_file(text, flags, &variables).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.public_url.as_deref(), Some("http://variable"));
    assert_eq!(settings.data_dir, PathBuf::from("/file"));
    assert!(settings.organizations.auto_register);
}

#[test]
fn every_key_has_a_variable_that_works() {
    let values = [
        "127.0.0.1:9",
        "/x",
        "postgres://h/d",
        &format!("sk_{}", "a".repeat(40)),
        "file:///e",
        "https://p",
        "json",
        "/k.pem",
        "example.com/logs",
        "7",
        "3",
        "5000",
        "70000000",
        "false",
        "false",
        "true",
        "60",
        "false",
        "3",
        "9",
        "false",
        "11",
        "12",
        "4",
        "8",
        "false",
        "30",
        "20",
        "2048",
        "true",
        "https://app.example",
        "10.0.0.0/8",
        "true",
        "5",
        "a",
        "b",
        "false",
        "9",
        "10.0.0.0/8",
    ];
    let keys = KEYS.iter().filter(|(key, _)| *key != "config");
    let variables: Vec<_> = keys.map(|(key, _)| variable(key)).collect();
    assert_eq!(variables.len(), values.len());
    let pairs: Vec<_> = variables.iter().map(String::as_str).zip(values).collect();
    let settings = with(&pairs).unwrap();
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.database.max_connections, 7);
    assert!(!settings.organizations.auto_register && !settings.actions.require_schema);
    assert!(settings.events.strict_targets && !settings.exports.csv_formula_guard);
    assert_eq!(settings.idempotency.window_seconds, 60);
    assert_eq!((settings.exports.retention_days, settings.retention.default_days), (3, 30));
    assert_eq!(settings.retention.sweep_interval_seconds, 20);
    assert!(settings.streams.slow_reader_seconds == 9 && !settings.streams.listen);
    assert_eq!((settings.streams.watchers, settings.streams.watchers_per_key), (11, 12));
    assert_eq!((settings.exports.workers, settings.exports.store_patience_seconds), (4, 8));
    assert!(!settings.exports.presigned_urls && settings.rest.expired_as_error);
    assert_eq!(settings.cors.origins().collect::<Vec<_>>(), ["https://app.example"]);
    assert_eq!(settings.database_url(), "postgres://h/d");
    others_are_as_set(&settings);
}

fn others_are_as_set(settings: &Settings) {
    assert_eq!(settings.rest.max_body_bytes, 2_048);
    assert_eq!(settings.keys.refused_per_minute, 9);
    assert!(!settings.system_log.reads && settings.trusted_proxies == "10.0.0.0/8");
    assert_eq!(settings.log_streams.allowed_networks, "10.0.0.0/8");
    assert!(settings.log_streams.allow_http && settings.log_streams.deliveries == 5);
    assert_eq!(settings.secrets.key.as_ref().map(Secret::reveal), Some("a"));
    assert_eq!(settings.secrets.previous_keys.as_ref().map(Secret::reveal), Some("b"));
}

#[test]
fn unknown_names_are_refused_with_a_hint() {
    let error = with(&[("AUDIT_LOGS_LISTN", "x")]).unwrap_err().to_string();
    assert!(error.contains("AUDIT_LOGS_LISTN; did you mean AUDIT_LOGS_LISTEN?"), "{error}");
    let error = with_file("[exports]\nretension_days = 3", Flags::default(), &[]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("exports.retension_days"), "{error}");
    assert!(error.contains("did you mean exports.retention_days?"), "{error}");
}

#[test]
fn impossible_values_are_refused_by_name() {
    let table = [
        ("AUDIT_LOGS_LISTEN", "nowhere", "listen"),
        ("AUDIT_LOGS_PUBLIC_URL", "ftp://x", "public_url"),
        ("AUDIT_LOGS_BOOTSTRAP_API_KEY", "sk_hunter2", "bootstrap_api_key"),
        ("AUDIT_LOGS_DATABASE_MAX_CONNECTIONS", "0", "database.max_connections"),
        ("AUDIT_LOGS_ACTIONS_REQUIRE_SCHEMA", "perhaps", "actions.require_schema"),
        ("AUDIT_LOGS_EXPORTS_RETENTION_DAYS", "-1", "exports.retention_days"),
        ("AUDIT_LOGS_LOG_FORMAT", "xml", "log_format"),
    ];
    for (name, value, key) in table {
        let error = with(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(key), "{name}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_named_file_must_be_there() {
    let flags = Flags { config: Some("/nowhere.toml".into()), ..Flags::default() };
    let error = load(&flags, []).unwrap_err().to_string();
    assert!(error.contains("/nowhere.toml"), "{error}");
}
