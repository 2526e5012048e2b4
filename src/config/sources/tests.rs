//! Settings from every source.

use super::*;
use crate::config::{LimitSettings, Secret};

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

/// Of `tls.*`, `insecure_plaintext` and `limits.*`.
const LISTENING: [&str; 21] = [
    "/c.pem", "/k.pem", "/ca.pem", "true", "65536", "9000", "50", "77", "78", "79", "80", "81",
    "82", "83", "5", "6", "7", "10", "8", "9", "0",
];

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
        "127.0.0.1:9464",
    ];
    let keys = KEYS.iter().filter(|(key, _)| *key != "config");
    let variables: Vec<_> = keys.map(|(key, _)| variable(key)).collect();
    assert_eq!(variables.len(), values.len() + LISTENING.len());
    let values = values.into_iter().chain(LISTENING);
    let pairs: Vec<_> = variables.iter().map(String::as_str).zip(values).collect();
    let settings = with(&pairs).unwrap();
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.database.max_connections, 7);
    assert!(!settings.organizations.auto_register && !settings.actions.require_schema);
    assert!(settings.events.strict_targets && !settings.exports.csv_formula_guard);
    assert_eq!(settings.idempotency.window_seconds, 60);
    assert_eq!((settings.exports.retention_days, settings.retention.default_days), (3, 30));
    assert_eq!(settings.retention.sweep_interval_seconds, 20);
    assert_eq!((settings.streams.watchers, settings.streams.watchers_per_key), (11, 12));
    assert_eq!((settings.exports.workers, settings.exports.store_patience_seconds), (4, 8));
    assert_eq!(settings.cors.origins().collect::<Vec<_>>(), ["https://app.example"]);
    others_are_as_set(&settings);
    listening_is_as_set(&settings);
}

fn listening_is_as_set(settings: &Settings) {
    let path = |text: &str| Some(PathBuf::from(text));
    let tls = &settings.tls;
    assert_eq!((&tls.cert, &tls.key), (&path("/c.pem"), &path("/k.pem")));
    assert!(tls.client_ca == path("/ca.pem") && settings.insecure_plaintext);
    let expected = LimitSettings {
        message_bytes: 65_536,
        header_bytes: 9_000,
        headers: 50,
        streams_per_connection: 77,
        concurrent_requests: 78,
        concurrent_streams: 79,
        connections: 80,
        connections_per_address: 81,
        requests_per_minute: 82,
        event_requests_per_minute: 83,
        handshake_seconds: 5,
        header_seconds: 6,
        body_seconds: 7,
        answer_seconds: 10,
        keepalive_seconds: 8,
        idle_seconds: 9,
        connection_age_seconds: 0,
    };
    assert_eq!(settings.limits, expected);
}

fn others_are_as_set(settings: &Settings) {
    assert!(settings.streams.slow_reader_seconds == 9 && !settings.streams.listen);
    assert!(!settings.exports.presigned_urls && settings.rest.expired_as_error);
    assert_eq!(settings.rest.max_body_bytes, 2_048);
    assert_eq!(settings.database_url(), "postgres://h/d");
    assert_eq!(settings.metrics.listen.map(|listen| listen.port()), Some(9_464));
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
        ("AUDIT_LOGS_TLS_CERT", "/c.pem", "tls.key"),
        ("AUDIT_LOGS_TLS_KEY", "/k.pem", "tls.cert"),
        ("AUDIT_LOGS_TLS_CLIENT_CA", "/ca.pem", "tls.client_ca"),
        ("AUDIT_LOGS_LIMITS_HEADER_BYTES", "100", "limits.header_bytes"),
        ("AUDIT_LOGS_LIMITS_BODY_SECONDS", "30", "limits.body_seconds"),
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

#[test]
fn secrets_may_be_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (url, key) = (file("url", "postgres://u:hunter2@h/d\n"), file("key", "c2VjcmV0"));
    let settings = with(&[
        ("AUDIT_LOGS_DATABASE_URL_FILE", &url),
        ("AUDIT_LOGS_DATABASE_URL", ""),
        ("AUDIT_LOGS_SECRETS_KEY_FILE", &key),
        ("AUDIT_LOGS_BOOTSTRAP_API_KEY_FILE", ""),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.database_url(), "postgres://u:hunter2@h/d");
    assert_eq!(settings.secrets.key.as_ref().map(Secret::reveal), Some("c2VjcmV0"));
    assert_eq!(settings.bootstrap_api_key, None);
    for (pairs, named) in [
        (
            &[("AUDIT_LOGS_DATABASE_URL_FILE", &*url), ("AUDIT_LOGS_DATABASE_URL", "sqlite://x")][..],
            "AUDIT_LOGS_DATABASE_URL and AUDIT_LOGS_DATABASE_URL_FILE",
        ),
        (
            &[("AUDIT_LOGS_SECRETS_KEY_FILE", "/nowhere")],
            "AUDIT_LOGS_SECRETS_KEY_FILE: cannot read",
        ),
        // No secret.
        (&[("AUDIT_LOGS_LISTEN_FILE", &url)], "there is no setting AUDIT_LOGS_LISTEN_FILE"),
        (&[("AUDIT_LOGS_BOOTSTRAP_API_KEY_FILE", &url)], "bootstrap_api_key"),
    ] {
        let error = with(pairs).unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn plaintext_stays_on_loopback_unless_somebody_says_otherwise() {
    let check = |pairs: &[(&str, &str)]| with(pairs).unwrap().check_plaintext();
    let everywhere = ("AUDIT_LOGS_LISTEN", "0.0.0.0:50051");
    let refused = check(&[everywhere]).unwrap_err().to_string();
    for choice in ["tls.cert", "tls.key", "127.0.0.1", "--insecure-plaintext"] {
        assert!(refused.contains(choice), "{refused}");
    }
    assert!(check(&[("AUDIT_LOGS_LISTEN", "[::]:50051")]).is_err());
    assert!(check(&[("AUDIT_LOGS_LISTEN", "[::1]:50051")]).is_ok());
    assert!(check(&[everywhere, ("AUDIT_LOGS_INSECURE_PLAINTEXT", "true")]).is_ok());
    let tls = [("AUDIT_LOGS_TLS_CERT", "/c.pem"), ("AUDIT_LOGS_TLS_KEY", "/k.pem")];
    assert!(check(&[everywhere, tls[0], tls[1]]).is_ok());
}
