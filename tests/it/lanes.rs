//! Group commit: what one caller does or suffers is no concern of the others in the batch.

use audit_logs::{
    client::AuditLogs,
    config::LaneSettings,
    proto::v1::{
        BatchCreateEventsRequest, CreateEventRequest, ListActionsRequest,
        batch_create_events_result::Result::{Created, Error},
    },
};
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{
    Engine, Refusal, TestServer, create_event, on_every_engine, schema_for, until, with_text,
};

on_every_engine!(
    a_full_queue_refuses_at_once_and_loses_nothing,
    a_queue_that_is_full_of_bytes_refuses_too,
    a_log_that_cannot_be_written_does_not_fail_the_others,
    callers_that_go_away_disturb_nobody,
    events_of_one_caller_keep_their_order_in_every_log,
    a_head_that_is_another_of_the_same_size_is_noticed,
);

/// Nothing can be written as long as this lives.
pub enum Blockade {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Blockade {
    pub async fn begin(engine: Engine, server: &TestServer) -> Self {
        let url = server.settings.database_url();
        match engine {
            Engine::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                Self::Sqlite(connection)
            }
            Engine::Postgres => {
                let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                connection.execute("BEGIN").await.unwrap();
                connection.execute("LOCK TABLE log_heads IN EXCLUSIVE MODE").await.unwrap();
                Self::Postgres(connection)
            }
        }
    }

    pub async fn end(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

/// A server with one lane.
pub async fn server_with(
    engine: Engine,
    change: impl FnOnce(&mut LaneSettings),
) -> (TestServer, AuditLogs) {
    let server = TestServer::start_with(engine, |settings| {
        settings.lanes.count = 1;
        change(&mut settings.lanes);
    })
    .await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    (server, client)
}

type Call = JoinHandle<Result<u64, Status>>;

/// Sends an event without waiting for the answer.
fn send(client: &AuditLogs, request: CreateEventRequest) -> Call {
    let mut client = client.clone();
    tokio::spawn(async move { Ok(client.create_event(request).await?.into_inner().sequence) })
}

/// Waits until so many calls are answered while nothing can be written: refused, that is. If they are
/// all that do not fit, the others are in the queue then.
async fn until_refused(calls: &[Call], refused: usize) {
    until("the calls that do not fit are refused", async || {
        (calls.iter().filter(|call| call.is_finished()).count() == refused).then_some(())
    })
    .await;
}

/// Those of the calls that wait, with their numbers, once `refused` of them do not.
async fn waiting(calls: Vec<Call>, refused: usize) -> Vec<(usize, Call)> {
    until_refused(&calls, refused).await;
    calls.into_iter().enumerate().filter(|(_, call)| !call.is_finished()).collect()
}

/// The sequences of the events that were stored, in order; all others must have been refused because
/// the queue was full.
async fn stored(calls: Vec<Call>) -> Vec<u64> {
    let mut sequences = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Ok(sequence) => sequences.push(sequence),
            Err(status) => {
                let refusal = Refusal::of(&status);
                assert_eq!(
                    (refusal.code, &*refusal.reason),
                    (Code::ResourceExhausted, "WRITE_QUEUE_FULL")
                );
                assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
            }
        }
    }
    sequences.sort_unstable();
    sequences
}

