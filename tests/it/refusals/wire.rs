//! What no client of ours would send, and answers that must get through.

use audit_logs::proto::v1::{
    BatchCreateEventsRequest, CreateActionSchemaRequest, ListActionsRequest, SchemaTarget,
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::json;
use tonic::Code;

use super::{
    actions::object,
    changed,
    events::{event, target},
    long, stored, wide,
};
use crate::{
    support::{
        Engine, Refusal, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY,
    },
    tenancy::raw,
};

on_every_engine!(
    what_is_no_message_is_refused,
    a_message_has_at_most_4_mib,
    a_refusal_of_many_fields_gets_through,
    a_refusal_of_a_long_cursor_gets_through,
    a_refusal_of_a_long_path_gets_through,
    a_refusal_with_long_descriptions_gets_through,
    every_answer_tells_the_request_by_its_id,
);

async fn every_answer_tells_the_request_by_its_id(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let sent = "checkout-7f3a";
    let mut request = tonic::Request::new(ListActionsRequest::default());
    request.metadata_mut().insert("x-request-id", sent.parse().unwrap());
    let answer = client.list_actions(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), sent);
    // A refusal has one too; what is no id is replaced.
    for unusable in [String::new(), "a b".to_owned(), "x".repeat(129)] {
        let mut request = tonic::Request::new(create_event("acme", "not.there"));
        request.metadata_mut().insert("x-request-id", unusable.parse().unwrap());
        let refused = client.create_event(request).await.unwrap_err();
        let id = refused.metadata().get("x-request-id").unwrap().to_str().unwrap();
        assert_eq!(id.len(), 36, "{id}");
    }
}

async fn what_is_no_message_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let before = stored(&server).await;
    let channel = server.channel().await;
    let no_messages: [(&str, &[u8]); _] = [
        // The first field is a text that is not UTF-8.
        ("AuditLogs/CreateEvent", b"\x0a\x01\xff"),
        ("AuditLogs/CreateActionSchema", b"\x0a\x02\xc0\x80"),
        ("AuditLogs/CreateExport", b"\x0a\x02a\xc3"),
        ("Organizations/Create", b"\x0a\x03\xed\xa0\x80"),
        ("ApiKeys/Create", b"\x0a\x01\x80"),
        // A message inside that ends too early, and one of another type.
        ("AuditLogs/BatchCreateEvents", b"\x0a\x02\x0a\x05"),
        ("AuditLogs/BatchCreateEvents", b"\x08\x01"),
        // No field at all.
        ("ApiKeys/Create", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("ApiKeys/Create", b"\x07"),
    ];
    for (name, bytes) in no_messages {
        let refused = raw::call(&channel, name, Some(raw::bearer(ROOT_KEY)), bytes).await;
        let refusal = Refusal::of(&refused.unwrap_err());
        assert_eq!(refusal.code, Code::InvalidArgument, "{name} {bytes:?}");
        assert!(refusal.names("request", "INVALID_TYPE"), "{refusal:?}");
    }
    let mut deep = Value { kind: Some(Kind::BoolValue(true)) };
    for _ in 0..1_000 {
        deep = Value { kind: Some(Kind::ListValue(ListValue { values: vec![deep] })) };
    }
    let request = changed(&create_event("acme", "doc.read"), |r| {
        event(r).metadata = Some(Struct { fields: [("k".to_owned(), deep)].into() });
    });
    let refused = client.create_event(request).await.unwrap_err();
    assert!(Refusal::of(&refused).names("request", "INVALID_TYPE"), "{refused:?}");
    assert_eq!(stored(&server).await, before);
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
}

async fn a_message_has_at_most_4_mib(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let before = stored(&server).await;
    let large = changed(&create_event("acme", "doc.read"), |r| {
        target(r).name = long(1_024);
        event(r).targets = vec![target(r).clone(); 100];
    });
    let batch =
        |count| BatchCreateEventsRequest { requests: vec![large.clone(); count], atomic: true };
    let refused = client.batch_create_events(batch(41)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    assert_eq!(stored(&server).await, before);
    client.batch_create_events(batch(39)).await.unwrap();
    assert_eq!(server.count("events").await, 39);
}

async fn a_refusal_of_many_fields_gets_through(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let key = |number: usize| format!("{}{number:02}", "k".repeat(38));
    let nothing: Vec<_> = (0..50).map(|number| (key(number), Value::default())).collect();
    let nothing = Struct { fields: nothing.into_iter().collect() };
    let request = changed(&create_event("acme", "doc.read"), |r| {
        target(r).metadata = Some(nothing);
        event(r).targets = vec![target(r).clone(); 100];
    });
    let refusal = Refusal::of(&client.create_event(request).await.unwrap_err());
    assert_eq!(refusal.code, Code::InvalidArgument);
    assert!(refusal.names(&format!("event.targets[0].metadata.{}", key(0)), "INVALID_TYPE"));
}

async fn a_refusal_of_a_long_cursor_gets_through(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let request = ListActionsRequest { after: long(20_000), ..ListActionsRequest::default() };
    let refusal = Refusal::of(&client.list_actions(request).await.unwrap_err());
    assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "CURSOR_NOT_FOUND"));
}

async fn a_refusal_of_a_long_path_gets_through(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let schema = object(&json!({"properties": {long(20_000): {"$ref": "#"}}}));
    let request = CreateActionSchemaRequest { metadata: Some(schema), ..schema_for("doc.read") };
    let refusal = Refusal::of(&client.create_action_schema(request).await.unwrap_err());
    assert_eq!(refusal.code, Code::InvalidArgument);
    let (field, reason) = &refusal.fields[0];
    assert!(field.starts_with("metadata.properties.x"));
    assert_eq!(reason, "UNSUPPORTED_KEYWORD");
}

async fn a_refusal_with_long_descriptions_gets_through(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let kind = |number: usize| format!("{}{number:02}", wide(253));
    let target = |number| SchemaTarget { r#type: kind(number), metadata: None };
    let targets = (0..50).map(target).collect();
    let request = CreateActionSchemaRequest { targets, ..schema_for("doc.read") };
    client.create_action_schema(request).await.unwrap();
    let refused = client.create_event(create_event("acme", "doc.read")).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!(refusal.reason, "INVALID_AUDIT_LOG_EVENT");
    assert!(refusal.names("event.targets", "SCHEMA_MISMATCH"), "{refusal:?}");
}
