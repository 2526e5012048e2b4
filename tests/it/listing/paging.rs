//! The six lists, page by page. A clock that the test moves makes the order of creation sure.

use std::sync::Arc;

use audit_logs::{
    domain::{clock::ManualClock, timestamp::Timestamp},
    proto::v1::{
        ApiKeysCreateRequest, ApiKeysListRequest, CreateExportRequest, ListActionSchemasRequest,
        ListActionsRequest, ListExportsRequest, OrganizationsCreateRequest,
        OrganizationsListRequest, SchemaTarget,
    },
};

use super::{Ask, Page, events_of_acme, lists_all, page_of_events};
use crate::support::{Engine, TestServer, at, create_event, on_every_engine, schema_for};

on_every_engine!(
    events_page_forth_and_back,
    filtered_events_page_forth_and_back,
    actions_page_forth_and_back,
    schemas_page_forth_and_back,
    organizations_page_forth_and_back,
    exports_page_forth_and_back,
    api_keys_page_forth_and_back,
    what_is_made_at_one_moment_is_listed_once,
    an_empty_list_has_no_cursors,
    a_page_has_ten_items_unless_told,
);

const ITEMS: usize = 7;

async fn start(engine: Engine) -> (TestServer, Arc<ManualClock>) {
    let now = Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap();
    TestServer::start_with_clock(engine, now).await
}

/// Records that many events of each of two actions in acme, and some elsewhere.
async fn with_events(engine: Engine, count: usize) -> TestServer {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for action in ["doc.read", "doc.write"] {
        client.create_action_schema(schema_for(action)).await.unwrap();
    }
    for _ in 0..count {
        for (organization, action) in
            [("acme", "doc.read"), ("beta", "doc.read"), ("acme", "doc.write")]
        {
            client.create_event(create_event(organization, action)).await.unwrap();
        }
    }
    server
}

async fn events_page_forth_and_back(engine: Engine) {
    let server = with_events(engine, 4).await;
    let client = server.client().await;
    let read = async |ask| page_of_events(&client, events_of_acme(ask)).await;
    lists_all(&(0..8).collect::<Vec<_>>(), read).await;
}

async fn filtered_events_page_forth_and_back(engine: Engine) {
    let server = with_events(engine, 6).await;
    let client = server.client().await;
    let read = async |ask| {
        let mut request = events_of_acme(ask);
        request.actions = vec!["doc.write".into(), "nobody".into()];
        request.sequence_start = Some(2);
        page_of_events(&client, request).await
    };
    lists_all(&[3, 5, 7, 9, 11], read).await;
}

async fn actions_page_forth_and_back(engine: Engine) {
    let (server, clock) = start(engine).await;
    let client = server.client().await;
    let mut names = Vec::new();
    for number in 0..ITEMS {
        // Not in the order of their names.
        let name = format!("action_{}", number * 5 % ITEMS);
        client.clone().create_action_schema(schema_for(&name)).await.unwrap();
        names.push(name);
        clock.advance_seconds(1);
    }
    // A new version does not move an action.
    let mut second = schema_for(&names[2]);
    second.targets[0].r#type = "other".into();
    client.clone().create_action_schema(second).await.unwrap();
    let read = async |Ask { limit, order, before, after }| {
        let request = ListActionsRequest { limit, order, before, after };
        let answer = client.clone().list_actions(request).await.unwrap().into_inner();
        Page::new(answer.actions.into_iter().map(|action| action.name), answer.list_metadata)
    };
    lists_all(&names, read).await;
}