async fn a_full_queue_refuses_at_once_and_loses_nothing(engine: Engine) {
    let (server, mut client) = server_with(engine, |lanes| lanes.queue_events = 1_000).await;
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let blockade = Blockade::begin(engine, &server).await;
    let calls: Vec<_> =
        (0..1_200).map(|_| send(&client, create_event("acme", "doc.read"))).collect();
    until_refused(&calls, 200).await;
    blockade.end().await;
    assert_eq!(stored(calls).await, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(server.count("events").await, 1_001);
    // There is room again.
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
}

async fn a_queue_that_is_full_of_bytes_refuses_too(engine: Engine) {
    const KIBIBYTES: u64 = 64;
    let (server, mut client) = server_with(engine, |lanes| lanes.queue_bytes = 64 * 1_024).await;
    let request = || with_text(create_event("acme", "doc.read"), 3_000);
    client.create_event(request()).await.unwrap();
    // An event takes twice its canonical form, in whole KiB.
    let bytes = server
        .query_integers(
            "SELECT CAST(LENGTH(payload) AS BIGINT) FROM events WHERE organization_id = 'acme'",
        )
        .await;
    let fit = KIBIBYTES / (u64::try_from(bytes[0]).unwrap() * 2).div_ceil(1_024);
    let blockade = Blockade::begin(engine, &server).await;
    let calls: Vec<_> = (0..fit + 5).map(|_| send(&client, request())).collect();
    until_refused(&calls, 5).await;
    blockade.end().await;
    assert_eq!(stored(calls).await, (1..=fit).collect::<Vec<_>>());
    // There is room again.
    client.create_event(request()).await.unwrap();
}

async fn a_log_that_cannot_be_written_does_not_fail_the_others(engine: Engine) {
    let (server, mut client) = server_with(engine, |lanes| lanes.queue_events = 100).await;
    let names: Vec<_> = (0..10).map(|number| format!("org-{number}")).collect();
    for name in &names {
        client.create_event(create_event(name, "doc.read")).await.unwrap();
    }
    // Its tree has a leaf more than its frontier says.
    server.execute("UPDATE log_heads SET size = 3 WHERE organization_id = 'org-4'").await;
    let blockade = Blockade::begin(engine, &server).await;
    let calls = (0..105)
        .map(|number| send(&client, create_event(&names[number % 10], "doc.read")))
        .collect();
    let waiting = waiting(calls, 5).await;
    blockade.end().await;
    let mut events = 10;
    for (number, call) in waiting {
        let result = call.await.unwrap();
        if number % 10 == 4 {
            assert_eq!(result.unwrap_err().code(), Code::Internal);
        } else {
            result.unwrap();
            events += 1;
        }
    }
    assert_eq!(server.count("events").await, events);
    // In a batch that is not atomic, too.
    let requests = names.iter().map(|name| create_event(name, "doc.read")).collect();
    let batch = BatchCreateEventsRequest { requests, atomic: false };
    let results = client.batch_create_events(batch).await.unwrap().into_inner().results;
    for (number, result) in results.into_iter().enumerate() {
        match result.result.unwrap() {
            Created(_) => assert_ne!(number, 4),
            Error(status) => assert_eq!((number, status.code), (4, Code::Internal as i32)),
        }
    }
    assert_eq!(server.count("events").await, events + 9);
}

async fn callers_that_go_away_disturb_nobody(engine: Engine) {
    let (server, mut client) = server_with(engine, |lanes| lanes.queue_events = 100).await;
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let blockade = Blockade::begin(engine, &server).await;
    let calls = (0..105).map(|_| send(&client, create_event("acme", "doc.read"))).collect();
    let (stay, leave): (Vec<_>, Vec<_>) =
        waiting(calls, 5).await.into_iter().enumerate().partition(|(place, _)| place % 2 == 0);
    for (_, (_, call)) in leave {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // The server hears of that on the connection on which it then hears this.
    client.list_actions(ListActionsRequest::default()).await.unwrap();
    blockade.end().await;
    for (_, (_, call)) in stay {
        call.await.unwrap().unwrap();
    }
    // What was handed over is written, whoever waits for it.
    until("every event is stored", async || (server.count("events").await == 101).then_some(()))
        .await;
    let sequences = server
        .query_integers(
            "SELECT sequence FROM events WHERE organization_id = 'acme' ORDER BY sequence",
        )
        .await;
    assert_eq!(sequences, (0..=100).collect::<Vec<i64>>());
}

/// A batch over many organizations is shared out to several lanes.
async fn events_of_one_caller_keep_their_order_in_every_log(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| settings.lanes.count = 5).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    for atomic in [false, true] {
        let requests: Vec<_> = (0..400)
            .map(|number| create_event(&format!("org-{}-{atomic}", number % 20), "doc.read"))
            .collect();
        let batch = BatchCreateEventsRequest { requests, atomic };
        let results = client.batch_create_events(batch).await.unwrap().into_inner().results;
        for (number, result) in results.into_iter().enumerate() {
            let Some(Created(created)) = result.result else { panic!("{number}") };
            assert_eq!(created.sequence, u64::try_from(number / 20).unwrap());
        }
    }
}

/// As after a restore, when another replica has written as many events again. The lane must build on
/// the tree that is there, not on the one that it remembers.
async fn a_head_that_is_another_of_the_same_size_is_noticed(engine: Engine) {
    let (server, mut client) = server_with(engine, |_| {}).await;
    for _ in 0..2 {
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
    }
    let other = "ab".repeat(32);
    let other = match engine {
        Engine::Sqlite => format!("x'{other}'"),
        Engine::Postgres => format!("'\\x{other}'::bytea"),
    };
    server
        .execute(&format!("UPDATE log_heads SET frontier = {other} WHERE organization_id = 'acme'"))
        .await;
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap().into_inner();
    assert_eq!(created.sequence, 2);
    let (frontier, _) = server
        .query_bytes("SELECT frontier, frontier FROM log_heads WHERE organization_id = 'acme'")
        .await;
    assert_eq!(frontier[..32], [0xab; 32]);
    assert_eq!(frontier[32..], created.leaf_hash);
}
