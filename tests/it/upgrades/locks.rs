//! A migration of tables that are in use.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};

use super::{open, step};
use crate::{
    program::process::Program,
    support::{Engine, postgres, until},
};

/// Whoever waits to alter a table makes everybody behind it wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_reader_keeps_no_writer() {
    if !postgres::is_available() {
        return;
    }
    let program = Program::on_nothing(Engine::Postgres).await;
    let database = open(&program, Engine::Postgres).await;
    // The sixth alters `exports`.
    for _ in 0..5 {
        step(&database).await;
    }
    // An export of another replica, say, that takes its time.
    let reader = database.begin().await.unwrap();
    reader.execute_unprepared("SELECT 1 FROM exports").await.unwrap();
    let mut migration = program.start(&["migrate"]);
    until("the migration gives way", async || {
        assert!(migration.exit().is_none(), "{}", migration.stderr.text());
        migration.stderr.text().contains("is in use: waiting").then_some(())
    })
    .await;
    // One that waited for the migration would wait for the reader too, for as long as that likes.
    let write = "UPDATE exports SET attempts = attempts + 1";
    let written = tokio::time::timeout(Duration::from_secs(30), database.execute_unprepared(write));
    written.await.expect("a writer waits for the migration").unwrap();
    reader.rollback().await.unwrap();
    migration.outcome().await.expect_success();
    program.run(&["migrate"]).await.expect_success();
    database.close().await.unwrap();
}
