//! What was there and what comes: one sequence.

use super::support::{Seen, client_with_events, from, watch_acme, write};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    a_stream_begins_with_a_heartbeat_that_says_where,
    history_and_what_comes_join_under_concurrent_writers,
);

async fn a_stream_begins_with_a_heartbeat_that_says_where(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = client_with_events(&server, 3).await;
    let mut seen = Seen::start(&client, watch_acme(None)).await;
    seen.frame().await.unwrap();
    assert_eq!((seen.next, seen.heartbeat.map(|beat| beat.tree_size)), (Some(3), Some(3)));
    write(&mut client, 2).await;
    seen.until_next(5).await;
    assert_eq!(seen.sequences(), [3, 4]);
    assert!(seen.events.iter().all(|event| event.organization_id == "acme"));

    let mut all = Seen::start(&client, from(0)).await;
    all.frame().await.unwrap();
    assert_eq!((all.next, all.heartbeat.map(|beat| beat.tree_size)), (Some(0), Some(5)));
    all.until_next(5).await;
    // When all that was there is told, the client hears that it is.
    all.frame().await.unwrap();
    assert_eq!(all.heartbeat.map(|beat| beat.tree_size), Some(5));
    assert_eq!(all.sequences(), [0, 1, 2, 3, 4]);
}

async fn history_and_what_comes_join_under_concurrent_writers(engine: Engine) {
    const BEFORE: u64 = 3_000;
    /// How many calls, of how many events: some one by one, some many at once.
    const WRITERS: [(u64, u64); 4] = [(400, 1), (133, 3), (20, 20), (3, 200)];
    let end = BEFORE + WRITERS.map(|(calls, events)| calls * events).iter().sum::<u64>();
    let server = TestServer::start(engine).await;
    let client = client_with_events(&server, BEFORE).await;
    let writers = WRITERS.map(|(calls, events)| {
        let mut client = client.clone();
        tokio::spawn(async move {
            for _ in 0..calls {
                write(&mut client, events).await;
            }
        })
    });
    let mut watchers = Vec::new();
    for start in [0, 1_000, 2_999, 3_000] {
        let mut seen = Seen::start(&client, from(start)).await;
        watchers.push(tokio::spawn(async move {
            seen.until_next(end).await;
            assert_eq!(seen.sequences(), (start..end).collect::<Vec<_>>());
        }));
    }
    for task in writers.into_iter().chain(watchers) {
        task.await.unwrap();
    }
}
