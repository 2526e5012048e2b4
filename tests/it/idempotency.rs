//! Idempotency keys.

use std::sync::Arc;

use audit_logs::{
    domain::{
        clock::{Clock, SystemClock},
        timestamp::Timestamp,
    },
    proto::v1::{CreateEventRequest, CreateEventResponse},
    worker::housekeeping::Housekeeper,
};

use crate::support::{Engine, TestServer, at, create_event, on_every_engine, schema_for};

on_every_engine!(
    a_repetition_gets_the_first_answer,
    another_event_under_the_same_key_is_stored,
    equal_events_without_a_key_are_two,
    a_key_counts_for_its_window,
    old_keys_are_pruned,
);

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const WINDOW: i64 = 86_400;

fn keyed(organization: &str, key: &str) -> CreateEventRequest {
    CreateEventRequest { idempotency_key: key.to_owned(), ..create_event(organization, "doc.read") }
}

async fn a_repetition_gets_the_first_answer(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let first = client.create_event(keyed("acme", "k")).await.unwrap().into_inner();
    let repeated = CreateEventResponse { duplicate: true, ..first.clone() };
    assert_eq!(client.create_event(keyed("acme", "k")).await.unwrap().into_inner(), repeated);
    // Version 0 and the version it stands for are the same event.
    let mut explicit = keyed("acme", "k");
    explicit.event.as_mut().unwrap().version = 1;
    assert_eq!(client.create_event(explicit).await.unwrap().into_inner(), repeated);

    // The key survives a restart.
    server.stop().await;
    let server = TestServer::over(engine, server.settings.clone(), Arc::new(SystemClock)).await;
    let mut client = server.client().await;
    assert_eq!(client.create_event(keyed("acme", "k")).await.unwrap().into_inner(), repeated);
    assert_eq!(server.count("events").await, 1);
}

async fn another_event_under_the_same_key_is_stored(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(keyed("acme", "k")).await.unwrap();
    let mut other = keyed("acme", "k");
    other.event.as_mut().unwrap().occurred_at = Some(at("2026-01-02T03:04:05.678902Z"));
    let elsewhere = keyed("umbrella", "k");
    let another_key = keyed("acme", "K");
    for request in [other, elsewhere, another_key] {
        assert!(!client.create_event(request).await.unwrap().into_inner().duplicate);
    }
    assert_eq!(server.count("events").await, 4);
}

async fn equal_events_without_a_key_are_two(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    for expected in 0..2 {
        let created = client.create_event(keyed("acme", "")).await.unwrap().into_inner();
        assert_eq!((created.sequence, created.duplicate), (expected, false));
    }
    assert_eq!(server.count("idempotency_keys").await, 0);
}

async fn a_key_counts_for_its_window(engine: Engine) {
    let (server, clock) = TestServer::start_with_clock(engine, NOW).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut send = async || client.create_event(keyed("acme", "k")).await.unwrap().into_inner();
    assert!(!send().await.duplicate);
    clock.advance_seconds(WINDOW);
    assert!(send().await.duplicate);
    clock.advance_seconds(1);
    // Past its window, the key begins a new one.
    let second = send().await;
    assert_eq!((second.duplicate, second.sequence), (false, 1));
    clock.advance_seconds(WINDOW);
    let third = send().await;
    assert_eq!((third.duplicate, third.event_id), (true, second.event_id));
}

async fn old_keys_are_pruned(engine: Engine) {
    const KEYS: usize = 2_500;
    let (server, clock) = TestServer::start_with_clock(engine, NOW).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    for chunk in 0..(KEYS / 500) {
        let key = |number| keyed(&format!("org_{}", number % 7), &format!("{chunk}-{number}"));
        let requests = (0..500).map(key).collect();
        let batch = audit_logs::proto::v1::BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(batch).await.unwrap();
    }
    clock.advance_seconds(WINDOW + 1);
    client.create_event(keyed("org_0", "fresh")).await.unwrap();
    let housekeeper = Housekeeper {
        store: server.store().await,
        clock: clock.clone(),
        files: audit_logs::app::open_files(&server.settings).unwrap(),
        export_retention: i64::MAX,
        idempotency_window: WINDOW,
    };
    assert_eq!(clock.now().micros(), NOW.plus_seconds(WINDOW + 1).micros());
    housekeeper.round().await;
    assert_eq!(server.count("idempotency_keys").await, 1);
    assert!(client.create_event(keyed("org_0", "fresh")).await.unwrap().into_inner().duplicate);
}
