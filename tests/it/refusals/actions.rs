//! `CreateActionSchema`.

use std::{io::ErrorKind, net::TcpListener};

use audit_logs::proto::v1::{CreateActionSchemaRequest, SchemaActor, SchemaTarget};
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::json;

use super::{Row, changed, invalid, long, refuses, required_text_rows, text_rows, wide};
use crate::support::{Engine, Refusal, TestServer, on_every_engine, schema_for};

on_every_engine!(
    create_action_schema_names_each_wrong_field,
    a_schema_of_metadata_is_a_supported_one_everywhere,
    a_remote_reference_is_refused_and_never_fetched,
    schemas_at_their_limits_are_accepted,
    a_schema_has_at_most_64_kib,
);

/// A JSON value as protobuf has it.
pub fn value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(value).collect() })
        }
        serde_json::Value::Object(_) => Kind::StructValue(object(json)),
    };
    Value { kind: Some(kind) }
}

/// A JSON object as protobuf has it.
pub fn object(json: &serde_json::Value) -> Struct {
    let fields = json.as_object().unwrap().iter();
    Struct { fields: fields.map(|(key, json)| (key.clone(), value(json))).collect() }
}

fn target(r#type: &str) -> SchemaTarget {
    SchemaTarget { r#type: r#type.to_owned(), metadata: None }
}

fn targets(count: usize) -> Vec<SchemaTarget> {
    (0..count).map(|number| target(&format!("type_{number}"))).collect()
}

async fn create_action_schema_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    let spaced = || invalid("action_name", "INVALID_CHARACTERS");
    let rows: [Row<CreateActionSchemaRequest>; _] = [
        ("space before the name", |r| r.action_name = " a".into(), spaced()),
        ("space after the name", |r| r.action_name = "a ".into(), spaced()),
        ("nothing but space", |r| r.action_name = " ".into(), spaced()),
        ("wide space", |r| r.action_name = "\u{2003}a".into(), spaced()),
        ("no target", |r| r.targets.clear(), invalid("targets", "REQUIRED")),
        ("51 targets", |r| r.targets = targets(51), invalid("targets", "TOO_MANY")),
        (
            "a type twice",
            |r| r.targets = vec![target("a"), target("b"), target("a")],
            invalid("targets[2].type", "DUPLICATE"),
        ),
        (
            "the second type is empty",
            |r| r.targets.push(target("")),
            invalid("targets[1].type", "REQUIRED"),
        ),
        (
            "the metadata of the second target",
            |r| {
                let metadata = Some(object(&json!({"type": "list"})));
                r.targets.push(SchemaTarget { metadata, ..target("x") });
            },
            invalid("targets[1].metadata.type", "INVALID_SCHEMA"),
        ),
    ];
    let name =
        required_text_rows!(CreateActionSchemaRequest, "action_name", |r| r.action_name, 255);
    let kind = required_text_rows!(
        CreateActionSchemaRequest,
        "targets[0].type",
        |r| r.targets[0].r#type,
        255
    );
    let call = async |request| client.clone().create_action_schema(request).await;
    refuses(&server, schema_for("a"), name.chain(kind).chain(rows), call).await;
}

/// Where a schema of metadata can be.
type Place = fn(&mut CreateActionSchemaRequest, Struct);

const PLACES: [(&str, Place); 3] = [
    ("metadata", |r, schema| r.metadata = Some(schema)),
    ("actor.metadata", |r, schema| r.actor = Some(SchemaActor { metadata: Some(schema) })),
    ("targets[0].metadata", |r, schema| r.targets[0].metadata = Some(schema)),
];

/// Keywords of JSON Schema that are not supported, and what is none.
const UNSUPPORTED: [&str; 33] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "$id",
    "$anchor",
    "$defs",
    "$vocabulary",
    "definitions",
    "id",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "items",
    "prefixItems",
    "contains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "format",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "contentEncoding",
    "Type",
    "",
    "a keyword of nobody's",
];

/// What is no schema, with the path below the schema's and the reason.
fn no_schemas() -> Vec<(serde_json::Value, String, &'static str)> {
    let mut deep = json!({});
    for _ in 0..8 {
        deep = json!({"additionalProperties": deep});
    }
    let of_property = |schema: serde_json::Value| json!({"properties": {"a": schema}});
    let mut table = vec![
        (json!({"type": "array"}), ".type", "INVALID_SCHEMA"),
        (json!({"type": "text"}), ".type", "INVALID_SCHEMA"),
        (json!({"type": []}), ".type", "INVALID_SCHEMA"),
        (json!({"type": null}), ".type", "INVALID_SCHEMA"),
        (json!({"type": "string"}), ".type", "INVALID_SCHEMA"),
        (json!({"properties": []}), ".properties", "INVALID_SCHEMA"),
        (json!({"properties": {"a": "string"}}), ".properties.a", "INVALID_SCHEMA"),
        (json!({"additionalProperties": 0}), ".additionalProperties", "INVALID_SCHEMA"),
        (json!({"required": "a"}), "", "INVALID_SCHEMA"),
        (json!({"required": ["a", "a"]}), "", "INVALID_SCHEMA"),
        (json!({"required": [1]}), "", "INVALID_SCHEMA"),
        (json!({"minProperties": -1}), "", "INVALID_SCHEMA"),
        (json!({"maxProperties": 1.5}), "", "INVALID_SCHEMA"),
        (of_property(json!({"type": "list"})), ".properties.a.type", "INVALID_SCHEMA"),
        (of_property(json!({"$ref": "#"})), ".properties.a.$ref", "UNSUPPORTED_KEYWORD"),
        (of_property(json!({"enum": "a"})), "", "INVALID_SCHEMA"),
        (of_property(json!({"multipleOf": 0})), "", "INVALID_SCHEMA"),
        (of_property(json!({"minLength": "1"})), "", "INVALID_SCHEMA"),
        (of_property(json!({"maximum": true})), "", "INVALID_SCHEMA"),
        (of_property(json!({"pattern": "("})), "", "INVALID_SCHEMA"),
        (of_property(json!({"pattern": "(?=a)"})), "", "INVALID_SCHEMA"),
        (of_property(json!({"pattern": "(a)\\1"})), "", "INVALID_SCHEMA"),
        (of_property(json!({"pattern": 1})), "", "INVALID_SCHEMA"),
        (of_property(json!({"pattern": long(1_025)})), ".properties.a.pattern", "TOO_LONG"),
    ];
    table.push((deep, ".additionalProperties", "TOO_LARGE"));
    table.into_iter().map(|(schema, path, reason)| (schema, path.to_owned(), reason)).collect()
}

