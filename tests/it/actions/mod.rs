//! Actions and the versions of their schemas.

mod reading;

use std::collections::BTreeSet;

use audit_logs::proto::v1::{
    Action, ActionSchema, CreateActionSchemaRequest, CreateActionSchemaResponse,
    ListActionSchemasRequest, ListActionsRequest, SchemaActor, SchemaTarget, SortOrder,
};
use prost_types::Struct;
use serde_json::json;

use crate::{
    refusals::object,
    support::{Engine, TestServer, on_every_engine, schema_for},
};

on_every_engine!(
    versions_count_from_one,
    an_equal_schema_returns_the_present_version,
    what_differs_makes_a_version,
    an_earlier_schema_makes_a_version_again,
    concurrent_different_schemas_get_versions_without_gaps,
    concurrent_equal_schemas_are_one_version,
);

type Client = audit_logs::client::AuditLogs;

async fn create(
    client: &mut Client,
    request: CreateActionSchemaRequest,
) -> CreateActionSchemaResponse {
    client.create_action_schema(request).await.unwrap().into_inner()
}

/// The version after a schema was sent, and whether it is new.
async fn version(client: &mut Client, request: CreateActionSchemaRequest) -> (i32, bool) {
    let answer = create(client, request).await;
    (answer.schema.unwrap().version, answer.created)
}

/// All versions of an action, oldest first.
async fn versions(client: &mut Client, action: &str) -> Vec<ActionSchema> {
    let request = ListActionSchemasRequest {
        action_name: action.into(),
        limit: 100,
        order: SortOrder::Asc.into(),
        ..ListActionSchemasRequest::default()
    };
    client.list_action_schemas(request).await.unwrap().into_inner().schemas
}

/// All actions, oldest first.
async fn actions(client: &mut Client) -> Vec<Action> {
    let (limit, order) = (100, SortOrder::Asc.into());
    let request = ListActionsRequest { limit, order, ..ListActionsRequest::default() };
    client.list_actions(request).await.unwrap().into_inner().actions
}

