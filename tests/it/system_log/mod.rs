//! What is done to the service, and who reads what, is recorded in its own log.

mod calls;
mod http;
mod settings;

use std::collections::BTreeMap;

use audit_logs::{
    config::Settings,
    proto::v1::{Event, EventRecord, ListEventsRequest, OrganizationsListRequest, SortOrder},
};

use crate::support::{Engine, TestServer, until};

/// A server that records reads too, and takes the word of a proxy on this machine.
async fn server(engine: Engine) -> TestServer {
    TestServer::start_with(engine, recording).await
}

fn recording(settings: &mut Settings) {
    settings.system_log.reads = true;
    settings.trusted_proxies = "127.0.0.0/8".into();
}

/// The id of the system log, as whoever looks for it finds it.
async fn id(server: &TestServer) -> String {
    let request = OrganizationsListRequest { search: "System log".into(), ..Default::default() };
    let found = server.organizations().await.list(request).await.unwrap().into_inner();
    let [log] = found.organizations.as_slice() else { panic!("{found:?}") };
    assert_eq!(log.name, "System log");
    log.id.clone()
}

/// What is recorded so far, oldest first.
async fn records(server: &TestServer) -> Vec<Event> {
    let mut client = server.client().await;
    let organization_id = id(server).await;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let request = ListEventsRequest {
            organization_id: organization_id.clone(),
            limit: 100,
            order: SortOrder::Asc.into(),
            after,
            ..Default::default()
        };
        let page = client.list_events(request).await.unwrap().into_inner();
        all.extend(page.events.into_iter().map(|EventRecord { event, .. }| event.unwrap()));
        after = page.list_metadata.unwrap().after;
        if after.is_empty() {
            return all;
        }
    }
}

/// The records of requests with these ids, once all that are expected are there.
async fn records_of(server: &TestServer, ids: &[&str]) -> BTreeMap<String, Event> {
    until("every request is recorded", async || {
        let all = records(server).await;
        let mut found = BTreeMap::new();
        for event in all {
            let Some(id) = text(&event, "request_id") else { continue };
            // Those that `records` itself makes have ids of their own.
            if id.starts_with("test-") {
                assert!(found.insert(id.clone(), event).is_none(), "{id} is recorded twice");
            }
        }
        ids.iter().all(|id| found.contains_key(*id)).then_some(found)
    })
    .await
}

/// A fact of a record.
fn text(event: &Event, name: &str) -> Option<String> {
    let value = event.metadata.as_ref()?.fields.get(name)?;
    match value.kind.as_ref()? {
        prost_types::value::Kind::StringValue(text) => Some(text.clone()),
        other => panic!("{name} is {other:?}"),
    }
}

/// The kinds and ids of what it was done to.
fn targets(event: &Event) -> Vec<(&str, &str)> {
    event.targets.iter().map(|target| (&*target.r#type, &*target.id)).collect()
}

/// Who did it: kind and id.
fn actor(event: &Event) -> (&str, &str) {
    let actor = event.actor.as_ref().unwrap();
    (&*actor.r#type, &*actor.id)
}

/// From where it was done.
fn location(event: &Event) -> &str {
    &event.context.as_ref().unwrap().location
}
