//! Two replicas on one PostgreSQL: one forwards, and the other takes over.

use std::sync::Arc;

use audit_logs::{
    domain::{clock::SystemClock, timestamp::Timestamp},
    proto::v1::LogStreamsCreateRequest,
};

use super::support::{
    TOKEN, create, https_receiver, record, server, stream_of_acme, to_https, until_arrived,
    without_repetitions,
};
use crate::support::{Engine, TestServer, postgres::is_available, until};

const STREAMS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_send_no_event_twice_and_take_over() {
    if !is_available() {
        return;
    }
    let mut first = server(Engine::Postgres).await;
    let second =
        TestServer::over(Engine::Postgres, first.settings.clone(), Arc::new(SystemClock)).await;
    let receiver = https_receiver().await;
    for _ in 0..STREAMS {
        create(&first, stream_of_acme(to_https(&receiver, TOKEN))).await;
    }
    let (mut here, mut there) = (first.client().await, second.client().await);
    for _ in 0..20 {
        record(&mut here, "acme", 5).await;
        record(&mut there, "acme", 5).await;
    }
    until_arrived(&receiver, 200 * STREAMS).await;
    let mut counts = std::collections::HashMap::new();
    for id in receiver.ids() {
        *counts.entry(id).or_insert(0) += 1;
    }
    // Once for each stream: no two replicas sent the same.
    assert!(counts.len() == 200 && counts.values().all(|count| *count == STREAMS), "{counts:?}");
    // One goes in good order and gives its streams back.
    first.stop().await;
    let ids = record(&mut there, "acme", 10).await;
    until_arrived(&receiver, 210 * STREAMS).await;
    let last = without_repetitions(receiver.ids()[200 * STREAMS..].to_vec());
    assert_eq!(last, ids);
    assert_eq!(receiver.count(), 210 * STREAMS);
}

/// A replica that dies holds its leases until they run out; one whose lease was taken moves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_a_lease_moves_no_cursor() {
    if !is_available() {
        return;
    }
    let server = server(Engine::Postgres).await;
    let receiver = https_receiver().await;
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let ids = record(&mut server.client().await, "acme", 3).await;
    until_arrived(&receiver, 3).await;
    super::support::until_next(&server, &id, 3).await;
    // As if another replica had taken it while this one stood still.
    server.execute("UPDATE log_streams SET lease_owner = 'another', next_sequence = 1").await;
    record(&mut server.client().await, "acme", 2).await;
    until("it noticed", async || (receiver.count() >= 3).then_some(())).await;
    assert_eq!(super::support::get(&server, &id).await.next_sequence, 1);
    server.execute("UPDATE log_streams SET lease_owner = NULL, lease_until = 0").await;
    super::support::until_next(&server, &id, 5).await;
    assert_eq!(without_repetitions(receiver.ids())[..3], ids);
}

/// The database fails between taking a lease and working with it, or before it is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_without_a_worker_is_given_back() {
    if !is_available() {
        return;
    }
    let server = server(Engine::Postgres).await;
    let receiver = https_receiver().await;
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    record(&mut server.client().await, "acme", 1).await;
    super::support::until_next(&server, &id, 1).await;
    let owner = "SELECT lease_owner FROM log_streams";
    // A second one, held by this replica in name only, for an hour.
    let second = create(
        &server,
        LogStreamsCreateRequest { paused: true, ..stream_of_acme(to_https(&receiver, TOKEN)) },
    )
    .await;
    let hold = format!(
        "UPDATE log_streams SET state = 'active', lease_until = 9000000000000000, \
         lease_owner = ({owner} WHERE id = '{id}') WHERE id = '{second}'"
    );
    server.execute(&hold).await;
    record(&mut server.client().await, "acme", 1).await;
    super::support::until_next(&server, &second, 2).await;
}

/// Those of a version that is not known here would come first for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_cannot_be_read_keep_no_others_from_being_taken() {
    let mut server = server(Engine::Sqlite).await;
    let receiver = https_receiver().await;
    for _ in 0..5 {
        let paused = stream_of_acme(to_https(&receiver, TOKEN));
        create(&server, LogStreamsCreateRequest { paused: true, ..paused }).await;
    }
    // Its worker would take them too.
    server.stop().await;
    // Of another replica that died lately, and those that nobody here can read.
    let ids = "(SELECT id FROM log_streams ORDER BY id LIMIT 3)";
    for change in [
        "UPDATE log_streams SET lease_owner = NULL, lease_until = 1".to_owned(),
        format!(
            "UPDATE log_streams SET destination = '{{\"kind\":\"later\"}}', lease_until = 0 WHERE id IN {ids}"
        ),
    ] {
        server.execute(&change).await;
    }
    let store = server.store().await;
    server.execute("UPDATE log_streams SET state = 'active'").await;
    let (now, until) = (Timestamp::from_micros(1_000), Timestamp::from_micros(i64::MAX));
    let leased = store.lease_log_streams("me", now, until, 2).await.unwrap();
    assert_eq!((leased.streams.len(), leased.unreadable.len()), (2, 3));
}
