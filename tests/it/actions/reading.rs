//! What is read back of actions and schemas, and what events they take.

use std::collections::BTreeSet;

use audit_logs::{
    domain::timestamp::Timestamp,
    proto::v1::{CreateActionSchemaRequest, Event, SchemaActor},
};
use prost_types::Struct;
use serde_json::json;

use super::{actions, create, numbered, target, version, versions};
use crate::{
    refusals::object,
    support::{
        Engine, Refusal, TestServer, at, builders::Scalar, create_event, metadata, on_every_engine,
        schema_for,
    },
};

on_every_engine!(
    a_schema_reads_back_as_it_was_sent,
    a_list_of_actions_shows_their_newest_versions,
    names_are_case_sensitive,
    names_can_have_any_printable_character,
    every_schema_of_an_event_is_checked,
);

fn elaborate() -> CreateActionSchemaRequest {
    let nested = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": "\u{dc}ber", "description": "", "default": {"a": [1, {"b": null}]},
        "examples": [{"a": 0.1}, [], "x"],
        "required": ["z", "a"], "additionalProperties": {"type": ["string", "null"]},
        "minProperties": 1, "maxProperties": 9_007_199_254_740_992_u64,
        "properties": {
            "z": {"enum": ["b", "a", 1, 1.5, -0.25, null, true, [], {}], "const": "a"},
            "a": {"type": "number", "minimum": -1e-7, "exclusiveMaximum": 1e21, "multipleOf": 0.1},
            "p": {"type": "string", "pattern": "^\\p{L}+\\.[a-z]{2,3}$", "minLength": 0},
            "t": true, "f": false, "": {},
        },
    });
    CreateActionSchemaRequest {
        action_name: "doc.read".into(),
        targets: vec![
            target("z", Some(object(&nested))),
            target("\u{e4} b", Some(Struct::default())),
            target("a", None),
        ],
        actor: Some(SchemaActor { metadata: Some(object(&nested)) }),
        metadata: Some(object(&nested)),
    }
}

async fn a_schema_reads_back_as_it_was_sent(engine: Engine) {
    let now = Timestamp::parse_rfc3339("2026-06-01T12:00:00.000009Z").unwrap();
    let (server, _clock) = TestServer::start_with_clock(engine, now).await;
    let mut client = server.client().await;
    let sent = elaborate();
    let created = create(&mut client, sent.clone()).await.schema.unwrap();
    assert_eq!(created.targets, sent.targets);
    assert_eq!(created.actor, sent.actor);
    assert_eq!(created.metadata, sent.metadata);
    assert_eq!(created.created_at, Some(at("2026-06-01T12:00:00.000009Z")));
    assert_eq!(actions(&mut client).await[0].schema.as_ref(), Some(&created));
    assert_eq!(versions(&mut client, "doc.read").await, [created]);
    // What is absent stays absent, what is empty stays empty.
    let actor = Some(SchemaActor { metadata: None });
    let bare = CreateActionSchemaRequest { actor, ..schema_for("bare") };
    let created = create(&mut client, bare.clone()).await.schema.unwrap();
    assert_eq!((&created.actor, &created.metadata), (&bare.actor, &None));
    assert_eq!(versions(&mut client, "bare").await, [created]);
}

async fn a_list_of_actions_shows_their_newest_versions(engine: Engine) {
    let now = Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, now).await;
    let mut client = server.client().await;
    for number in 0..3 {
        for action in ["b", "a"] {
            let request =
                CreateActionSchemaRequest { action_name: action.into(), ..numbered(number) };
            create(&mut client, request).await;
            clock.advance_seconds(1);
        }
    }
    let all = actions(&mut client).await;
    let told: Vec<_> = all
        .iter()
        .map(|action| (&*action.name, action.created_at.unwrap(), action.updated_at.unwrap()))
        .collect();
    let second = |second: u32| at(&format!("2026-06-01T12:00:0{second}Z"));
    assert_eq!(told, [("b", second(0), second(4)), ("a", second(1), second(5))]);
    for action in all {
        let schema = action.schema.unwrap();
        assert_eq!((schema.version, &schema.targets), (3, &numbered(2).targets));
        assert_eq!(schema.created_at, action.updated_at);
    }
}

