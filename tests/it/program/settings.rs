//! Settings: where they come from, and what is said when they cannot be used.

use super::process::Program;
use crate::support::Engine;

/// Runs a command that reads the settings and needs no server.
const READ: [&str; 2] = ["keys", "list"];

#[tokio::test]
async fn a_variable_that_is_no_setting_is_refused() {
    let program = Program::on(Engine::Sqlite).await.with("AUDIT_LOGS_LISTN", "127.0.0.1:1");
    for command in [&["serve"][..], &["migrate"], &READ, &["demo"]] {
        let message = program.run(command).await.expect_refusal();
        assert!(message.contains("AUDIT_LOGS_LISTN"), "{message}");
        assert!(message.contains("did you mean AUDIT_LOGS_LISTEN?"), "{message}");
    }
    // Nothing was touched.
    assert!(program.files_in(".").is_empty());
}

#[tokio::test]
async fn a_key_of_the_file_that_is_no_setting_is_refused() {
    let program = Program::on(Engine::Sqlite).await;
    for (text, name) in [
        ("listn = '127.0.0.1:1'", "listn"),
        ("[exports]\nretension_days = 3", "exports.retension_days"),
        ("[nonsense]\nx = 1", "nonsense"),
    ] {
        program.write("audit-logs.toml", text);
        let message = program.run(&READ).await.expect_refusal();
        assert!(message.contains(&format!("no setting {name};")), "{message}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let program = Program::on(Engine::Sqlite).await;
    program.write("empty.toml", "listen = ");
    // Quotes are easily forgotten, and then the parser points at the value.
    program.write("bare.toml", "database_url = postgres://u:hunter2@h/d");
    for file in ["missing.toml", "empty.toml", "bare.toml"] {
        let message = program.run(&["keys", "list", "--config", file]).await.expect_refusal();
        assert!(message.contains(file) && !message.contains("hunter2"), "{message}");
    }
    let program = program.with("AUDIT_LOGS_CONFIG", "missing.toml");
    let message = program.run(&READ).await.expect_refusal();
    assert!(message.contains("missing.toml"), "{message}");
}

#[tokio::test]
async fn a_value_of_the_wrong_type_in_the_file_is_refused_by_name() {
    let program = Program::on(Engine::Sqlite).await.without("AUDIT_LOGS_BOOTSTRAP_API_KEY");
    let program = program.without("AUDIT_LOGS_LISTEN");
    let program = program.without("AUDIT_LOGS_DATABASE_MAX_CONNECTIONS");
    for (text, name) in [
        ("listen = 50051", "listen"),
        ("log_format = 'xml'", "log_format"),
        ("exports = 3", "exports"),
        ("[exports]\nretention_days = 'thirty'", "exports.retention_days"),
        ("[database]\nmax_connections = -1", "database.max_connections"),
        ("bootstrap_api_key = ['sk_hunter2']", "bootstrap_api_key"),
    ] {
        program.write("audit-logs.toml", text);
        let message = program.run(&READ).await.expect_refusal();
        assert!(message.contains(name) && message.contains("file"), "{text}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_used_is_refused_by_name() {
    for (name, value, key) in [
        ("AUDIT_LOGS_LISTEN", "nowhere", "listen"),
        ("AUDIT_LOGS_LISTEN", "127.0.0.1", "listen"),
        ("AUDIT_LOGS_DATABASE_URL", "mysql://root:hunter2@h/d", "database_url"),
        ("AUDIT_LOGS_DATABASE_URL", "sqlite::memory:", "database_url"),
        ("AUDIT_LOGS_DATABASE_URL", "postgres://u:hunter2@h:notaport/d", "database_url"),
        ("AUDIT_LOGS_BOOTSTRAP_API_KEY", "sk_hunter2", "bootstrap_api_key"),
        ("AUDIT_LOGS_EXPORT_URL", "no url", "export_url"),
        ("AUDIT_LOGS_EXPORT_URL", "carrier-pigeon://x", "export_url"),
        ("AUDIT_LOGS_PUBLIC_URL", "ftp://x", "public_url"),
        ("AUDIT_LOGS_DATABASE_MAX_CONNECTIONS", "0", "database.max_connections"),
        ("AUDIT_LOGS_ACTIONS_REQUIRE_SCHEMA", "perhaps", "actions.require_schema"),
        ("AUDIT_LOGS_EXPORTS_RETENTION_DAYS", "-1", "exports.retention_days"),
        ("AUDIT_LOGS_LOG_FORMAT", "xml", "log_format"),
    ] {
        let program = Program::on(Engine::Sqlite).await.with(name, value);
        let message = program.run(&["serve"]).await.expect_refusal();
        assert!(message.contains(key), "{name}={value}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let program = Program::on(Engine::Sqlite).await;
    program.write("file", "");
    for (flag, value) in [("--data-dir", "file/data"), ("--export-url", "file:///dev/null/x")] {
        let message = program.run(&["serve", flag, value]).await.expect_refusal();
        let path = value.trim_start_matches("file://");
        assert!(message.contains(path), "{message}");
    }
}

#[tokio::test]
async fn a_bad_flag_is_named() {
    let program = Program::on(Engine::Sqlite).await;
    for (arguments, named) in [
        (&["serve", "--listn", "127.0.0.1:1"][..], "--listn"),
        (&["serve", "--log-format", "xml"], "--log-format"),
        (&["keys", "create"], "--name"),
        (&["keys", "revoke"], "<ID>"),
        (&["export", "--api-key", "k", "--organization", "o", "--from", "noon"], "--from"),
        (&["nonsense"], "nonsense"),
    ] {
        let message = program.run(arguments).await.expect_usage_error();
        assert!(message.contains(named), "{arguments:?}: {message}");
    }
    let message = program.run(&["serve", "--listen", "nowhere"]).await.expect_refusal();
    assert!(message.contains("listen"), "{message}");
}

/// Makes a key with the program and tells which of three data directories it went to.
async fn directory_used(program: &Program, flags: &[&str]) -> String {
    let arguments = [&["keys", "create", "--name", "x"], flags].concat();
    program.run(&arguments).await.expect_success();
    let is_directory = |name: &String| program.path(name).is_dir();
    let [used] = &program.files_in(".").into_iter().filter(is_directory).collect::<Vec<_>>()[..]
    else {
        panic!("there should be one directory in {:?}", program.files_in("."));
    };
    std::fs::remove_dir_all(program.path(used)).unwrap();
    used.clone()
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let program = Program::on(Engine::Sqlite).await.without("AUDIT_LOGS_DATA_DIR");
    assert_eq!(directory_used(&program, &[]).await, "data");
    program.write("audit-logs.toml", "data_dir = 'by-file'");
    assert_eq!(directory_used(&program, &[]).await, "by-file");
    program.write("other.toml", "data_dir = 'by-other-file'");
    assert_eq!(directory_used(&program, &["--config", "other.toml"]).await, "by-other-file");
    // An empty variable is an absent one.
    let program = program.with("AUDIT_LOGS_DATA_DIR", "");
    assert_eq!(directory_used(&program, &[]).await, "by-file");
    let program = program.with("AUDIT_LOGS_DATA_DIR", "by-variable");
    assert_eq!(directory_used(&program, &[]).await, "by-variable");
    assert_eq!(directory_used(&program, &["--data-dir", "by-flag"]).await, "by-flag");
}

#[tokio::test]
async fn a_text_may_look_like_a_number_or_a_boolean() {
    for name in ["2026", "true"] {
        let program = Program::on(Engine::Sqlite).await.with("AUDIT_LOGS_DATA_DIR", name);
        assert_eq!(directory_used(&program, &[]).await, name);
    }
}