async fn a_schema_of_metadata_is_a_supported_one_everywhere(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let mut table = no_schemas();
    for keyword in UNSUPPORTED {
        table.push((json!({keyword: {}}), format!(".{keyword}"), "UNSUPPORTED_KEYWORD"));
    }
    let before = super::stored(&server).await;
    let mut wrong = Vec::new();
    for (path, place) in PLACES {
        for (schema, below, reason) in &table {
            let request = changed(&schema_for("a"), |r| place(r, object(schema)));
            let Err(status) = client.create_action_schema(request).await else {
                wrong.push(format!("{schema} at {path}: accepted"));
                continue;
            };
            // The path of a schema that is too deep goes on for eight levels.
            let below = if *reason == "TOO_LARGE" { below.repeat(8) } else { below.clone() };
            let difference = invalid(format!("{path}{below}"), reason).difference(&status);
            wrong.extend(difference.map(|difference| format!("{schema} at {path}: {difference}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(super::stored(&server).await, before);
}

async fn a_remote_reference_is_refused_and_never_fetched(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let remote = format!("http://{}/schema.json", listener.local_addr().unwrap());
    for keyword in ["$ref", "$dynamicRef", "$id"] {
        for schema in [json!({keyword: remote}), json!({"properties": {"a": {keyword: remote}}})] {
            for (path, place) in PLACES {
                let request = changed(&schema_for("a"), |r| place(r, object(&schema)));
                let refused = client.create_action_schema(request).await.unwrap_err();
                let [(field, reason)] = &Refusal::of(&refused).fields[..] else {
                    panic!("{refused:?}")
                };
                assert!(field.starts_with(path) && field.ends_with(keyword), "{field}");
                assert_eq!(reason, "UNSUPPORTED_KEYWORD");
                // The address of a machine inside is not repeated.
                assert!(!format!("{refused:?}").contains(&remote));
            }
        }
    }
    assert_eq!(server.count("actions").await + server.count("action_schemas").await, 0);
    // Nor is a meta-schema, or what only looks like a reference. Whether these are accepted does
    // not matter here.
    for schema in [json!({"$schema": remote}), json!({"const": {"$ref": remote}})] {
        let request = changed(&schema_for("b"), |r| r.metadata = Some(object(&schema)));
        _ = client.create_action_schema(request).await;
        _ = client.create_event(crate::support::create_event("acme", "b")).await;
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

async fn schemas_at_their_limits_are_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let mut deep = json!({"type": "string"});
    for _ in 0..7 {
        deep = json!({"additionalProperties": deep});
    }
    let every_keyword = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": "c",
        "title": "t", "description": "d", "default": {"a": [null]}, "examples": [{}, [1]],
        "type": "object", "required": ["a"], "minProperties": 1, "maxProperties": 50,
        "additionalProperties": false,
        "properties": {
            "a": {"type": ["string", "null"], "minLength": 1, "maxLength": 9, "pattern": long(1024)},
            "b": {"type": "integer", "minimum": -1, "maximum": 2, "multipleOf": 1},
            "c": {"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1e300},
            "d": {"type": "boolean", "const": true}, "e": {"enum": ["x", null, 1]}, "f": true,
            "\0": {}, "\u{e4} b": {},
        },
    });
    for schema in [json!({}), json!({"type": "object"}), deep, every_keyword] {
        for (path, place) in PLACES {
            let request = changed(&schema_for("a"), |r| place(r, object(&schema)));
            let answer = client.create_action_schema(request).await;
            answer.unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        }
    }
    let many = changed(&schema_for("many"), |r| r.targets = targets(50));
    client.create_action_schema(many).await.unwrap();
    let wide = changed(&schema_for(&wide(255)), |r| r.targets = vec![target(&wide(255))]);
    client.create_action_schema(wide).await.unwrap();
}

async fn a_schema_has_at_most_64_kib(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let described = |chars| {
        let description = object(&json!({"description": long(chars)}));
        changed(&schema_for("a"), |r| r.metadata = Some(description))
    };
    client.create_action_schema(described(1)).await.unwrap();
    let size = "SELECT CAST(MAX(LENGTH(definition)) AS BIGINT) FROM action_schemas";
    let overhead = usize::try_from(server.query_integers(size).await[0]).unwrap() - 1;
    let most = 64 * 1_024 - overhead;
    let refused = client.create_action_schema(described(most + 1)).await.unwrap_err();
    assert_eq!(invalid("targets", "TOO_LARGE").difference(&refused), None);
    assert_eq!(server.count("action_schemas").await, 1);
    client.create_action_schema(described(most)).await.unwrap();
    assert_eq!(server.query_integers(size).await, [64 * 1_024]);
}