async fn names_are_case_sensitive(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    assert_eq!(version(&mut client, schema_for("user.x")).await, (1, true));
    let mut other = schema_for("User.x");
    other.targets[0].r#type = "Document".into();
    assert_eq!(version(&mut client, other).await, (1, true));
    client.create_event(create_event("acme", "user.x")).await.unwrap();
    // Types of targets are too.
    let refused = client.create_event(create_event("acme", "User.x")).await.unwrap_err();
    assert!(Refusal::of(&refused).names("event.targets", "SCHEMA_MISMATCH"));
    let names = actions(&mut client).await.into_iter().map(|action| action.name);
    assert_eq!(names.collect::<BTreeSet<_>>(), ["User.x", "user.x"].map(str::to_owned).into());
}

async fn names_can_have_any_printable_character(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let names = [
        "a/b/../c",
        "two words",
        "two  words",
        "100%",
        "_",
        "'; DROP TABLE actions; --",
        "\"\\",
        "\u{fc}ber",
        "u\u{308}ber",
        "\u{30a4}\u{30d9}\u{30f3}\u{30c8}",
        "\u{1f980}",
        ".",
        "$ref",
    ];
    for name in names {
        assert_eq!(version(&mut client, schema_for(name)).await, (1, true), "{name}");
        assert_eq!(version(&mut client, schema_for(name)).await, (1, false), "{name}");
        client.create_event(create_event("acme", name)).await.unwrap();
        assert_eq!(versions(&mut client, name).await.len(), 1, "{name}");
    }
    let listed = actions(&mut client).await.into_iter().map(|action| action.name);
    assert_eq!(listed.collect::<BTreeSet<_>>(), names.map(str::to_owned).into());
}

async fn every_schema_of_an_event_is_checked(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let strict = |key: &str| {
        let schema = json!({"required": [key], "properties": {key: {"maxLength": 3}}});
        Some(object(&schema))
    };
    let request = CreateActionSchemaRequest {
        targets: vec![target("document", strict("t"))],
        actor: Some(SchemaActor { metadata: strict("a") }),
        metadata: strict("e"),
        ..schema_for("doc.read")
    };
    create(&mut client, request).await;
    let with = |actor: Scalar, target: Scalar, event: Scalar| {
        let mut request = create_event("acme", "doc.read");
        let Event { actor: party, targets, metadata: own, .. } = request.event.as_mut().unwrap();
        party.as_mut().unwrap().metadata = Some(metadata(&[("a", actor)]));
        targets[0].metadata = Some(metadata(&[("t", target)]));
        *own = Some(metadata(&[("e", event)]));
        request
    };
    // Only texts have a length.
    client.create_event(with("abc".into(), 1_000.0.into(), true.into())).await.unwrap();
    let long = || Scalar::from("abcd");
    let table = [
        (with(long(), 1.0.into(), 1.0.into()), "event.actor.metadata.a"),
        (with(1.0.into(), long(), 1.0.into()), "event.targets[0].metadata.t"),
        (with(1.0.into(), 1.0.into(), long()), "event.metadata.e"),
    ];
    for (request, field) in table {
        let refusal = Refusal::of(&client.create_event(request).await.unwrap_err());
        assert_eq!(refusal.reason, "INVALID_AUDIT_LOG_EVENT");
        assert_eq!(refusal.fields, [(field.to_owned(), "SCHEMA_MISMATCH".to_owned())]);
    }
    let refusal =
        Refusal::of(&client.create_event(create_event("acme", "doc.read")).await.unwrap_err());
    for field in ["event.actor.metadata", "event.targets[0].metadata", "event.metadata"] {
        assert!(refusal.names(field, "SCHEMA_MISMATCH"), "{refusal:?}");
    }
    assert_eq!(server.count("events").await, 1);
}
