//! BatchCreateEvents.

use audit_logs::proto::v1::{
    BatchCreateEventsRequest, BatchCreateEventsResponse, CreateEventRequest, CreateEventResponse,
    batch_create_events_result::Result::{Created, Error},
};
use prost::Message;
use tonic_types::{ErrorDetails, StatusExt};

use crate::support::{Engine, Refusal, TestServer, create_event, on_every_engine, schema_for};

on_every_engine!(
    a_bad_event_does_not_sink_the_rest,
    an_atomic_batch_is_all_or_nothing,
    a_full_batch_of_many_organizations,
    a_batch_keeps_the_order_of_each_organization,
    repeats_within_a_batch_are_one_event,
);

fn batch(requests: Vec<CreateEventRequest>, atomic: bool) -> BatchCreateEventsRequest {
    BatchCreateEventsRequest { requests, atomic }
}

fn created(response: BatchCreateEventsResponse) -> Vec<CreateEventResponse> {
    let result = |result: Option<_>| match result {
        Some(Created(created)) => created,
        other => panic!("not created: {other:?}"),
    };
    response.results.into_iter().map(|item| result(item.result)).collect()
}

async fn a_bad_event_does_not_sink_the_rest(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut bad = create_event("acme", "doc.read");
    bad.event.as_mut().unwrap().actor.as_mut().unwrap().id.clear();
    let requests = vec![
        create_event("acme", "doc.read"),
        bad,
        create_event("acme", "no.such"),
        create_event("acme", "doc.read"),
    ];
    let response = client.batch_create_events(batch(requests, false)).await.unwrap().into_inner();
    let outcomes: Vec<_> = response.results.into_iter().map(|item| item.result.unwrap()).collect();
    let [Created(first), Error(bad), Error(unknown), Created(last)] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert_eq!((first.sequence, last.sequence), (0, 1));
    // The details are those that CreateEvent would have given.
    let details = |status: &tonic_types::Status| -> ErrorDetails {
        let encoded = status.encode_to_vec().into();
        let code = tonic::Code::from_i32(status.code);
        tonic::Status::with_details(code, &status.message, encoded).get_error_details()
    };
    let bad = details(bad);
    let violation = &bad.bad_request().unwrap().field_violations[0];
    assert_eq!((&*violation.field, &*violation.reason), ("event.actor.id", "REQUIRED"));
    let reason = &details(unknown).error_info().unwrap().reason.clone();
    assert_eq!(reason, "INVALID_AUDIT_LOG_EVENT");
    assert_eq!(server.count("events").await, 2);
}

async fn an_atomic_batch_is_all_or_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut bad = create_event("acme", "doc.read");
    bad.event.as_mut().unwrap().context = None;
    let good = || create_event("acme", "doc.read");
    let refused = client.batch_create_events(batch(vec![good(), good(), bad], true)).await;
    let refusal = Refusal::of(&refused.unwrap_err());
    assert!(refusal.names("requests[2].event.context", "REQUIRED"), "{refusal:?}");
    assert_eq!(server.count("events").await + server.count("organizations").await, 0);

    let response = client.batch_create_events(batch(vec![good(), good()], true)).await.unwrap();
    let sequences: Vec<_> = created(response.into_inner()).iter().map(|c| c.sequence).collect();
    assert_eq!(sequences, [0, 1]);
}

async fn a_full_batch_of_many_organizations(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let request = |number: usize| CreateEventRequest {
        idempotency_key: format!("key-{number}"),
        ..create_event(&format!("org_{}", number % 100), "doc.read")
    };
    let all = || batch((0..1_000).map(request).collect(), false);
    let first = created(client.batch_create_events(all()).await.unwrap().into_inner());
    assert!(first.iter().all(|created| !created.duplicate));
    assert_eq!(server.count("events").await, 1_000);
    // Sent again, each is recognized.
    let again = created(client.batch_create_events(all()).await.unwrap().into_inner());
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(&CreateEventResponse { duplicate: true, ..first.clone() }, again);
    }
    assert_eq!(server.count("events").await, 1_000);
    let sizes = server
        .query_integers(
            "SELECT DISTINCT size FROM log_heads WHERE organization_id NOT LIKE 'system_%'",
        )
        .await;
    assert_eq!(sizes, [10]);
}

async fn a_batch_keeps_the_order_of_each_organization(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let organizations = ["b", "a", "b", "c", "a", "b"];
    let requests = organizations.map(|id| create_event(id, "doc.read")).to_vec();
    let response = client.batch_create_events(batch(requests, false)).await.unwrap();
    let sequences: Vec<_> = created(response.into_inner()).iter().map(|c| c.sequence).collect();
    assert_eq!(sequences, [0, 0, 1, 0, 1, 2]);
}

async fn repeats_within_a_batch_are_one_event(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let keyed =
        CreateEventRequest { idempotency_key: "once".into(), ..create_event("acme", "doc.read") };
    let requests = vec![keyed.clone(), create_event("acme", "doc.read"), keyed];
    let response = client.batch_create_events(batch(requests, false)).await.unwrap();
    let results = created(response.into_inner());
    assert_eq!(results[2], CreateEventResponse { duplicate: true, ..results[0].clone() });
    assert_eq!(results[1].sequence, 1);
    assert_eq!(server.count("events").await, 2);
}
