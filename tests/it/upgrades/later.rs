//! A later version has migrated the database, and this one goes on: replicas are updated one by one.

use std::{fmt::Write, fs};

use audit_logs::proto::v1::{CreateExportRequest, ExportState, GetExportRequest};

use super::open;
use crate::{
    program::process::{Program, Server},
    support::{Engine, at, create_event, on_every_engine, schema_for},
};

on_every_engine!(a_later_schema_is_no_obstacle);

const TABLES: [(Engine, &str); 2] = [
    (Engine::Sqlite, "SELECT name FROM sqlite_master WHERE type = 'table'"),
    (Engine::Postgres, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"),
];

/// Does what a migration of a later version may do: adds a table, columns that may be absent, an index.
async fn migrate_further(program: &Program, engine: Engine) {
    let asked = TABLES.iter().find(|(of, _)| *of == engine).unwrap().1;
    let tables = program.query_texts(asked).await;
    assert!(tables.len() > 10, "{tables:?}");
    let mut script = "CREATE TABLE later (id bigint NOT NULL PRIMARY KEY);
         INSERT INTO seaql_migrations VALUES ('m29991231_000001_later', 0);
         CREATE INDEX events_later ON events (organization_id, actor_id);"
        .to_owned();
    for table in tables.iter().filter(|table| *table != "seaql_migrations") {
        let add = format!("ALTER TABLE {table} ADD COLUMN");
        write!(script, "{add} later_text text; {add} later bigint NOT NULL DEFAULT 0;").unwrap();
    }
    let database = open(program, engine).await;
    super::run(&database, engine, &script).await;
    database.close().await.unwrap();
}

/// Writes, reads, exports.
async fn works(server: &Server, sequence: u64) {
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(created.into_inner().sequence, sequence);
    let request = CreateExportRequest {
        organization_id: "acme".into(),
        range_start: Some(at("2026-01-01T00:00:00Z")),
        range_end: Some(at("2026-02-01T00:00:00Z")),
        ..Default::default()
    };
    let export = client.create_export(request).await.unwrap().into_inner().export.unwrap();
    let request = GetExportRequest { export_id: export.id, watch: Some(true) };
    let mut states = client.get_export(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(state) = states.message().await.unwrap() {
        last = state.export;
    }
    let last = last.unwrap();
    assert_eq!((last.state(), last.rows_written), (ExportState::Ready, sequence + 1));
}

async fn a_later_schema_is_no_obstacle(engine: Engine) {
    let program = Program::on(engine).await;
    let first = program.serve().await;
    // SQLite has one process.
    let second = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(program.serve().await),
    };
    let replicas: Vec<_> = std::iter::once(&first).chain(&second).collect();
    let mut sequence = 0;
    let mut all_work = async || {
        for replica in &replicas {
            works(replica, sequence).await;
            sequence += 1;
        }
    };
    all_work().await;
    migrate_further(&program, engine).await;
    // What runs goes on, with the statements that it had prepared.
    all_work().await;
    for server in std::iter::once(first).chain(second) {
        let outcome = server.stop().await;
        assert!(!outcome.stderr.contains(r#""level":"ERROR""#), "{outcome:?}");
        outcome.expect_success();
    }
    // What starts anew, because it crashed or the update was given up, starts.
    program.run(&["migrate"]).await.expect_success();
    let again = program.serve_with(&["--migrate"]).await;
    works(&again, sequence).await;
    program.run(&["keys", "create", "--name", "k", "--scopes", "exports"]).await.expect_success();
    let log = again.stop().await;
    assert!(log.stderr.contains("the schema of a later version"), "{log:?}");
    program.run(&["verify", "database"]).await.expect_success();
    let only = ["verify", "database", "--organization", "acme"];
    let said = program.run(&only).await.expect_success();
    assert!(said.starts_with(&format!("verified: {} events", sequence + 1)), "{said}");
    if engine == Engine::Sqlite {
        program.run(&["backup", "--output", "copy.db"]).await.expect_success();
        assert!(fs::exists(program.path("copy.db")).unwrap());
    }
}
