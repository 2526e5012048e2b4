//! Actions and their schemas over REST.

use serde_json::{Value, json};

use super::calls::{Rest, schema};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    a_schema_is_given_back_and_versioned,
    what_php_and_python_send_for_nothing_is_nothing,
    names_are_percent_encoded,
    schemas_that_cannot_be_used_are_refused,
);

fn path(action: &str) -> String {
    format!("/audit_logs/actions/{action}/schemas")
}

fn without_time(mut schema: Value) -> Value {
    schema.as_object_mut().unwrap().remove("created_at").unwrap();
    schema
}

async fn a_schema_is_given_back_and_versioned(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let sent = json!({
        "actor": {"metadata": {"type": "object", "properties": {"role": {"type": "string"}}}},
        "targets": [
            {"type": "report", "metadata": {"type": "object", "properties": {"pages": {"type": "number"}}}},
            {"type": "workspace"},
        ],
        "metadata": {"type": "object", "properties": {"signed": {"type": "boolean"}}},
    });
    let first = rest.post(&path("report.downloaded"), sent.clone()).await;
    let mut expected = sent.clone();
    expected["object"] = json!("audit_log_schema");
    expected["version"] = json!(1);
    assert_eq!((first.status, without_time(first.body.clone())), (201, expected));

    // Equal: the same version; different: the next.
    let same = rest.post(&path("report.downloaded"), sent.clone()).await;
    assert_eq!((same.status, &same.body), (201, &first.body));
    let second = rest.post(&path("report.downloaded"), schema()).await;
    assert_eq!((second.status, &second.body["version"]), (201, &json!(2)));

    let versions = rest.get(&path("report.downloaded")).await;
    assert_eq!(versions.body["data"], json!([second.body, first.body]));
    assert_eq!(versions.body["list_metadata"], json!({"before": null, "after": null}));
    let actions = rest.get("/audit_logs/actions").await;
    let action = &actions.body["data"][0];
    assert_eq!(action["schema"], second.body);
    assert_eq!(action["created_at"], first.body["created_at"]);
    assert_eq!(action["updated_at"], second.body["created_at"]);
    assert_eq!(rest.get(&path("report.eaten")).await.refusal(), (404, "entity_not_found"));
}

async fn what_php_and_python_send_for_nothing_is_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let plain = rest.post(&path("a"), schema()).await;
    for odd in [
        json!({"targets": [{"type": "report", "metadata": null}], "actor": null}),
        json!({"targets": [{"type": "report", "metadata": []}], "actor": {"metadata": null}}),
        json!({"targets": [{"type": "report"}], "actor": {"metadata": []}, "metadata": []}),
    ] {
        let answer = rest.post(&path("a"), odd).await;
        assert_eq!((answer.status, &answer.body), (201, &plain.body));
    }
    // As Node sends an actor of which nothing is asked, and PHP an empty map within a schema.
    let empty = json!({"type": "object", "properties": {}});
    let php = json!({"type": "object", "properties": []});
    for actor in [empty.clone(), php] {
        let body = json!({"targets": [{"type": "report"}], "actor": {"metadata": actor}});
        let answer = rest.post(&path("b"), body).await;
        assert_eq!(answer.body["actor"]["metadata"], empty);
        assert_eq!(answer.body["version"], 1);
    }
}

async fn names_are_percent_encoded(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    for (encoded, name) in [
        ("a%2Fb%20c", "a/b c"),
        ("%C3%A9t%C3%A9", "\u{e9}t\u{e9}"),
        ("user.signed_in", "user.signed_in"),
        ("a:b@c", "a:b@c"),
        ("100%25", "100%"),
    ] {
        let created = rest.post(&path(encoded), schema()).await;
        assert_eq!(created.status, 201, "{encoded}");
        assert_eq!(rest.get(&path(encoded)).await.body["data"], json!([created.body]));
        let newest = rest.get("/audit_logs/actions?limit=1").await;
        assert_eq!(newest.body["data"][0]["name"], name);
    }
    let refused = rest.get(&path("%FF")).await;
    assert_eq!(refused.refusal(), (400, "invalid_path"));
}

async fn schemas_that_cannot_be_used_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let of = |metadata: Value| json!({"targets": [{"type": "t", "metadata": metadata}]});
    for (body, field, code) in [
        (json!({}), "targets", "required"),
        (json!({"targets": []}), "targets", "required"),
        (json!({"targets": null}), "targets", "required"),
        (json!({"targets": [{}]}), "targets[0].type", "required"),
        (json!({"targets": [{"type": "t"}], "actor": {}}), "actor.metadata", "required"),
        (json!({"targets": ["t"]}), "targets[0]", "invalid_type"),
        (json!({"targets": [{"type": "t"}, {"type": "t"}]}), "targets[1].type", "duplicate"),
        (of(json!("x")), "targets[0].metadata", "invalid_type"),
        (of(json!({"$ref": "#"})), "targets[0].metadata.$ref", "unsupported_keyword"),
        (of(json!({"type": "array"})), "targets[0].metadata.type", "invalid_schema"),
    ] {
        let answer = rest.post(&path("a"), body.clone()).await;
        assert_eq!(answer.refusal(), (422, "unprocessable_entity"), "{body}");
        assert_eq!(answer.errors()[0], (field, code), "{body}");
    }
    let long = "x".repeat(256);
    assert_eq!(rest.post(&path(&long), schema()).await.errors(), [("action_name", "too_long")]);
    assert_eq!(server.count("actions").await, 0);
}