fn target(r#type: &str, metadata: Option<Struct>) -> SchemaTarget {
    SchemaTarget { r#type: r#type.into(), metadata }
}

/// A schema that is another for each number.
fn numbered(number: usize) -> CreateActionSchemaRequest {
    let targets = vec![target(&format!("type_{number}"), None)];
    CreateActionSchemaRequest { targets, ..schema_for("doc.read") }
}

async fn versions_count_from_one(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for number in 1..=5 {
        let answer = create(&mut client, numbered(number)).await;
        assert!(answer.created);
        let schema = answer.schema.unwrap();
        assert_eq!(schema.version, i32::try_from(number).unwrap());
        assert_eq!(schema.targets, numbered(number).targets);
        let all = versions(&mut client, "doc.read").await;
        assert_eq!((all.len(), all.last()), (number, Some(&schema)));
    }
    let numbers = versions(&mut client, "doc.read").await.into_iter().map(|schema| schema.version);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    // Another action has its own count.
    assert_eq!(version(&mut client, schema_for("doc.write")).await, (1, true));
}

/// A schema with three targets, and others that mean the same.
fn synonyms() -> (CreateActionSchemaRequest, Vec<CreateActionSchemaRequest>) {
    let cost = || Some(object(&json!({"properties": {"cost": {"type": "number"}}})));
    let first = CreateActionSchemaRequest {
        targets: vec![target("a", None), target("b", cost()), target("c", None)],
        ..schema_for("doc.read")
    };
    let typed =
        json!({"properties": {"cost": {"type": "number"}}, "type": "object", "required": []});
    let empty = || Some(Struct::default());
    let synonyms = vec![
        first.clone(),
        CreateActionSchemaRequest {
            targets: first.targets.iter().rev().cloned().collect(),
            ..first.clone()
        },
        CreateActionSchemaRequest {
            targets: vec![target("c", empty()), target("a", None), target("b", cost())],
            actor: Some(SchemaActor::default()),
            metadata: empty(),
            ..first.clone()
        },
        CreateActionSchemaRequest {
            targets: vec![
                target("b", Some(object(&typed))),
                target("a", Some(object(&json!({"type": "object", "properties": {}})))),
                target("c", None),
            ],
            actor: Some(SchemaActor { metadata: empty() }),
            ..first.clone()
        },
    ];
    (first, synonyms)
}

async fn an_equal_schema_returns_the_present_version(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    assert_eq!(version(&mut client, schema_for("doc.read")).await, (1, true));
    let (first, synonyms) = synonyms();
    let created = create(&mut client, first).await;
    assert!(created.created);
    for synonym in synonyms {
        let answer = create(&mut client, synonym.clone()).await;
        assert!(!answer.created, "{synonym:?}");
        // What is there already is told, not what was sent.
        assert_eq!(answer.schema, created.schema);
    }
    assert_eq!(versions(&mut client, "doc.read").await.len(), 2);
    assert_eq!(server.count("action_schemas").await, 2);
}

async fn what_differs_makes_a_version(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let of_a = |schema: serde_json::Value| json!({"properties": {"a": schema}});
    let schemas = [
        json!({}),
        of_a(json!({})),
        of_a(json!(true)),
        of_a(json!(false)),
        of_a(json!({"type": "number"})),
        of_a(json!({"type": "integer"})),
        of_a(json!({"type": ["integer", "null"]})),
        of_a(json!({"type": "string"})),
        of_a(json!({"const": null})),
        of_a(json!({"const": 1})),
        of_a(json!({"enum": [1]})),
        of_a(json!({"enum": [1, null]})),
        of_a(json!({"minLength": 0})),
        of_a(json!({"minLength": 1})),
        of_a(json!({"maximum": 0.1})),
        of_a(json!({"maximum": 0.2})),
        of_a(json!({"title": "A"})),
        json!({"additionalProperties": false}),
        json!({"additionalProperties": true}),
        json!({"required": ["a"]}),
        json!({"required": ["A"]}),
    ];
    let places: [fn(&mut CreateActionSchemaRequest, Struct); 3] = [
        |r, schema| r.metadata = Some(schema),
        |r, schema| r.actor = Some(SchemaActor { metadata: Some(schema) }),
        |r, schema| r.targets[0].metadata = Some(schema),
    ];
    let mut expected = 0;
    for (number, place) in places.into_iter().enumerate() {
        for schema in &schemas {
            let mut request = schema_for("doc.read");
            place(&mut request, object(schema));
            // The empty one means the same wherever it is.
            let empty = schema == &json!({}) && number > 0;
            if empty {
                let plain = schema_for("doc.read");
                expected += 1;
                assert_eq!(version(&mut client, plain).await, (expected, true));
            }
            expected += i32::from(!empty);
            assert_eq!(version(&mut client, request).await, (expected, !empty), "{schema}");
        }
    }
}

async fn an_earlier_schema_makes_a_version_again(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for (number, expected) in [(1, 1), (2, 2), (1, 3)] {
        assert_eq!(version(&mut client, numbered(number)).await, (expected, true));
        assert_eq!(version(&mut client, numbered(number)).await, (expected, false));
    }
}

async fn concurrent_different_schemas_get_versions_without_gaps(engine: Engine) {
    const CALLERS: usize = 16;
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let mut client = client.clone();
            tokio::spawn(async move { create(&mut client, numbered(number)).await })
        })
        .collect();
    let mut got = BTreeSet::new();
    for (number, caller) in callers.into_iter().enumerate() {
        let answer = caller.await.unwrap();
        let schema = answer.schema.unwrap();
        assert!(answer.created);
        assert_eq!(schema.targets, numbered(number).targets);
        got.insert(schema.version);
    }
    assert_eq!(got, (1..=i32::try_from(CALLERS).unwrap()).collect());
    let all = versions(&mut client.clone(), "doc.read").await;
    assert_eq!(all.iter().map(|schema| schema.version).collect::<BTreeSet<_>>(), got);
    assert_eq!(server.count("actions").await, 1);
}

async fn concurrent_equal_schemas_are_one_version(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { create(&mut client, schema_for("doc.read")).await })
        })
        .collect();
    let mut created = 0;
    for caller in callers {
        let answer = caller.await.unwrap();
        assert_eq!(answer.schema.unwrap().version, 1);
        created += i32::from(answer.created);
    }
    assert_eq!(created, 1);
    assert_eq!(server.count("action_schemas").await, 1);
}
