//! Two replicas on one PostgreSQL: one writes, on the other somebody watches.

use std::sync::Arc;

use audit_logs::{config::Settings, domain::clock::SystemClock};

use super::support::{Seen, client_with_events, from, write};
use crate::support::{Engine, TestServer, postgres::is_available, until};

const EVENTS: u64 = 300;

/// A replica beside another one.
async fn beside(server: &TestServer, change: impl FnOnce(&mut Settings)) -> TestServer {
    let mut settings = server.settings.clone();
    change(&mut settings);
    TestServer::over(Engine::Postgres, settings, Arc::new(SystemClock)).await
}

/// Writes through one replica, and through both at once, while somebody watches the other.
async fn check(writer: &TestServer, watcher: &TestServer) {
    let mut client = client_with_events(writer, 1).await;
    let mut other = watcher.client().await;
    let mut seen = Seen::start(&other, from(0)).await;
    seen.until_next(1).await;
    for _ in 0..EVENTS {
        write(&mut client, 1).await;
    }
    seen.until_next(1 + EVENTS).await;
    tokio::join!(write(&mut client, EVENTS), async {
        for _ in 0..EVENTS / 10 {
            write(&mut other, 10).await;
        }
    });
    seen.until_next(1 + 3 * EVENTS).await;
    assert_eq!(seen.sequences(), (0..=3 * EVENTS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_replica_writes_is_told_over_listen_and_notify() {
    if !is_available() {
        return;
    }
    let writer = TestServer::start(Engine::Postgres).await;
    let watcher = beside(&writer, |_| ()).await;
    for replica in [&writer, &watcher] {
        let hub = replica.services.watches.hub();
        until("replicas hear each other", async || hub.hears_replicas().then_some(())).await;
    }
    check(&writer, &watcher).await;
    assert!(watcher.services.watches.hub().heard() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_listen_and_notify_it_is_found_by_looking() {
    if !is_available() {
        return;
    }
    // As behind a pooler that keeps notifications to itself.
    let writer = TestServer::start_with(Engine::Postgres, |s| s.streams.listen = false).await;
    let watcher = beside(&writer, |_| ()).await;
    check(&writer, &watcher).await;
    assert_eq!(watcher.services.watches.hub().heard(), 0);
}

/// The connection that listens is cut off; the replica finds another one, and nothing is lost meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_cut_off_listens_again() {
    if !is_available() {
        return;
    }
    let writer = TestServer::start(Engine::Postgres).await;
    let watcher = beside(&writer, |_| ()).await;
    let hub = watcher.services.watches.hub();
    until("it hears", async || hub.hears_replicas().then_some(())).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    writer.execute(cut).await;
    until("it noticed", async || (!hub.hears_replicas()).then_some(())).await;
    check(&writer, &watcher).await;
    until("it hears again", async || hub.hears_replicas().then_some(())).await;
}
