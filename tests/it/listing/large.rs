//! Pages of large items: a client that receives 4 MiB, as gRPC clients do by default, gets them.

use audit_logs::proto::v1::{
    BatchCreateEventsRequest, CreateEventRequest, CreateExportRequest, ListActionSchemasRequest,
    ListActionsRequest, ListExportsRequest, SortOrder,
};
use serde_json::json;

use super::{Ask, Page, events_of_acme, page_of_events, walk};
use crate::{
    refusals::object,
    support::{
        Engine, TestServer, at, builders::metadata, create_event, on_every_engine, schema_for,
    },
};

on_every_engine!(
    a_page_of_large_events_ends_early_and_loses_none,
    a_page_of_events_with_many_numbers_can_be_received,
    a_page_of_large_schemas_can_be_received,
    a_page_of_actions_with_large_schemas_can_be_received,
    a_page_of_exports_with_large_filters_can_be_received,
);

async fn batch(server: &TestServer, event: &CreateEventRequest, batches: usize, each: usize) {
    let mut client = server.client().await;
    for _ in 0..batches {
        let request =
            BatchCreateEventsRequest { requests: vec![event.clone(); each], atomic: true };
        client.batch_create_events(request).await.unwrap();
    }
}

async fn a_page_of_large_events_ends_early_and_loses_none(engine: Engine) {
    let server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut large = create_event("acme", "doc.read");
    let targets = &mut large.event.as_mut().unwrap().targets;
    (targets[0].id, targets[0].name) = ("x".repeat(1_024), "y".repeat(1_024));
    *targets = vec![targets[0].clone(); 100];
    batch(&server, &large, 2, 18).await;
    batch(&server, &create_event("acme", "doc.read"), 1, 10).await;
    batch(&server, &large, 1, 4).await;
    let client = server.client().await;
    for (order, expected) in
        [(SortOrder::Asc, (0..50).collect::<Vec<_>>()), (SortOrder::Desc, (0..50).rev().collect())]
    {
        let read = async |ask| page_of_events(&client, events_of_acme(ask)).await;
        let (forth, back) = walk(100, order, read).await;
        for pages in [forth, back] {
            assert!(pages.len() >= 3, "{pages:?}");
            let items: Vec<_> = pages.into_iter().flat_map(|page| page.items).collect();
            assert_eq!(items, expected);
        }
    }
}

async fn a_page_of_events_with_many_numbers_can_be_received(engine: Engine) {
    let server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    // A number takes two bytes as JSON and nine as protobuf.
    let keys: Vec<_> = (b'A'..=b'Z').chain(b'a'..=b'x').map(char::from).map(String::from).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), 1.0.into())).collect();
    let mut event = create_event("acme", "doc.read");
    let targets = &mut event.event.as_mut().unwrap().targets;
    targets[0].metadata = Some(metadata(&pairs));
    *targets = vec![targets[0].clone(); 100];
    batch(&server, &event, 2, 26).await;
    let client = server.client().await;
    let read = async |ask| page_of_events(&client, events_of_acme(ask)).await;
    let (forth, back) = walk(100, SortOrder::Asc, read).await;
    for pages in [forth, back] {
        let items: Vec<_> = pages.into_iter().flat_map(|page| page.items).collect();
        assert_eq!(items, (0..52).collect::<Vec<_>>());
    }
}

/// Creates schemas of almost 64 KiB, of one action or of one each.
async fn with_schemas(engine: Engine, action: impl Fn(usize) -> String) -> TestServer {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for number in 0..70 {
        let description = format!("{number} {}", "x".repeat(64_000));
        let mut request = schema_for(&action(number));
        request.metadata = Some(object(&json!({"description": description})));
        client.create_action_schema(request).await.unwrap();
    }
    server
}

async fn a_page_of_large_schemas_can_be_received(engine: Engine) {
    let server = with_schemas(engine, |_| "doc.read".to_owned()).await;
    let client = server.client().await;
    let read = async |Ask { limit, order, before, after }| {
        let action_name = "doc.read".to_owned();
        let request = ListActionSchemasRequest { action_name, limit, order, before, after };
        let answer = client.clone().list_action_schemas(request).await.unwrap().into_inner();
        Page::new(answer.schemas.into_iter().map(|schema| schema.version), answer.list_metadata)
    };
    let (forth, _) = walk(100, SortOrder::Asc, read).await;
    let versions: Vec<_> = forth.into_iter().flat_map(|page| page.items).collect();
    assert_eq!(versions, (1..=70).collect::<Vec<_>>());
}

async fn a_page_of_actions_with_large_schemas_can_be_received(engine: Engine) {
    let server = with_schemas(engine, |number| format!("action_{number}")).await;
    let client = server.client().await;
    let read = async |Ask { limit, order, before, after }| {
        let request = ListActionsRequest { limit, order, before, after };
        let answer = client.clone().list_actions(request).await.unwrap().into_inner();
        Page::new(answer.actions.into_iter().map(|action| action.name), answer.list_metadata)
    };
    let (forth, _) = walk(100, SortOrder::Asc, read).await;
    assert_eq!(forth.into_iter().map(|page| page.items.len()).sum::<usize>(), 70);
}

async fn a_page_of_exports_with_large_filters_can_be_received(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    client.clone().create_event(create_event("acme", "doc.read")).await.unwrap();
    let widest = vec!["\u{1f980}".repeat(1_024); 100];
    let request = CreateExportRequest {
        organization_id: "acme".into(),
        range_start: Some(at("2026-01-01T00:00:00Z")),
        range_end: Some(at("2026-01-01T00:00:00Z")),
        actor_ids: widest.clone(),
        actor_names: widest.clone(),
        target_ids: widest,
        ..CreateExportRequest::default()
    };
    for _ in 0..4 {
        client.clone().create_export(request.clone()).await.unwrap();
    }
    let read = async |Ask { limit, order, before, after }| {
        let organization_id = String::new();
        let request = ListExportsRequest { organization_id, limit, order, before, after };
        let answer = client.clone().list_exports(request).await.unwrap().into_inner();
        Page::new(answer.exports.into_iter().map(|export| export.id), answer.list_metadata)
    };
    let (forth, _) = walk(100, SortOrder::Asc, read).await;
    assert_eq!(forth.into_iter().map(|page| page.items.len()).sum::<usize>(), 4);
}
