//! How the service ends when it is told to.

use std::{fs, os::unix::fs::PermissionsExt};

use audit_logs::{
    merkle::SigningKey,
    proto::v1::{CreateExportRequest, ExportState, GetExportRequest},
};
use futures::StreamExt;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait};
use tokio::io::AsyncWriteExt;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::process::{Program, Server};
use crate::{
    abuse::frames,
    support::{
        Engine, Refusal, at, create_event, on_every_engine, postgres::is_available, schema_for,
        until,
    },
};

on_every_engine!(
    either_signal_ends_the_service_in_good_order,
    a_watched_export_ends_with_unavailable,
    health_says_that_the_service_stops,
    an_idle_connection_is_no_reason_to_wait,
);

async fn either_signal_ends_the_service_in_good_order(engine: Engine) {
    let mut program = Program::on(engine).await;
    if engine == Engine::Postgres {
        // Otherwise the service warns that replicas must share one.
        let file = signing_key_file(&program);
        program = program.with("AUDIT_LOGS_SIGNING_KEY_FILE", &file);
    }
    for signal in ["TERM", "INT"] {
        let server = program.serve().await;
        let mut client = server.client().await;
        client.create_action_schema(schema_for("doc.read")).await.unwrap();
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
        server.process.signal(signal);
        let outcome = server.process.outcome().await;
        assert!(outcome.stderr.contains("shutting down"), "{outcome:?}");
        // Neither a warning nor an error.
        assert!(!outcome.stderr.contains(r#""level":"WARN""#), "{outcome:?}");
        assert!(!outcome.stderr.contains(r#""level":"ERROR""#), "{outcome:?}");
        outcome.expect_success();
    }
    if engine == Engine::Sqlite {
        // The write-ahead log was folded into the file.
        assert_eq!(program.files_in("data"), ["audit-logs.db", "exports", "signing-key.pem"]);
    }
}

/// Makes a key that only its owner can read.
fn signing_key_file(program: &Program) -> String {
    let file = program.path("key.pem");
    let pem = SigningKey::from_seed([7; 32]).to_pem().unwrap();
    fs::write(&file, pem.as_bytes()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

fn everything_of_acme() -> CreateExportRequest {
    CreateExportRequest {
        organization_id: "acme".into(),
        range_start: Some(at("2026-01-01T00:00:00Z")),
        range_end: Some(at("2026-02-01T00:00:00Z")),
        ..Default::default()
    }
}

async fn a_watched_export_ends_with_unavailable(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let created = client.create_export(everything_of_acme()).await.unwrap().into_inner();
    let export_id = created.export.unwrap().id;
    let request = GetExportRequest { export_id, watch: None };
    let mut frames = client.get_export(request.clone()).await.unwrap().into_inner();
    while let Some(frame) = frames.next().await {
        frame.unwrap();
    }
    // As if a worker of another replica had it.
    let taken = "UPDATE exports SET state = 'pending', lease_owner = 'elsewhere', \
                 lease_until = 9000000000000000";
    program.execute(taken).await;
    let mut frames = client.get_export(request).await.unwrap().into_inner();
    let first = frames.next().await.unwrap().unwrap().export.unwrap();
    assert_eq!(first.state(), ExportState::Pending);

    server.process.signal("TERM");
    let end = loop {
        match frames.next().await.expect("the stream must not end as if all was told") {
            Ok(frame) => assert_eq!(frame.export.unwrap().state(), ExportState::Pending),
            Err(status) => break status,
        }
    };
    let refusal = Refusal::of(&end);
    assert_eq!((refusal.code, &*refusal.reason), (Code::Unavailable, "SERVICE_UNAVAILABLE"));
    assert!(tonic_types::StatusExt::get_details_retry_info(&end).is_some());
    server.process.outcome().await.expect_success();
}

async fn health_says_that_the_service_stops(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let channel = Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let request = HealthCheckRequest { service: String::new() };
    let mut states = health.watch(request.clone()).await.unwrap().into_inner();
    let serving = states.next().await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);

    server.process.signal("TERM");
    // A client that watches is told, and does not hold the service up.
    let stopped = states.next().await.unwrap().unwrap();
    assert_eq!(stopped.status(), ServingStatus::NotServing);
    let outcome = server.process.outcome().await;
    assert!(!outcome.stderr.contains("calls did not end in time"), "{outcome:?}");
    outcome.expect_success();
    let gone = health.check(request).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
}

async fn an_idle_connection_is_no_reason_to_wait(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let address = server.url.trim_start_matches("http://");
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    // One that never says all of what it wants, and one of HTTP/2 that does not answer.
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: ").await.unwrap();
    let (_sender, mut deaf) = frames::connect(address).await;
    deaf.until(frames::SETTINGS).await.unwrap();
    let outcome = server.stop().await;
    assert!(!outcome.stderr.contains("calls did not end in time"), "{outcome:?}");
    outcome.expect_success();
    drop((client, silent, half, deaf));
}

/// Whether a session of the server waits for a lock that this one holds.
async fn somebody_waits(database: &DatabaseConnection) -> bool {
    let waiting = "SELECT 1 FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let statement = Statement::from_string(database.get_database_backend(), waiting);
    database.query_one_raw(statement).await.unwrap().is_some()
}

/// A server on PostgreSQL with one event of acme, and a connection of our own to its database.
async fn server_and_database() -> (Program, Server, DatabaseConnection) {
    let program = Program::on(Engine::Postgres).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let database = Database::connect(program.database_url()).await.unwrap();
    (program, server, database)
}

/// Somebody holds a lock that the export worker waits for; the service ends before that wait does.
#[tokio::test]
async fn a_statement_that_hangs_does_not_hold_the_service_up() {
    if !is_available() {
        return;
    }
    let (_program, mut server, database) = server_and_database().await;
    let lock = database.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    server.client().await.create_export(everything_of_acme()).await.unwrap();
    until("the worker waits for the lock", async || somebody_waits(&database).await.then_some(()))
        .await;

    server.process.signal("TERM");
    let ended_first = until("the service or the statement ends", async || {
        let ended = server.process.exit().is_some();
        // PostgreSQL does not notice that nobody will take the answer.
        let waits = somebody_waits(&database).await;
        (ended || !waits).then_some(waits)
    })
    .await;
    assert!(ended_first, "the service waited for the statement: {}", server.process.stderr.text());
    server.process.outcome().await.expect_success();
    lock.rollback().await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_under_way_is_brought_to_its_end() {
    if !is_available() {
        return;
    }
    let (_program, server, database) = server_and_database().await;
    let lock = database.begin().await.unwrap();
    lock.execute_unprepared("SELECT 1 FROM log_heads FOR UPDATE").await.unwrap();
    let mut client = server.client().await;
    let call =
        tokio::spawn(async move { client.create_event(create_event("acme", "doc.read")).await });
    until("the event waits for its log", async || somebody_waits(&database).await.then_some(()))
        .await;
    server.process.signal("TERM");
    until("the server stops to listen", async || reqwest::get(&server.url).await.err()).await;
    lock.rollback().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().into_inner().sequence, 1);
    server.process.outcome().await.expect_success();
}
