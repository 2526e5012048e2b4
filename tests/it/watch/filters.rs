//! Filters, and what `next_sequence` says of the events that they pass over.

use audit_logs::{
    client::AuditLogs,
    proto::v1::{CreateEventRequest, Target, WatchEventsRequest, watch_events_request::Start},
};

use super::support::{Seen, from};
use crate::support::{Engine, TestServer, create_event, on_every_engine, schema_for};

on_every_engine!(
    every_filter_selects_the_same_in_history_and_live,
    what_is_passed_over_is_not_told_again,
    filters_have_the_limits_of_lists,
);

async fn prepared(server: &TestServer) -> AuditLogs {
    let mut client = server.client().await;
    for action in ["doc.read", "doc.edited"] {
        client.create_action_schema(schema_for(action)).await.unwrap();
    }
    client
}

/// Event `number`: each filter of the test below matches some of them.
fn varied(number: u64) -> CreateEventRequest {
    let action = if number.is_multiple_of(2) { "doc.read" } else { "doc.edited" };
    let mut request = create_event("acme", action);
    let event = request.event.as_mut().unwrap();
    let actor = event.actor.as_mut().unwrap();
    actor.id = format!("user_{}", number % 3);
    actor.name = if number.is_multiple_of(5) { String::new() } else { format!("N{}", number % 5) };
    let kind = event.targets[0].r#type.clone();
    event.targets[0].id = format!("id_{}", number % 4);
    event.targets.push(Target {
        id: "second".into(),
        r#type: if number.is_multiple_of(7) { "folder".into() } else { kind },
        ..Default::default()
    });
    request
}

/// Narrows a request.
type Change = fn(&mut WatchEventsRequest);
/// Whether it then selects event `number`.
type Matches = fn(u64) -> bool;

async fn every_filter_selects_the_same_in_history_and_live(engine: Engine) {
    const EACH: u64 = 42;
    let server = TestServer::start(engine).await;
    let mut client = prepared(&server).await;
    let change: [(Change, Matches); 6] = [
        (|r| r.actions = vec!["doc.edited".into()], |n| n % 2 == 1),
        (|r| r.actor_ids = vec!["user_1".into(), "user_2".into()], |n| n % 3 != 0),
        (|r| r.actor_names = vec!["N3".into()], |n| n % 5 == 3),
        (|r| r.target_types = vec!["folder".into()], |n| n % 7 == 0),
        (|r| r.target_ids = vec!["id_2".into(), "nobody".into()], |n| n % 4 == 2),
        (
            |r| {
                r.actions = vec!["doc.read".into()];
                r.target_ids = vec!["second".into()];
            },
            |n| n % 2 == 0,
        ),
    ];
    for number in 0..EACH {
        client.create_event(varied(number)).await.unwrap();
    }
    let mut watchers = Vec::new();
    for (change, matches) in change {
        let mut request = from(0);
        change(&mut request);
        watchers.push((Seen::start(&client, request.clone()).await, request, matches));
    }
    for number in EACH..2 * EACH {
        client.create_event(varied(number)).await.unwrap();
    }
    for (mut seen, request, matches) in watchers {
        let expected: Vec<_> = (0..2 * EACH).filter(|number| matches(*number)).collect();
        while seen.events.len() < expected.len() {
            seen.frame().await.unwrap();
        }
        assert_eq!(seen.sequences(), expected, "{request:?}");
        // And one that reads all of it later.
        let mut later = Seen::start(&client, request).await;
        later.until_next(2 * EACH).await;
        assert_eq!(later.sequences(), expected);
    }
}

async fn what_is_passed_over_is_not_told_again(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = prepared(&server).await;
    for number in 0..10 {
        client.create_event(varied(number)).await.unwrap();
    }
    let nothing = WatchEventsRequest { actor_ids: vec!["nobody".into()], ..from(0) };
    let mut seen = Seen::start(&client, nothing.clone()).await;
    // A heartbeat tells that the ten were passed over.
    seen.until_next(10).await;
    assert!(seen.events.is_empty());
    // And so does a later one, of what comes.
    client.create_event(varied(10)).await.unwrap();
    seen.until_next(11).await;
    assert!(seen.events.is_empty());
    let resumed = WatchEventsRequest { start: Some(Start::FromSequence(11)), ..nothing };
    let mut resumed = Seen::start(&client, resumed).await;
    resumed.frame().await.unwrap();
    assert_eq!(resumed.next, Some(11));
}

async fn filters_have_the_limits_of_lists(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = prepared(&server).await;
    client.create_event(varied(0)).await.unwrap();
    let many = vec!["doc.read".to_owned(); 101];
    let request = WatchEventsRequest { actions: many, target_ids: vec![String::new()], ..from(0) };
    let refusal = crate::support::Refusal::of(&client.watch_events(request).await.unwrap_err());
    assert!(refusal.names("actions", "TOO_MANY"), "{refusal:?}");
    assert!(refusal.names("target_ids[0]", "REQUIRED"), "{refusal:?}");
}
