//! The six lists: page size, order, cursors and filters.

use audit_logs::proto::v1::{
    ApiKeysListRequest, ListActionSchemasRequest, ListActionsRequest, ListEventsRequest,
    ListExportsRequest, OrganizationsListRequest,
};

use super::{
    Row,
    filters::{filter_rows, value_rows},
    invalid, long, organization_id_rows, refuses, required_text_rows, text_rows, unknown, wide,
};
use crate::support::{Engine, TestServer, at, create_event, on_every_engine, schema_for};

on_every_engine!(
    list_events_names_each_wrong_field,
    the_largest_filter_is_accepted,
    list_actions_names_each_wrong_field,
    list_action_schemas_names_each_wrong_field,
    list_exports_names_each_wrong_field,
    list_organizations_names_each_wrong_field,
    list_api_keys_names_each_wrong_field,
);

/// The rows for the four fields that every list has.
macro_rules! page_rows {
    ($request:ty) => {{
        let limit = || invalid("limit", "OUT_OF_RANGE");
        let order = || invalid("order", "UNKNOWN");
        let before = || unknown("before", "CURSOR_NOT_FOUND");
        let after = || unknown("after", "CURSOR_NOT_FOUND");
        let rows: [Row<$request>; _] = [
            ("limit -1", |r| r.limit = -1, limit()),
            ("limit 101", |r| r.limit = 101, limit()),
            ("the least limit", |r| r.limit = i32::MIN, limit()),
            ("the greatest limit", |r| r.limit = i32::MAX, limit()),
            ("order 3", |r| r.order = 3, order()),
            ("order -1", |r| r.order = -1, order()),
            ("the greatest order", |r| r.order = i32::MAX, order()),
            (
                "both cursors",
                |r| (r.before, r.after) = ("a".into(), "b".into()),
                invalid("before", "CONFLICT"),
            ),
            ("an unknown cursor before", |r| r.before = "nobody".into(), before()),
            ("an unknown cursor after", |r| r.after = "nobody".into(), after()),
            ("SQL before", |r| r.before = "' OR 1=1 --".into(), before()),
            ("a wildcard after", |r| r.after = "%".into(), after()),
            ("a NUL before", |r| r.before = "\0".into(), before()),
            ("a NUL after", |r| r.after = "a\0".into(), after()),
            ("an event's cursor of nobody", |r| r.after = "evc_0_00000000".into(), after()),
            ("a version that does not exist", |r| r.after = "als_4294967295".into(), after()),
            ("a version of too many digits", |r| r.before = "als_00000000001".into(), before()),
            ("a signed version", |r| r.before = "als_+000000001".into(), before()),
        ];
        rows
    }};
}

async fn list_events_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    client.clone().create_event(create_event("acme", "doc.read")).await.unwrap();
    let right = ListEventsRequest {
        organization_id: "acme".into(),
        range_start: Some(at("2026-01-02T03:04:05Z")),
        range_end: Some(at("2026-01-02T03:04:05Z")),
        sequence_start: Some(7),
        sequence_end: Some(7),
        ..ListEventsRequest::default()
    };
    let rows: [Row<ListEventsRequest>; _] = [
        (
            "an unknown organization",
            |r| r.organization_id = "nobody".into(),
            unknown("organization_id", "ORGANIZATION_NOT_FOUND"),
        ),
        (
            "an end before the start",
            |r| r.range_end = Some(at("2026-01-02T03:04:04.999999Z")),
            invalid("range_end", "OUT_OF_RANGE"),
        ),
        (
            "a start after the end",
            |r| r.range_start = Some(at("9999-12-31T23:59:59.999999Z")),
            invalid("range_end", "OUT_OF_RANGE"),
        ),
        (
            "a sequence below the first",
            |r| r.sequence_end = Some(6),
            invalid("sequence_end", "OUT_OF_RANGE"),
        ),
        (
            "the greatest sequence first",
            |r| r.sequence_start = Some(u64::MAX),
            invalid("sequence_end", "OUT_OF_RANGE"),
        ),
    ];
    let rows = organization_id_rows!(ListEventsRequest)
        .into_iter()
        .chain(page_rows!(ListEventsRequest))
        .chain(filter_rows!(ListEventsRequest, "INVALID_REQUEST"))
        .chain(rows);
    refuses(&server, right, rows, async |r| client.clone().list_events(r).await).await;
}

async fn the_largest_filter_is_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let request = ListEventsRequest {
        organization_id: "acme".into(),
        sequence_start: Some(0),
        sequence_end: Some(u64::MAX),
        range_start: Some(at("0001-01-01T00:00:00Z")),
        range_end: Some(at("9999-12-31T23:59:59.999999Z")),
        actions: vec![wide(255); 100],
        actor_ids: vec![long(1_024); 100],
        actor_names: vec![wide(1_024); 100],
        target_types: vec![wide(255); 100],
        target_ids: vec![long(1_024); 100],
        limit: 100,
        ..ListEventsRequest::default()
    };
    let page = client.list_events(request).await.unwrap().into_inner();
    assert!(page.events.is_empty());
}

async fn list_actions_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let right = ListActionsRequest { limit: 100, ..ListActionsRequest::default() };
    let rows = page_rows!(ListActionsRequest);
    refuses(&server, right, rows, async |r| client.clone().list_actions(r).await).await;
}

async fn list_action_schemas_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let right = ListActionSchemasRequest {
        action_name: "doc.read".into(),
        limit: 100,
        ..ListActionSchemasRequest::default()
    };
    let not_found = || unknown("action_name", "ACTION_NOT_FOUND");
    let rows: [Row<ListActionSchemasRequest>; _] = [
        ("another action", |r| r.action_name = "nobody".into(), not_found()),
        ("another case", |r| r.action_name = "Doc.read".into(), not_found()),
        ("a wildcard", |r| r.action_name = "doc%".into(), not_found()),
        (
            "a space after the name",
            |r| r.action_name.push(' '),
            invalid("action_name", "INVALID_CHARACTERS"),
        ),
    ];
    let name = required_text_rows!(ListActionSchemasRequest, "action_name", |r| r.action_name, 255);
    let rows = name.chain(rows).chain(page_rows!(ListActionSchemasRequest));
    refuses(&server, right, rows, async |r| client.clone().list_action_schemas(r).await).await;
}

async fn list_exports_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    client.clone().create_event(create_event("acme", "doc.read")).await.unwrap();
    let right = ListExportsRequest {
        organization_id: "acme".into(),
        limit: 100,
        ..ListExportsRequest::default()
    };
    let other: Row<ListExportsRequest> = (
        "an unknown organization",
        |r| r.organization_id = "nobody".into(),
        unknown("organization_id", "ORGANIZATION_NOT_FOUND"),
    );
    // Without an organization it lists all.
    let organization =
        organization_id_rows!(ListExportsRequest).into_iter().filter(|row| row.0 != "no id");
    let rows = organization.chain(page_rows!(ListExportsRequest)).chain([other]);
    refuses(&server, right, rows, async |r| client.clone().list_exports(r).await).await;
}

async fn list_organizations_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.organizations().await;
    let right = OrganizationsListRequest { limit: 100, ..OrganizationsListRequest::default() };
    let rows = page_rows!(OrganizationsListRequest);
    refuses(&server, right, rows, async |r| client.clone().list(r).await).await;
}

async fn list_api_keys_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.keys().await;
    let right = ApiKeysListRequest { limit: 100, ..ApiKeysListRequest::default() };
    let rows = page_rows!(ApiKeysListRequest);
    refuses(&server, right, rows, async |r| client.clone().list(r).await).await;
}
