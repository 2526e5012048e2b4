//! `audit-logs health`, as a container engine runs it.

use super::process::Program;
use crate::support::{Engine, on_every_engine, postgres::free_port};

on_every_engine!(health_is_an_exit_code);

async fn health_is_an_exit_code(engine: Engine) {
    let program = Program::on(engine).await.with("AUDIT_LOGS_SERVER", &nobody());
    // No key is needed.
    let message = program.run(&["health"]).await.expect_refusal();
    assert!(message.contains("cannot connect"), "{message}");
    let server = program.serve().await;
    let program = program.with("AUDIT_LOGS_SERVER", &server.url);
    assert_eq!(program.run(&["health"]).await.expect_success(), "SERVING\n");
    let events = ["health", "--service", "auditlogs.v1.AuditLogs"];
    program.run(&events).await.expect_success();
    let message = program.run(&["health", "--service", "x.Y"]).await.expect_refusal();
    assert!(message.contains("NotFound"), "{message}");
    server.stop().await.expect_success();
    program.run(&["health"]).await.expect_refusal();
}

/// A server whose database is not there is alive, but takes no calls.
#[tokio::test]
async fn a_server_that_waits_for_its_database_is_not_healthy() {
    let database = format!("postgres://postgres@127.0.0.1:{}/x", free_port());
    let program = Program::over(Some(database));
    let mut server = program.start(&["serve"]);
    let url = server.listening().await;
    let message = program.run(&["health", "--server", &url]).await.expect_refusal();
    assert!(message.contains("does not take calls"), "{message}");
}

fn nobody() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