async fn schemas_page_forth_and_back(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    for action in ["doc.read", "doc.write"] {
        for number in 0..12 {
            let mut request = schema_for(action);
            request.targets =
                vec![SchemaTarget { r#type: format!("type_{number}"), metadata: None }];
            client.clone().create_action_schema(request).await.unwrap();
        }
    }
    let read = async |Ask { limit, order, before, after }| {
        let action_name = "doc.read".to_owned();
        let request = ListActionSchemasRequest { action_name, limit, order, before, after };
        let answer = client.clone().list_action_schemas(request).await.unwrap().into_inner();
        Page::new(answer.schemas.into_iter().map(|schema| schema.version), answer.list_metadata)
    };
    lists_all(&(1..=12).collect::<Vec<_>>(), read).await;
}

async fn organizations_page_forth_and_back(engine: Engine) {
    let (server, clock) = start(engine).await;
    let client = server.organizations().await;
    let mut ids = Vec::new();
    for number in 0..ITEMS {
        let id = format!("org_{}", number * 5 % ITEMS);
        let request = OrganizationsCreateRequest {
            name: "One".into(),
            organization_id: id.clone(),
            ..Default::default()
        };
        client.clone().create(request).await.unwrap();
        ids.push(id);
        clock.advance_seconds(1);
    }
    // Neither a deleted one nor one that is changed disturbs the order.
    let organization_id = ids.remove(3);
    let request = audit_logs::proto::v1::OrganizationsDeleteRequest { organization_id };
    client.clone().delete(request).await.unwrap();
    let (organization_id, retention_period_in_days) = (ids[0].clone(), 30);
    let request =
        audit_logs::proto::v1::UpdateRetentionRequest { organization_id, retention_period_in_days };
    client.clone().update_retention(request).await.unwrap();
    let read = async |Ask { limit, order, before, after }| {
        let request =
            OrganizationsListRequest { limit, order, before, after, ..Default::default() };
        let answer = client.clone().list(request).await.unwrap().into_inner();
        Page::new(answer.organizations.into_iter().map(|o| o.id), answer.list_metadata)
    };
    lists_all(&ids, read).await;
}

async fn exports_page_forth_and_back(engine: Engine) {
    let (server, clock) = start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut ids: [Vec<String>; 2] = Default::default();
    for number in 0..2 * ITEMS {
        let organization = ["acme", "beta"][number % 2];
        client.clone().create_event(create_event(organization, "doc.read")).await.unwrap();
        let request = CreateExportRequest {
            organization_id: organization.into(),
            range_start: Some(at("2026-01-01T00:00:00Z")),
            range_end: Some(at("2026-01-01T00:00:00Z")),
            ..CreateExportRequest::default()
        };
        let created = client.clone().create_export(request).await.unwrap().into_inner();
        ids[number % 2].push(created.export.unwrap().id);
        clock.advance_seconds(1);
    }
    let read = async |organization: &str, Ask { limit, order, before, after }| {
        let organization_id = organization.to_owned();
        let request = ListExportsRequest { organization_id, limit, order, before, after };
        let answer = client.clone().list_exports(request).await.unwrap().into_inner();
        Page::new(answer.exports.into_iter().map(|export| export.id), answer.list_metadata)
    };
    lists_all(&ids[0], async |ask| read("acme", ask).await).await;
    let all: Vec<_> =
        ids[0].iter().zip(&ids[1]).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    lists_all(&all, async |ask| read("", ask).await).await;
}

async fn api_keys_page_forth_and_back(engine: Engine) {
    let (server, clock) = start(engine).await;
    let client = server.keys().await;
    // The operator's key is the first.
    let mut names = vec!["bootstrap".to_owned()];
    for number in 0..ITEMS {
        clock.advance_seconds(1);
        let request = ApiKeysCreateRequest {
            name: format!("key {number}"),
            scopes: vec!["events:read".into()],
            organization_ids: Vec::new(),
        };
        let created = client.clone().create(request).await.unwrap().into_inner();
        names.push(created.api_key.unwrap().name);
    }
    let read = async |Ask { limit, order, before, after }| {
        let request = ApiKeysListRequest { limit, order, before, after };
        let answer = client.clone().list(request).await.unwrap().into_inner();
        Page::new(answer.api_keys.into_iter().map(|key| key.name), answer.list_metadata)
    };
    lists_all(&names, read).await;
}

async fn what_is_made_at_one_moment_is_listed_once(engine: Engine) {
    let (server, _clock) = start(engine).await;
    let client = server.organizations().await;
    let mut ids = Vec::new();
    for number in 0..ITEMS {
        let id = format!("org_{number}");
        let request = OrganizationsCreateRequest {
            name: "One".into(),
            organization_id: id.clone(),
            ..Default::default()
        };
        client.clone().create(request).await.unwrap();
        ids.push(id);
    }
    let read = async |Ask { limit, order, before, after }| {
        let request =
            OrganizationsListRequest { limit, order, before, after, ..Default::default() };
        let answer = client.clone().list(request).await.unwrap().into_inner();
        Page::new(answer.organizations.into_iter().map(|o| o.id), answer.list_metadata)
    };
    // Nothing tells which was first, but the order is the same each time.
    let order = audit_logs::proto::v1::SortOrder::Asc.into();
    let mut listed = read(Ask { limit: 100, order, ..Ask::default() }).await.items;
    lists_all(&listed, read).await;
    listed.sort();
    assert_eq!(listed, ids);
}

async fn an_empty_list_has_no_cursors(engine: Engine) {
    let server = with_events(engine, 1).await;
    let key = server.key_in("empty").await;
    let mut client = server.client_as(&key).await;
    let actions = client.list_actions(ListActionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(Page::new(actions.actions, actions.list_metadata).items, []);
    let exports = client.list_exports(ListExportsRequest::default()).await.unwrap().into_inner();
    assert_eq!(Page::new(exports.exports, exports.list_metadata).items, []);
    let mut organizations = server.organizations_as(&key).await;
    let request = OrganizationsListRequest::default();
    let organizations = organizations.list(request).await.unwrap().into_inner();
    assert_eq!(Page::new(organizations.organizations, organizations.list_metadata).items, []);
    let mut request = events_of_acme(Ask::default());
    request.actions = vec!["nobody".into()];
    let events = server.client().await.list_events(request).await.unwrap().into_inner();
    assert_eq!(Page::new(events.events, events.list_metadata).items, []);
}

async fn a_page_has_ten_items_unless_told(engine: Engine) {
    let server = with_events(engine, 6).await;
    let page = page_of_events(&server.client().await, events_of_acme(Ask::default())).await;
    // Newest first.
    assert_eq!(page.items, (2..12).rev().collect::<Vec<_>>());
    assert!(page.before.is_empty() && !page.after.is_empty());
}
