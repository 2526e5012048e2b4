//! `serve` and `migrate`: the first key, and the schema of the database.

use tonic::Code;

use super::process::{Outcome, Program};
use crate::support::{
    Engine, create_event, on_every_engine,
    postgres::{free_port, is_available},
    schema_for,
    server::ROOT_KEY,
    until,
};

on_every_engine!(
    the_first_start_prints_a_key_once,
    a_key_of_the_operator_is_not_printed,
    another_key_of_the_operator_is_added_to_the_first,
    the_log_has_neither_keys_nor_events,
);

/// The keys in a text.
fn keys_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sk_")).collect()
}

async fn the_first_start_prints_a_key_once(engine: Engine) {
    let program = Program::on_nothing(engine).await;
    if engine == Engine::Postgres {
        program.run(&["migrate"]).await.expect_success();
    }
    let server = program.serve().await;
    let text = until("a key is printed", async || {
        Some(server.process.stdout.text()).filter(|text| text.contains("audit-logs keys create"))
    })
    .await;
    let [key] = keys_in(&text)[..] else { panic!("there should be one key in: {text}") };
    assert_eq!(key.len(), 46);
    server.client_as(key).await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let first = server.stop().await;
    assert!(!first.stderr.contains("sk_"), "{first:?}");
    assert_eq!(first.expect_success(), text);

    let server = program.serve().await;
    server.client_as(key).await.create_event(create_event("acme", "doc.read")).await.unwrap();
    let second = server.stop().await;
    assert!(!second.stderr.contains("sk_"), "{second:?}");
    assert_eq!(second.expect_success(), "");
}

async fn a_key_of_the_operator_is_not_printed(engine: Engine) {
    let program = Program::on(engine).await;
    for _ in 0..2 {
        let server = program.serve().await;
        server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
        let outcome = server.stop().await;
        assert!(!outcome.stderr.contains("sk_"), "{outcome:?}");
        assert_eq!(outcome.expect_success(), "");
    }
    let list = program.run(&["keys", "list"]).await.expect_success();
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("bootstrap") && !list.contains("sk_"), "{list}");
}

async fn another_key_of_the_operator_is_added_to_the_first(engine: Engine) {
    let program = Program::on(engine).await;
    program.serve().await.stop().await.expect_success();
    let other = ROOT_KEY.replace("test", "other");
    let program = program.with("AUDIT_LOGS_BOOTSTRAP_API_KEY", &other);
    let server = program.serve().await;
    for key in [ROOT_KEY, &other] {
        server.client_as(key).await.create_action_schema(schema_for("doc.read")).await.unwrap();
    }
}

async fn the_log_has_neither_keys_nor_events(engine: Engine) {
    let program = Program::on(engine).await.with("RUST_LOG", "info,audit_logs=trace");
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let mut refused = create_event("acme", "doc.read");
    refused.event.as_mut().unwrap().actor.as_mut().unwrap().id.clear();
    client.create_event(refused).await.unwrap_err();
    let unknown =
        server.client_as("sk_unknown").await.create_event(create_event("acme", "doc.read")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unauthenticated);
    let outcome = server.stop().await;
    for secret in ["sk_", "Mira", "203.0.113.9", "analyst"] {
        assert!(!outcome.stderr.contains(secret), "{secret}: {outcome:?}");
    }
    // Each line is an object, so that a log collector can read it.
    for line in outcome.stderr.lines() {
        serde_json::from_str::<serde_json::Map<_, _>>(line).unwrap();
    }
    outcome.expect_success();
}

#[tokio::test]
async fn postgres_is_migrated_only_when_asked() {
    if !is_available() {
        return;
    }
    let program = Program::on_nothing(Engine::Postgres).await;
    for arguments in [&["serve"][..], &["keys", "list"], &["keys", "create", "--name", "x"]] {
        let message = program.run(arguments).await.expect_refusal();
        assert!(message.contains("audit-logs migrate"), "{arguments:?}: {message}");
    }
    let printed = program.run(&["migrate"]).await.expect_success();
    assert!(printed.contains("PostgreSQL"), "{printed}");
    program.run(&["migrate"]).await.expect_success();
    program.serve().await.stop().await.expect_success();
}

#[tokio::test]
async fn serve_migrates_postgres_where_told_to() {
    if !is_available() {
        return;
    }
    let program = Program::on_nothing(Engine::Postgres).await;
    program.serve_with(&["--migrate"]).await.stop().await.expect_success();
    program.serve().await.stop().await.expect_success();
}

#[tokio::test]
async fn many_can_migrate_at_once() {
    if !is_available() {
        return;
    }
    let program = Program::on_nothing(Engine::Postgres).await;
    let run = || program.run(&["migrate"]);
    let outcomes: [Outcome; 4] = tokio::join!(run(), run(), run(), run()).into();
    for outcome in outcomes {
        outcome.expect_success();
    }
    program.serve().await.stop().await.expect_success();
}

#[tokio::test]
async fn sqlite_is_migrated_by_whoever_comes_first() {
    let program = Program::on_nothing(Engine::Sqlite).await;
    let run = |arguments| program.run(arguments);
    let create = &["keys", "create", "--name", "x"][..];
    let outcomes: [Outcome; 4] =
        tokio::join!(run(&["migrate"]), run(&["migrate"]), run(create), run(create)).into();
    for outcome in outcomes {
        outcome.expect_success();
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = Program::on(Engine::Sqlite).await;
    let message = program.run(&["serve", "--listen", &address]).await.expect_refusal();
    assert!(message.contains(&address), "{message}");
}

#[tokio::test]
async fn the_service_can_wait_for_its_database() {
    let url = format!("postgres://postgres:hunter2@127.0.0.1:{}/none", free_port());
    let program = Program::on(Engine::Sqlite).await.with("AUDIT_LOGS_DATABASE_URL", &url);
    let mut process = program.start(&["serve"]);
    let server = process.listening().await;
    let health = reqwest::get(format!("{server}/healthz")).await.unwrap();
    let ready = reqwest::get(format!("{server}/readyz")).await.unwrap();
    assert_eq!((health.status().as_u16(), ready.status().as_u16()), (200, 503));
    let log = until("the log tells what it waits for", async || {
        Some(process.stderr.text()).filter(|log| log.contains("waiting for the database"))
    })
    .await;
    assert!(!log.contains("hunter2"), "{log}");
    process.signal("TERM");
    process.outcome().await.expect_success();
}

#[tokio::test]
async fn replicas_that_start_together_make_one_key() {
    if !is_available() {
        return;
    }
    let program = Program::on_nothing(Engine::Postgres).await;
    program.run(&["migrate"]).await.expect_success();
    let serve = || program.serve();
    let servers = tokio::join!(serve(), serve(), serve(), serve());
    let mut printed = String::new();
    for server in [servers.0, servers.1, servers.2, servers.3] {
        printed += &server.stop().await.expect_success();
    }
    assert_eq!(keys_in(&printed).len(), 1, "{printed}");
}
