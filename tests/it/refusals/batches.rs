//! `BatchCreateEvents`: the batch, and the events in it.

use audit_logs::proto::v1::{
    BatchCreateEventsRequest, BatchCreateEventsResult, CreateEventRequest, CreateEventResponse,
    batch_create_events_result::Result::{Created, Error},
};
use prost::Message;
use tonic::{Code, Status};

use super::{
    Expected, Row, changed,
    events::{actor, event, target},
    invalid, long, refuses, stored, unfit,
};
use crate::support::{
    Engine, TestServer, builders::metadata, create_event, on_every_engine, schema_for,
};

on_every_engine!(
    a_batch_has_1_to_1000_events,
    each_event_of_a_batch_fails_by_itself,
    an_atomic_batch_names_the_place_of_its_failure,
    an_atomic_batch_that_is_refused_registers_nothing,
    an_atomic_batch_names_the_place_of_an_unknown_organization,
);

fn batch(requests: Vec<CreateEventRequest>) -> BatchCreateEventsRequest {
    BatchCreateEventsRequest { requests, atomic: false }
}

async fn a_batch_has_1_to_1000_events(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let right = batch(vec![create_event("acme", "doc.read"); 1_000]);
    let rows: [Row<BatchCreateEventsRequest>; _] = [
        ("none", |r| r.requests.clear(), invalid("requests", "REQUIRED")),
        (
            "none, atomically",
            |r| *r = BatchCreateEventsRequest { atomic: true, ..Default::default() },
            invalid("requests", "REQUIRED"),
        ),
        ("1,001", |r| r.requests.push(r.requests[0].clone()), invalid("requests", "TOO_MANY")),
        (
            "1,001 that are nothing, atomically",
            |r| {
                let requests = vec![CreateEventRequest::default(); 1_001];
                *r = BatchCreateEventsRequest { atomic: true, requests };
            },
            invalid("requests", "TOO_MANY"),
        ),
    ];
    let call = async |request| client.clone().batch_create_events(request).await;
    refuses(&server, right, rows, call).await;
    assert_eq!(server.count("events").await, 1_000);
}

/// Ways in which one event of a batch is wrong, with the path as a single request has it.
fn wrong_events() -> Vec<Row<CreateEventRequest>> {
    let large: Row<CreateEventRequest> = (
        "too large",
        |r| {
            let pairs: Vec<_> = (0..50).map(|key| (format!("k{key}"), long(500))).collect();
            let pairs: Vec<_> =
                pairs.iter().map(|(k, v)| (k.as_str(), v.as_str().into())).collect();
            target(r).metadata = Some(metadata(&pairs));
            event(r).targets = vec![target(r).clone(); 11];
        },
        invalid("event", "TOO_LARGE"),
    );
    let rows: [Row<CreateEventRequest>; _] = [
        large,
        ("no organization", |r| r.organization_id.clear(), invalid("organization_id", "REQUIRED")),
        ("no event", |r| r.event = None, invalid("event", "REQUIRED")),
        ("a long key", |r| r.idempotency_key = long(256), invalid("idempotency_key", "TOO_LONG")),
        ("no actor id", |r| actor(r).id.clear(), invalid("event.actor.id", "REQUIRED")),
        ("no type", |r| target(r).r#type.clear(), invalid("event.targets[0].type", "REQUIRED")),
        ("unknown action", |r| event(r).action = "no".into(), unfit("event.action", "UNKNOWN")),
        ("unknown version", |r| event(r).version = 7, unfit("event.version", "UNKNOWN")),
        ("no target", |r| event(r).targets.clear(), unfit("event.targets", "SCHEMA_MISMATCH")),
    ];
    rows.into_iter().collect()
}

fn created(result: &BatchCreateEventsResult) -> &CreateEventResponse {
    match &result.result {
        Some(Created(created)) => created,
        other => panic!("{other:?}"),
    }
}

/// The error of an item, as a call would have given it.
fn error(result: &BatchCreateEventsResult) -> Status {
    let Some(Error(error)) = &result.result else { panic!("{result:?}") };
    let details = error.encode_to_vec().into();
    Status::with_details(Code::from_i32(error.code), error.message.clone(), details)
}

async fn each_event_of_a_batch_fails_by_itself(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let rows = wrong_events();
    // Right events stand before, between and after the wrong ones.
    let right = |number: usize| {
        let mut request = create_event("acme", "doc.read");
        event(&mut request).actor.as_mut().unwrap().id = format!("user_{number}");
        request
    };
    let mut requests = vec![right(0)];
    for (number, (_, change, _)) in rows.iter().enumerate() {
        requests.push(changed(&create_event("other", "doc.read"), change));
        requests.push(right(number + 1));
    }
    let answer = client.batch_create_events(batch(requests)).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 2 * rows.len() + 1);
    for (number, (what, _, expected)) in rows.iter().enumerate() {
        let difference = expected.difference(&error(&answer.results[2 * number + 1]));
        assert_eq!(difference, None, "{what}");
    }
    for (number, result) in answer.results.iter().step_by(2).enumerate() {
        assert_eq!(created(result).sequence, number as u64);
    }
    // What was refused neither took a place nor registered its organization.
    assert_eq!(server.count("events").await, 1 + i64::try_from(rows.len()).unwrap());
    assert_eq!(server.count("organizations").await, 1);
}

async fn an_atomic_batch_names_the_place_of_its_failure(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let before = stored(&server).await;
    let mut wrong = Vec::new();
    for (what, change, expected) in wrong_events() {
        let right = create_event("acme", "doc.read");
        let requests = vec![right.clone(), right.clone(), changed(&right, change), right];
        let request = BatchCreateEventsRequest { requests, atomic: true };
        let refused = client.batch_create_events(request).await.unwrap_err();
        let expected = Expected { field: format!("requests[2].{}", expected.field), ..expected };
        let difference = expected.difference(&refused);
        wrong.extend(difference.map(|difference| format!("{what}: {difference}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stored(&server).await, before);
}

async fn an_atomic_batch_that_is_refused_registers_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let before = stored(&server).await;
    for (what, change, _) in wrong_events() {
        let wrong = changed(&create_event("b", "doc.read"), change);
        let requests = vec![create_event("a", "doc.read"), wrong, create_event("c", "doc.read")];
        let request = BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(request).await.unwrap_err();
        assert_eq!(stored(&server).await, before, "{what}");
    }
}

async fn an_atomic_batch_names_the_place_of_an_unknown_organization(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client_as(&server.key_in("other").await).await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("theirs", "doc.read")).await.unwrap();
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let before = stored(&server).await;
    let requests = vec![create_event("ours", "doc.read"), create_event("theirs", "doc.read")];
    let request = BatchCreateEventsRequest { requests, atomic: true };
    let refused = client.batch_create_events(request.clone()).await.unwrap_err();
    assert_eq!(stored(&server).await, before);
    let expected = super::unknown("requests[1].organization_id", "ORGANIZATION_NOT_FOUND");
    assert_eq!(expected.difference(&refused), None);

    let request = BatchCreateEventsRequest { atomic: false, ..request };
    let answer = client.batch_create_events(request).await.unwrap().into_inner();
    assert_eq!(created(&answer.results[0]).sequence, 0);
    let expected = super::unknown("organization_id", "ORGANIZATION_NOT_FOUND");
    assert_eq!(expected.difference(&error(&answer.results[1])), None);
}
