//! What is recorded when reads are not, when nobody is trusted, and when the service ends.

use std::sync::Arc;

use audit_logs::{
    domain::clock::SystemClock,
    proto::v1::{GetEventRequest, ListEventsRequest},
};
use prost::Message;

use super::{location, recording, records, records_of};
use crate::{
    support::{
        Engine, TestServer, create_event, on_every_engine, schema_for,
        server::{ROOT_KEY, fresh_settings},
    },
    tenancy::raw,
};

on_every_engine!(
    reads_are_not_recorded_unless_wanted,
    nobody_is_believed_unless_trusted,
    a_shutdown_writes_what_was_read,
);

async fn list_acme(server: &TestServer, id: &str) {
    let request = ListEventsRequest { organization_id: "acme".into(), ..Default::default() };
    let headers = [
        ("authorization", raw::bearer(ROOT_KEY)),
        ("x-request-id", id.parse().unwrap()),
        ("x-forwarded-for", "198.51.100.7".parse().unwrap()),
    ];
    let channel = server.channel().await;
    let message = request.encode_to_vec();
    raw::call_with(&channel, "AuditLogs/ListEvents", headers, message).await.unwrap();
}

async fn with_acme(server: &TestServer) -> String {
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap().into_inner().event_id
}

async fn reads_are_not_recorded_unless_wanted(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    let event_id = with_acme(&server).await;
    list_acme(&server, "test-list").await;
    let get = GetEventRequest { organization_id: "acme".into(), event_id };
    server.client().await.get_event(get).await.unwrap();
    server.key_with(&["events:read"], &[]).await;
    // A read that was recorded all the same would be written by the end.
    server.stop().await;
    let settings = server.settings.clone();
    let server = TestServer::over(engine, settings, Arc::new(SystemClock)).await;
    let all = records(&server).await;
    let actions: Vec<_> = all.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["api_key.created", "action_schema.created", "api_key.created"]);
}

async fn nobody_is_believed_unless_trusted(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| settings.system_log.reads = true).await;
    with_acme(&server).await;
    list_acme(&server, "test-list").await;
    let found = records_of(&server, &["test-list"]).await;
    assert_eq!(location(&found["test-list"]), "127.0.0.1");
}

async fn a_shutdown_writes_what_was_read(engine: Engine) {
    let (mut settings, _directory) = fresh_settings(engine).await;
    recording(&mut settings);
    let mut server = TestServer::over(engine, settings.clone(), Arc::new(SystemClock)).await;
    with_acme(&server).await;
    for number in 0..20 {
        list_acme(&server, &format!("test-{number}")).await;
    }
    server.stop().await;
    let server = TestServer::over(engine, settings, Arc::new(SystemClock)).await;
    let all = records(&server).await;
    let listed = all.iter().filter(|event| event.action == "event.listed").count();
    assert_eq!(listed, 20);
}
