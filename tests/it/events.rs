//! CreateEvent and GetEvent.

use audit_logs::proto::v1::{
    CreateEventRequest, Event, GetEventRequest, ListEventsRequest, SchemaTarget, SortOrder,
};
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::support::{
    Engine, Refusal, TestServer, an_event, at, create_event, metadata, on_every_engine, schema_for,
};

on_every_engine!(
    an_event_reads_back_as_it_was_sent,
    sequences_have_no_gaps,
    the_leaf_hash_is_that_of_the_stored_bytes,
    the_first_event_registers_its_organization,
    registration_can_be_turned_off,
    an_event_needs_a_schema_unless_turned_off,
    an_event_is_held_against_its_schema,
    an_event_without_version_keeps_to_the_first,
    strict_targets_can_be_turned_on,
    concurrent_writers_share_one_order,
);

async fn an_event_reads_back_as_it_was_sent(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let sent = an_event("doc.read");
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap().into_inner();
    assert!(created.event_id.starts_with("audit_event_") && !created.duplicate);
    assert_eq!((created.sequence, created.leaf_hash.len()), (0, 32));

    let request =
        GetEventRequest { organization_id: "acme".into(), event_id: created.event_id.clone() };
    let record = client.get_event(request).await.unwrap().into_inner().event.unwrap();
    assert_eq!(record.id, created.event_id);
    assert_eq!(record.organization_id, "acme");
    assert_eq!(record.sequence, 0);
    assert_eq!(record.created_at, created.created_at);
    assert_eq!(record.leaf_hash, created.leaf_hash);
    assert_eq!(record.event.unwrap(), Event { version: 1, ..sent });
}

async fn sequences_have_no_gaps(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    for expected in 0..5 {
        for organization in ["acme", "umbrella"] {
            let request = create_event(organization, "doc.read");
            let created = client.create_event(request).await.unwrap().into_inner();
            assert_eq!(created.sequence, expected);
            // A refused event takes no place.
            let bad = CreateEventRequest { event: None, ..create_event(organization, "doc.read") };
            client.create_event(bad).await.unwrap_err();
        }
    }
}

async fn the_leaf_hash_is_that_of_the_stored_bytes(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap().into_inner();
    let (salt, payload) =
        server.query_bytes("SELECT salt, payload FROM events WHERE organization_id = 'acme'").await;
    assert_eq!(salt.len(), 16);
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(&salt);
    hash.update(&payload);
    assert_eq!(created.leaf_hash, hash.finalize().to_vec());
    let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(json["occurred_at"], "2026-01-02T03:04:05.678901Z");
    assert_eq!(json["metadata"]["pages"], serde_json::json!(12));
}

async fn the_first_event_registers_its_organization(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // An event that is refused does not.
    let refused = client.create_event(create_event("acme", "no.such")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(server.count("organizations").await, 0);
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(server.count("organizations").await, 1);
}

async fn registration_can_be_turned_off(engine: Engine) {
    let off = |settings: &mut audit_logs::config::Settings| {
        settings.organizations.auto_register = false;
    };
    let server = TestServer::start_with(engine, off).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // An unknown organization wins over an unknown action.
    for action in ["doc.read", "no.such"] {
        let refused = client.create_event(create_event("acme", action)).await.unwrap_err();
        let refusal = Refusal::of(&refused);
        assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "ORGANIZATION_NOT_FOUND"));
    }
    assert_eq!(server.count("organizations").await + server.count("events").await, 0);
}

async fn an_event_needs_a_schema_unless_turned_off(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let refused = client.create_event(create_event("acme", "no.such")).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!(refusal.reason, "INVALID_AUDIT_LOG_EVENT");
    assert!(refusal.names("event.action", "UNKNOWN"), "{refusal:?}");

    let lax = |settings: &mut audit_logs::config::Settings| settings.actions.require_schema = false;
    let server = TestServer::start_with(engine, lax).await;
    let mut client = server.client().await;
    client.create_event(create_event("acme", "no.such")).await.unwrap();
    // The general limits still hold.
    let mut bad = create_event("acme", "no.such");
    bad.event.as_mut().unwrap().actor = None;
    client.create_event(bad).await.unwrap_err();
    assert_eq!(server.count("events").await, 1);
}

