//! The history of checkpoints.

use std::sync::Arc;

use audit_logs::{
    domain::{
        clock::{ManualClock, SystemClock},
        timestamp::Timestamp,
    },
    merkle::{Checkpoint, SigningKey},
    service::signer::CheckpointSigner,
    worker::checkpoints::CheckpointKeeper,
};

use super::{checkpoint, grow, key_of};
use crate::support::{Engine, TestServer, on_every_engine, until};

on_every_engine!(
    each_minute_in_which_a_log_grew_has_one_checkpoint,
    a_head_that_was_tampered_with_does_not_stop_the_others,
    logs_are_read_in_steps,
    the_newest_is_there_after_a_shutdown,
);

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const ALWAYS: Timestamp = Timestamp::from_micros(0);

/// A server whose own keeper had its first round, on an empty database, and another keeper.
async fn server_and_keeper(engine: Engine) -> (TestServer, CheckpointKeeper, Arc<ManualClock>) {
    let (server, clock) = TestServer::start_with_clock(engine, NOW).await;
    let pem = std::fs::read_to_string(server.settings.data_dir.join("signing-key.pem")).unwrap();
    let key = SigningKey::parse(&pem).unwrap();
    let keeper = CheckpointKeeper {
        store: server.store().await,
        clock: clock.clone(),
        signer: CheckpointSigner::new(key, &server.settings.log_name),
    };
    (server, keeper, clock)
}

/// The sizes in the history of a log, oldest first.
async fn sizes(server: &TestServer, organization: &str) -> Vec<i64> {
    let sql = format!(
        "SELECT size FROM checkpoints WHERE organization_id = '{organization}' ORDER BY minute"
    );
    server.query_integers(&sql).await
}

async fn each_minute_in_which_a_log_grew_has_one_checkpoint(engine: Engine) {
    let (server, keeper, clock) = server_and_keeper(engine).await;
    for number in 0..3 {
        grow(&server, &format!("org_{number}"), 2).await;
    }
    keeper.round(ALWAYS).await.unwrap();
    assert_eq!(sizes(&server, "org_1").await, [2]);
    let minutes = server.query_integers("SELECT DISTINCT minute FROM checkpoints").await;
    assert_eq!(minutes, [NOW.micros() / 60_000_000]);

    // The same minute: the larger stays. Two at once do no harm.
    grow(&server, "org_1", 300).await;
    let (one, other) = tokio::join!(keeper.round(ALWAYS), keeper.round(ALWAYS));
    one.and(other).unwrap();
    assert_eq!(sizes(&server, "org_1").await, [302]);

    // A minute later, only what grew.
    clock.advance_seconds(60);
    grow(&server, "org_1", 1).await;
    keeper.round(clock_time(60)).await.unwrap();
    assert_eq!(sizes(&server, "org_1").await, [302, 303]);
    assert_eq!(sizes(&server, "org_2").await, [2]);

    // Nothing grew; and heads before the given time are not looked at.
    clock.advance_seconds(60);
    keeper.round(ALWAYS).await.unwrap();
    grow(&server, "org_2", 1).await;
    keeper.round(clock_time(121)).await.unwrap();
    assert_eq!(server.count("checkpoints").await, 4);
    keeper.round(clock_time(120)).await.unwrap();
    assert_eq!(sizes(&server, "org_2").await, [2, 3]);

    let note = match engine {
        Engine::Sqlite => "CAST(note AS BLOB)",
        Engine::Postgres => "convert_to(note, 'UTF8')",
    };
    let sql = format!("SELECT {note}, root FROM checkpoints WHERE size = 303");
    let (note, root) = server.query_bytes(&sql).await;
    let note = String::from_utf8(note).unwrap();
    let key = key_of(&server, "org_1").await;
    let opened = Checkpoint::open(&note, &[key]).unwrap();
    assert_eq!((opened.size, opened.root.to_vec()), (303, root));
    assert_eq!(note, checkpoint(&server, "org_1").await.checkpoint);
}

fn clock_time(seconds: i64) -> Timestamp {
    NOW.plus_seconds(seconds)
}

async fn a_head_that_was_tampered_with_does_not_stop_the_others(engine: Engine) {
    let (server, keeper, _) = server_and_keeper(engine).await;
    for organization in ["a", "b", "c"] {
        grow(&server, organization, 1).await;
    }
    server.execute("UPDATE log_heads SET size = -1 WHERE organization_id = 'b'").await;
    // Two peaks are needed for three leaves.
    server.execute("UPDATE log_heads SET size = 3 WHERE organization_id = 'a'").await;
    keeper.round(ALWAYS).await.unwrap();
    assert_eq!(sizes(&server, "c").await, [1]);
    // The server's own keeper may have signed what was there before.
    assert!(!sizes(&server, "a").await.contains(&3));
    assert!(!sizes(&server, "b").await.contains(&-1));
}

async fn logs_are_read_in_steps(engine: Engine) {
    let (server, keeper, _) = server_and_keeper(engine).await;
    grow(&server, "acme", 1).await;
    // Copies of its head, in the order of their ids on either side of it.
    let copies = (0..450).map(|number| {
        let id = if number % 2 == 0 { format!("a{number}") } else { format!("b{number}") };
        format!(
            "INSERT INTO log_heads (organization_id, size, updated_at, frontier) \
             SELECT '{id}', size, updated_at, frontier FROM log_heads \
             WHERE organization_id = 'acme'"
        )
    });
    server.execute(&copies.collect::<Vec<_>>().join(";\n")).await;
    keeper.round(ALWAYS).await.unwrap();
    assert_eq!(server.count("checkpoints").await, 451);
}

async fn the_newest_is_there_after_a_shutdown(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    grow(&server, "acme", 5).await;
    server.stop().await;
    assert_eq!(sizes(&server, "acme").await.last(), Some(&5));
    // And after a crash: the first round looks at all logs.
    server.execute("DELETE FROM checkpoints").await;
    let server = TestServer::over(engine, server.settings.clone(), Arc::new(SystemClock)).await;
    until("the checkpoint is signed", async || {
        sizes(&server, "acme").await.last().filter(|size| **size == 5).copied()
    })
    .await;
}
