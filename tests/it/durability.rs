//! The promises about what was acknowledged, as far as they can be tried without killing the server;
//! `program` does that.

use crate::support::{Engine, TestServer, create_event, on_every_engine, schema_for};

on_every_engine!(commits_reach_the_disk, a_failed_transaction_leaves_no_trace,);

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
    server.execute("UPDATE log_heads SET size = 0").await;
    let refused = client.create_event(create_event("acme", "doc.read")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Internal);
    assert!(!refused.message().contains("events"), "{}", refused.message());
    assert_eq!(server.query_integers("SELECT size FROM log_heads").await, [0]);
    assert_eq!(server.count("events").await, 1);
    server.execute("UPDATE log_heads SET size = 1").await;
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap().into_inner();
    assert_eq!(created.sequence, 1);
}
