//! Sweeps: by whom, when, and beside whom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use audit_logs::{
    domain::{
        clock::{Clock, ManualClock},
        ids::OrganizationId,
    },
    store::Lease,
    worker::retention::RetentionSweeper,
};
use tokio_util::sync::CancellationToken;

use super::{NOW, Trail};
use crate::{
    support::{
        Engine, TestServer, create_event, on_every_engine, schema_for, server::fresh_settings,
        until,
    },
    transparency::{create_batch, grow},
};

on_every_engine!(
    a_server_sweeps_by_itself,
    one_replica_sweeps_at_a_time,
    a_dead_replicas_sweep_is_taken_over,
    organizations_are_walked_in_pages,
    sweepers_and_writers_at_once_lose_nothing,
    a_sweep_ends_with_the_process,
);

async fn a_server_sweeps_by_itself(engine: Engine) {
    let (mut settings, _directory) = fresh_settings(engine).await;
    settings.retention.sweep_interval_seconds = 1;
    let clock = Arc::new(ManualClock::new(NOW));
    let server = TestServer::over(engine, settings, clock.clone()).await;
    let trail = Trail::over(server, clock).await;
    grow(&trail.server, "acme", 300).await;
    trail.after_days(366);
    until("everything is erased", async || (trail.rows("acme").await == (0, 44)).then_some(()))
        .await;
    trail.after_days(1);
    assert_eq!(trail.verified("acme").await, (300, 300));
}

async fn one_replica_sweeps_at_a_time(engine: Engine) {
    let trail = Trail::new(engine).await;
    let shutdown = CancellationToken::new();
    let sweepers: Vec<RetentionSweeper> = (0..4)
        .map(|number| RetentionSweeper {
            interval_seconds: 60,
            ..trail.sweeper(&format!("replica_{number}"))
        })
        .collect();
    for _ in 0..5 {
        trail.clock.advance_seconds(61);
        let swept = sweepers.iter().map(|sweeper| sweeper.sweep_if_due(&shutdown));
        let swept = futures::future::join_all(swept).await;
        let swept = swept.into_iter().filter(|swept| swept.as_ref().unwrap().is_some());
        assert_eq!(swept.count(), 1, "one of the replicas");
        trail.clock.advance_seconds(30);
        for sweeper in &sweepers {
            assert_eq!(sweeper.sweep_if_due(&shutdown).await.unwrap(), None, "not due yet");
        }
    }
}

async fn a_dead_replicas_sweep_is_taken_over(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 300).await;
    trail.after_days(366);
    let now = trail.clock.now();
    let dead = Lease { name: "retention", owner: "dead" };
    assert!(trail.store.take_lease(dead, now, now, now.plus_seconds(90)).await.unwrap());
    let (sweeper, shutdown) = (trail.sweeper("alive"), CancellationToken::new());
    assert_eq!(sweeper.sweep_if_due(&shutdown).await.unwrap(), None);
    assert!(trail.store.renew_lease(dead, now.plus_seconds(100)).await.unwrap());
    trail.clock.advance_seconds(100);
    assert_eq!(sweeper.sweep_if_due(&shutdown).await.unwrap(), None);
    trail.clock.advance_seconds(1);
    assert_eq!(sweeper.sweep_if_due(&shutdown).await.unwrap().unwrap().events, 300);
    // It only seemed dead: it notices, and cannot give back what is not its own.
    assert!(!trail.store.renew_lease(dead, now.plus_seconds(1_000)).await.unwrap());
    assert!(!trail.store.release_lease(dead, Some(now)).await.unwrap());
    // A step that it had begun does no harm.
    let organization = OrganizationId::from_stored("acme");
    assert_eq!(trail.store.erase_step(&organization, trail.rule()).await.unwrap().events, 0);
    assert_eq!(trail.verified("acme").await, (300, 300));
}

async fn organizations_are_walked_in_pages(engine: Engine) {
    let trail = Trail::new(engine).await;
    trail.server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let requests = (0..450).map(|number| create_event(&format!("org_{number:03}"), "doc.read"));
    create_batch(&trail.server, requests.collect(), true).await;
    trail.keep_for_days("org_200", 730).await;
    trail.after_days(366);
    let swept = trail.sweep().await;
    assert_eq!((swept.organizations, swept.events, swept.deleted_rows), (449, 449, 0));
    assert_eq!(trail.rows("org_200").await, (1, 0));
}

async fn sweepers_and_writers_at_once_lose_nothing(engine: Engine) {
    let trail = Arc::new(Trail::new(engine).await);
    for _ in 0..3 {
        grow(&trail.server, "acme", 1_000).await;
        grow(&trail.server, "beta", 1_000).await;
    }
    trail.after_days(366);
    let writing = Arc::new(AtomicBool::new(true));
    let erasers = (0..4).map(|number| {
        let (trail, writing) = (trail.clone(), writing.clone());
        tokio::spawn(async move {
            let organization = OrganizationId::from_stored(["acme", "beta"][number % 2]);
            let mut events = 0;
            while writing.load(Ordering::SeqCst) {
                let step = trail.store.erase_step(&organization, trail.rule()).await.unwrap();
                events += step.events;
                if step.events == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            events
        })
    });
    let erasers: Vec<_> = erasers.collect();
    let writers = (0..4).map(|number| {
        let trail = trail.clone();
        tokio::spawn(async move {
            let mut written = Vec::new();
            for _ in 0..20 {
                let request = create_event(["acme", "beta"][number % 2], "doc.read");
                written.extend(create_batch(&trail.server, vec![request; 17], true).await);
            }
            written
        })
    });
    let mut written = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        written.extend(writer.await.unwrap());
    }
    writing.store(false, Ordering::SeqCst);
    let mut erased = 0;
    for eraser in erasers {
        erased += eraser.await.unwrap();
    }
    erased += trail.sweep().await.events;
    assert_eq!(erased, 6_000);
    let mut left: Vec<String> = Vec::new();
    for organization in ["acme", "beta"] {
        assert_eq!(trail.verified(organization).await, (3_680, 3_000));
        assert_eq!(trail.rows(organization).await, (680, 0));
        left.extend(trail.list(organization).await.into_iter().map(|record| record.id));
    }
    let mut written: Vec<String> = written.into_iter().map(|answer| answer.event_id).collect();
    written.sort();
    left.sort();
    assert_eq!(left, written);
}

async fn a_sweep_ends_with_the_process(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 300).await;
    trail.after_days(366);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let swept = trail.sweeper("ending").sweep_if_due(&shutdown).await.unwrap().unwrap();
    assert!(!swept.is_complete && swept.events == 0);
    // It is still due, and the lease is given back.
    assert_eq!(trail.sweep().await.events, 300);
}
