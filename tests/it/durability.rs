//! The promises about what was acknowledged, as far as they can be tried without killing the server;
//! `program` does that.

use crate::support::{Engine, TestServer, create_event, on_every_engine, schema_for};

on_every_engine!(
    commits_reach_the_disk,
    a_failed_transaction_leaves_no_trace,
    a_transaction_that_the_engine_ends_poisons_nothing,
);

/// What the engine is told: a commit returns after it is on disk.
async fn commits_reach_the_disk(engine: Engine) {
    let server = TestServer::start(engine).await;
    let expected = match engine {
        // 2 is FULL.
        Engine::Sqlite => "journal wal, synchronous 2",
        Engine::Postgres => {
            // Also where the database is set otherwise.
            let database = server.settings.database_url().rsplit('/').next().unwrap().to_owned();
            server
                .execute(&format!("ALTER DATABASE {database} SET synchronous_commit = off"))
                .await;
            "synchronous_commit on"
        }
    };
    assert_eq!(server.store().await.durability().await.unwrap(), expected);
}

async fn a_failed_transaction_leaves_no_trace(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    // The head goes back behind the service's back: the next sequence is taken, the insert fails.
    server.execute("UPDATE log_heads SET size = 0 WHERE organization_id = 'acme'").await;
    let refused = client.create_event(create_event("acme", "doc.read")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Internal);
    assert!(!refused.message().contains("events"), "{}", refused.message());
    assert_eq!(
        server.query_integers("SELECT size FROM log_heads WHERE organization_id = 'acme'").await,
        [0]
    );
    assert_eq!(server.count("events").await, 1);
    server.execute("UPDATE log_heads SET size = 1 WHERE organization_id = 'acme'").await;
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap().into_inner();
    assert_eq!(created.sequence, 1);
}

/// What a full disk does: SQLite rolls back by itself, before the service can, and then fails in the
/// ordinary way. Nothing that is acknowledged afterwards may be lost.
async fn a_transaction_that_the_engine_ends_poisons_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    for how in ["ROLLBACK", "ABORT"] {
        let (fail, mend) = match engine {
            Engine::Sqlite => (
                format!(
                    "CREATE TRIGGER full BEFORE INSERT ON events \
                     BEGIN SELECT RAISE({how}, 'the disk is full'); END"
                ),
                "DROP TRIGGER full",
            ),
            Engine::Postgres => (
                "ALTER TABLE events ADD CONSTRAINT full_disk \
                 CHECK (sequence < 1 OR organization_id <> 'acme')"
                    .to_owned(),
                "ALTER TABLE events DROP CONSTRAINT full_disk",
            ),
        };
        server.execute(&fail).await;
        client.create_event(create_event("acme", "doc.read")).await.unwrap_err();
        server.execute(mend).await;
    }
    for expected in 1..20 {
        let request = create_event("acme", "doc.read");
        let created = client.create_event(request).await.unwrap().into_inner();
        assert_eq!(created.sequence, expected);
        // Another connection sees what is committed, and only that.
        let stored = server.count("events").await;
        assert_eq!(stored, i64::try_from(expected).unwrap() + 1);
    }
}
