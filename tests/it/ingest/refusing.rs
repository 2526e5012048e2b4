//! Streams that are refused, or end because of what the client sends.

use std::time::Duration;

use audit_logs::proto::v1::{
    ApiKeysListRequest, ApiKeysRevokeRequest, IngestEventsRequest, IngestEventsResponse,
};
use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use super::{Ingesting, item, places, status_of};
use crate::{
    support::{
        Engine, Refusal, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY,
        with_text,
    },
    tenancy::raw,
};

on_every_engine!(
    a_message_that_breaks_the_rules_ends_the_stream,
    what_is_no_message_ends_the_stream,
    a_key_without_the_scope_opens_no_stream,
    a_limited_key_reaches_its_own_organizations_only,
    another_environment_is_not_reached,
    a_revoked_key_ends_the_stream,
);

async fn server(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    server
}

async fn a_message_that_breaks_the_rules_ends_the_stream(engine: Engine) {
    let server = server(engine).await;
    let client = server.client().await;
    let good = |number| item(number, create_event("acme", "doc.read"));
    let wrong = [
        (vec![], "items", "REQUIRED"),
        ((10..=1_010).map(good).collect(), "items", "TOO_MANY"),
        (vec![good(3), good(2)], "items[1].number", "OUT_OF_RANGE"),
        (vec![good(3), good(4), good(4)], "items[2].number", "OUT_OF_RANGE"),
        // Those before it in the stream count.
        (vec![good(1)], "items[0].number", "OUT_OF_RANGE"),
        (vec![good(0)], "items[0].number", "OUT_OF_RANGE"),
        (
            vec![item(5, with_text(create_event("acme", "doc.read"), 5 << 20))],
            "request",
            "TOO_LARGE",
        ),
    ];
    let mut stored = 0;
    for (message, field, reason) in wrong {
        let stream = Ingesting::open(&client).await;
        stream.send([good(1)]);
        stream.send(message);
        stream.send([good(2_000)]);
        let (told, end) = stream.finish().await;
        let refusal = Refusal::of(&end.unwrap_err());
        assert_eq!(refusal.code, Code::InvalidArgument);
        assert!(refusal.names(field, reason), "{refusal:?}");
        // What came before is recorded, and acknowledged; nothing else.
        assert!(places(told).keys().eq(&[1]));
        stored += 1;
        assert_eq!(server.count("events").await, stored);
    }
}

async fn what_is_no_message_ends_the_stream(engine: Engine) {
    let server = server(engine).await;
    let channel = server.channel().await;
    let good = item(1, create_event("acme", "doc.read"));
    let good = Bytes::from(IngestEventsRequest { items: vec![good] }.encode_to_vec());
    let garbage: [&'static [u8]; _] = [
        b"\x0a\x02\x0a\x05",
        b"\x08\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x07",
    ];
    for garbage in garbage {
        let messages = [good.clone(), Bytes::from_static(garbage), good.clone()];
        let key = Some(raw::bearer(ROOT_KEY));
        let messages = tokio_stream::iter(messages);
        let frames = raw::stream(&channel, "AuditLogs/IngestEvents", key, messages).await;
        let mut frames = frames.unwrap();
        let frame = frames.message().await.unwrap().unwrap();
        let frame = IngestEventsResponse::decode(frame).unwrap();
        assert!(places(frame.acknowledgements).keys().eq(&[1]));
        let refusal = Refusal::of(&frames.message().await.unwrap_err());
        assert_eq!(refusal.code, Code::InvalidArgument);
        assert!(refusal.names("request", "INVALID_TYPE"), "{refusal:?}");
    }
    assert_eq!(server.count("events").await, 4);
}

async fn a_key_without_the_scope_opens_no_stream(engine: Engine) {
    let server = server(engine).await;
    let key = server.key_with(&["events:read", "schemas:write", "exports"], &[]).await;
    let mut client = server.client_as(&key).await;
    let refused = client.ingest_events(tokio_stream::pending()).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::PermissionDenied, "SCOPE_MISSING"));
}

/// Sends an event to each of two organizations; the second must not be found.
async fn first_only(server: &TestServer, key: &str, organizations: [&str; 2]) {
    let before = server.count("events").await;
    let stream = Ingesting::open(&server.client_as(key).await).await;
    let items = (1..).zip(organizations);
    stream.send(items.map(|(number, id)| item(number, create_event(id, "doc.read"))));
    let (mut told, end) = stream.finish().await;
    end.unwrap();
    told.sort_by_key(|one| one.number);
    let refusal = Refusal::of(&status_of(&told.pop().unwrap()));
    assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "ORGANIZATION_NOT_FOUND"));
    assert!(places(told).keys().eq(&[1]));
    assert_eq!(server.count("events").await, before + 1);
}

async fn a_limited_key_reaches_its_own_organizations_only(engine: Engine) {
    let server = server(engine).await;
    let mut client = server.client().await;
    for organization in ["acme", "beta"] {
        client.create_event(create_event(organization, "doc.read")).await.unwrap();
    }
    let key = server.key_with(&["events:write"], &["beta"]).await;
    first_only(&server, &key, ["beta", "acme"]).await;
    first_only(&server, &key, ["beta", "new"]).await;
}

async fn another_environment_is_not_reached(engine: Engine) {
    let server = server(engine).await;
    server.client().await.create_event(create_event("acme", "doc.read")).await.unwrap();
    let key = server.key_in("other").await;
    server.client_as(&key).await.create_action_schema(schema_for("doc.read")).await.unwrap();
    first_only(&server, &key, ["theirs", "acme"]).await;
}

async fn a_revoked_key_ends_the_stream(engine: Engine) {
    let server = server(engine).await;
    let key = server.key_with(&["events:write"], &[]).await;
    let list = ApiKeysListRequest { limit: 1, ..ApiKeysListRequest::default() };
    let newest = server.keys().await.list(list).await.unwrap().into_inner().api_keys.remove(0);
    assert!(key.ends_with(&newest.hint));
    // One that rests, and one that is busy.
    let client = server.client_as(&key).await;
    let (mut rests, mut busy) = (Ingesting::open(&client).await, Ingesting::open(&client).await);
    busy.send([item(0, create_event("acme", "doc.read"))]);
    busy.frame().await.unwrap().unwrap();
    let revoke = ApiKeysRevokeRequest { api_key_id: newest.id };
    server.keys().await.revoke(revoke).await.unwrap();
    let mut acknowledged = 1;
    let end = loop {
        busy.send([item(acknowledged, create_event("acme", "doc.read"))]);
        match busy.frame().await {
            Ok(told) => acknowledged += told.unwrap().len() as u64,
            Err(status) => break status,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let expect_refusal = |status: &Status| {
        let refusal = Refusal::of(status);
        assert_eq!((refusal.code, &*refusal.reason), (Code::Unauthenticated, "API_KEY_INVALID"));
    };
    expect_refusal(&end);
    expect_refusal(&rests.frame().await.unwrap_err());
    assert_eq!(server.count("events").await, i64::try_from(acknowledged).unwrap());
}