fn cost_schema(action: &str) -> audit_logs::proto::v1::CreateActionSchemaRequest {
    use prost_types::value::Kind;
    let number = metadata(&[("type", "number".into())]);
    let properties = metadata(&[("cost", Kind::StructValue(number).into())]);
    let schema = metadata(&[
        ("type", "object".into()),
        ("properties", Kind::StructValue(properties).into()),
    ]);
    let mut request = schema_for(action);
    request.targets.push(SchemaTarget { r#type: "invoice".into(), metadata: Some(schema) });
    request
}

fn with_invoice(action: &str, cost: crate::support::builders::Scalar) -> CreateEventRequest {
    let mut request = create_event("acme", action);
    let event = request.event.as_mut().unwrap();
    event.targets.push(audit_logs::proto::v1::Target {
        id: "inv_1".into(),
        r#type: "invoice".into(),
        name: String::new(),
        metadata: Some(metadata(&[("cost", cost)])),
    });
    request
}

async fn an_event_is_held_against_its_schema(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(cost_schema("invoice.paid")).await.unwrap();
    client.create_event(with_invoice("invoice.paid", 7.5.into())).await.unwrap();

    let refused = client.create_event(with_invoice("invoice.paid", "much".into())).await;
    let refused = refused.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!(refusal.reason, "INVALID_AUDIT_LOG_EVENT");
    assert!(refusal.names("event.targets[1].metadata.cost", "SCHEMA_MISMATCH"), "{refusal:?}");
    // What was sent is not repeated: an answer may end up in somebody's log.
    assert!(!format!("{refused:?}").contains("much"));

    let missing = client.create_event(create_event("acme", "invoice.paid")).await.unwrap_err();
    assert!(Refusal::of(&missing).names("event.targets", "SCHEMA_MISMATCH"));
    assert_eq!(server.count("events").await, 1);
}

async fn an_event_without_version_keeps_to_the_first(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("invoice.paid")).await.unwrap();
    client.create_action_schema(cost_schema("invoice.paid")).await.unwrap();
    let with_version = |version| {
        let mut request = create_event("acme", "invoice.paid");
        request.event.as_mut().unwrap().version = version;
        request
    };
    client.create_event(with_version(0)).await.unwrap();
    client.create_event(with_version(1)).await.unwrap();
    // Version 2 asks for an invoice; version 3 does not exist.
    let second = Refusal::of(&client.create_event(with_version(2)).await.unwrap_err());
    assert!(second.names("event.targets", "SCHEMA_MISMATCH"));
    let third = Refusal::of(&client.create_event(with_version(3)).await.unwrap_err());
    assert!(third.names("event.version", "UNKNOWN"));
    // A version that appears later is found, though its absence was seen before.
    client.create_action_schema(schema_for("invoice.paid")).await.unwrap();
    client.create_event(with_version(3)).await.unwrap();
}

async fn strict_targets_can_be_turned_on(engine: Engine) {
    let strict =
        |settings: &mut audit_logs::config::Settings| settings.events.strict_targets = true;
    let server = TestServer::start_with(engine, strict).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let refused = client.create_event(with_invoice("doc.read", 1.0.into())).await.unwrap_err();
    assert!(Refusal::of(&refused).names("event.targets[1].type", "SCHEMA_MISMATCH"));
}

async fn concurrent_writers_share_one_order(engine: Engine) {
    const WRITERS: usize = 16;
    const EACH: usize = 10;
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let organization = format!("org_{}", writer % 3);
            let mut last = None;
            for _ in 0..EACH {
                let request = create_event(&organization, "doc.read");
                let created = client.create_event(request).await.unwrap().into_inner();
                // One writer's events keep their order.
                assert!(last < Some(created.sequence));
                last = Some(created.sequence);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut total = 0;
    for organization in ["org_0", "org_1", "org_2"] {
        let sequences = server
            .query_integers(&format!(
                "SELECT sequence FROM events WHERE organization_id = '{organization}' ORDER BY 1"
            ))
            .await;
        let expected: Vec<_> = (0..).take(sequences.len()).collect();
        assert_eq!(sequences, expected);
        total += sequences.len();
        let request = ListEventsRequest {
            organization_id: organization.into(),
            limit: 1,
            order: SortOrder::Asc.into(),
            range_start: Some(at("2026-01-01T00:00:00Z")),
            ..Default::default()
        };
        let first = client.clone().list_events(request).await.unwrap().into_inner();
        assert_eq!(first.events[0].sequence, 0);
    }
    assert_eq!(total, WRITERS * EACH);
}
