//! What a cursor is good for.

use audit_logs::proto::v1::{
    ListActionSchemasRequest, ListActionsRequest, ListEventsRequest, ListExportsRequest,
    OrganizationsListRequest, SortOrder,
};
use tonic::{Code, Response, Status};

use super::{Ask, Page, events_of_acme, page_of_events};
use crate::support::{Engine, Refusal, TestServer, create_event, on_every_engine, schema_for};

on_every_engine!(
    before_the_first_and_after_the_last_is_nothing,
    a_cursor_is_good_for_another_order_and_filter,
    a_cursor_of_another_organization_is_not_found,
    an_altered_cursor_is_not_found,
    a_cursor_of_another_list_is_not_found,
    a_schema_cursor_is_one_of_its_action,
);

/// A server with ten events each of acme and beta.
async fn with_events(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for action in ["doc.read", "doc.write"] {
        client.create_action_schema(schema_for(action)).await.unwrap();
        for _ in 0..5 {
            for organization in ["acme", "beta"] {
                client.create_event(create_event(organization, action)).await.unwrap();
            }
        }
    }
    server
}

fn ascending(limit: i32) -> Ask {
    Ask { limit, order: SortOrder::Asc.into(), ..Ask::default() }
}

fn is_not_found<A: std::fmt::Debug>(answer: Result<Response<A>, Status>, what: &str) {
    let refusal = Refusal::of(&answer.unwrap_err());
    let told = (refusal.code, &*refusal.reason);
    assert_eq!(told, (Code::NotFound, "CURSOR_NOT_FOUND"), "{what}");
}

/// The cursor of acme's event with that sequence.
async fn cursor_of(server: &TestServer, sequence: u64) -> String {
    let mut request = events_of_acme(ascending(1));
    request.sequence_start = Some(sequence);
    page_of_events(&server.client().await, request).await.after
}

async fn before_the_first_and_after_the_last_is_nothing(engine: Engine) {
    let server = with_events(engine).await;
    let nothing = Page { items: Vec::new(), before: String::new(), after: String::new() };
    let first = cursor_of(&server, 0).await;
    let ask = Ask { before: first.clone(), ..ascending(3) };
    assert_eq!(page_of_events(&server.client().await, events_of_acme(ask)).await, nothing);
    let ask = Ask { after: first, limit: 3, ..Ask::default() };
    assert_eq!(page_of_events(&server.client().await, events_of_acme(ask)).await, nothing);
    // The last one has a cursor only when another follows.
    let mut client = server.client().await;
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let last = cursor_of(&server, 9).await;
    let ask = Ask { after: last.clone(), ..ascending(3) };
    let page = page_of_events(&server.client().await, events_of_acme(ask)).await;
    assert_eq!((page.items, page.after), (vec![10], String::new()));
    let ask = Ask { before: last, ..ascending(3) };
    assert_eq!(page_of_events(&server.client().await, events_of_acme(ask)).await.items, [6, 7, 8]);
}

async fn a_cursor_is_good_for_another_order_and_filter(engine: Engine) {
    let server = with_events(engine).await;
    let after = cursor_of(&server, 4).await;
    let ask = Ask { after: after.clone(), limit: 2, ..Ask::default() };
    assert_eq!(page_of_events(&server.client().await, events_of_acme(ask)).await.items, [3, 2]);
    // The event of the cursor itself need not match.
    let mut request = events_of_acme(Ask { after, ..ascending(2) });
    request.actions = vec!["doc.write".into()];
    let page = page_of_events(&server.client().await, request).await;
    assert_eq!(page.items, [5, 6]);
}

async fn a_cursor_of_another_organization_is_not_found(engine: Engine) {
    let server = with_events(engine).await;
    let mut client = server.client().await;
    for sequence in 0..9 {
        let cursor = cursor_of(&server, sequence).await;
        let beta = || ListEventsRequest { organization_id: "beta".into(), ..Default::default() };
        let request = ListEventsRequest { after: cursor.clone(), ..beta() };
        is_not_found(client.list_events(request).await, &cursor);
        let request = ListEventsRequest { before: cursor.clone(), ..beta() };
        is_not_found(client.list_events(request).await, &cursor);
    }
}

async fn an_altered_cursor_is_not_found(engine: Engine) {
    let server = with_events(engine).await;
    let mut client = server.client().await;
    let cursor = cursor_of(&server, 4).await;
    let mut altered: Vec<_> = (0..cursor.len())
        .map(|place| {
            let mut bytes = cursor.clone().into_bytes();
            bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    altered.extend([
        cursor.to_uppercase(),
        format!(" {cursor}"),
        format!("{cursor} "),
        format!("{cursor}0"),
        cursor[..cursor.len() - 1].to_owned(),
        cursor.replacen('_', "_0", 1),
        cursor.replacen('_', "_+", 1),
        "evc_".to_owned(),
        "evc_ffffffffffffffff_".to_owned(),
        "evc_10000000000000000_00000000".to_owned(),
    ]);
    for altered in altered {
        let after = altered.clone();
        let request = events_of_acme(Ask { after, ..Ask::default() });
        is_not_found(client.list_events(request).await, &altered);
    }
}

async fn a_cursor_of_another_list_is_not_found(engine: Engine) {
    let server = with_events(engine).await;
    let mut client = server.client().await;
    let mut organizations = server.organizations().await;
    let request = ListActionsRequest { limit: 1, ..ListActionsRequest::default() };
    let page = client.list_actions(request).await.unwrap().into_inner();
    let of_actions = page.list_metadata.unwrap().after;
    let request = OrganizationsListRequest { limit: 1, ..OrganizationsListRequest::default() };
    let page = organizations.list(request).await.unwrap().into_inner();
    let of_organizations = page.list_metadata.unwrap().after;
    let of_events = cursor_of(&server, 0).await;
    assert!([&of_actions, &of_organizations, &of_events].iter().all(|cursor| !cursor.is_empty()));
    for after in [of_actions.clone(), of_organizations.clone()] {
        let request = events_of_acme(Ask { after: after.clone(), ..Ask::default() });
        is_not_found(client.list_events(request).await, &after);
    }
    for after in [of_events.clone(), of_organizations.clone()] {
        let request = ListActionsRequest { after: after.clone(), ..Default::default() };
        is_not_found(client.list_actions(request).await, &after);
        let request = ListActionSchemasRequest {
            action_name: "doc.read".into(),
            after: after.clone(),
            ..ListActionSchemasRequest::default()
        };
        is_not_found(client.list_action_schemas(request).await, &after);
        let request = ListExportsRequest { after: after.clone(), ..Default::default() };
        is_not_found(client.list_exports(request).await, &after);
    }
    for after in [of_events, of_actions] {
        let request = OrganizationsListRequest { after: after.clone(), ..Default::default() };
        is_not_found(organizations.list(request).await, &after);
    }
}

async fn a_schema_cursor_is_one_of_its_action(engine: Engine) {
    let server = with_events(engine).await;
    let mut client = server.client().await;
    for number in 0..3 {
        let mut request = schema_for("doc.read");
        request.targets[0].r#type = format!("type_{number}");
        client.create_action_schema(request).await.unwrap();
    }
    let request = ListActionSchemasRequest {
        action_name: "doc.read".into(),
        limit: 1,
        ..ListActionSchemasRequest::default()
    };
    let page = client.list_action_schemas(request).await.unwrap().into_inner();
    let after = page.list_metadata.unwrap().after;
    assert_eq!(page.schemas[0].version, 4);
    // The other action has no fourth version.
    let request = ListActionSchemasRequest {
        action_name: "doc.write".into(),
        after: after.clone(),
        ..ListActionSchemasRequest::default()
    };
    is_not_found(client.list_action_schemas(request).await, &after);
}
