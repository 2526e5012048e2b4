//! Recording events over REST.

use serde_json::{Value, json};

use super::calls::{Rest, event, event_for, schema};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    an_event_is_recorded_as_it_was_sent,
    every_form_that_sdks_send_is_taken,
    an_event_that_does_not_fit_is_told_as_ajv_would,
    an_unknown_action_or_version_does_not_fit,
    missing_and_malformed_fields_are_told_at_once,
    an_unknown_organization_wins_over_an_unknown_action,
    a_batch_tells_of_each_event,
    the_answer_to_a_batch_is_bounded,
    an_atomic_batch_stores_all_or_nothing,
);

const ACTIONS: &str = "/audit_logs/actions";

/// A client of a server that has an action with a strict schema.
async fn with_action(server: &TestServer) -> Rest {
    let rest = Rest::new(server);
    let number = json!({"type": "object", "properties": {"pages": {"type": "number"}}});
    let strict = json!({"type": "object", "required": ["role"]});
    let schema = json!({
        "targets": [{"type": "report", "metadata": number}, {"type": "workspace"}],
        "actor": {"metadata": strict},
        "metadata": {"type": "object", "properties": {"signed": {"type": "boolean"}}},
    });
    let path = format!("{ACTIONS}/report.downloaded/schemas");
    assert_eq!(rest.post(&path, schema).await.status, 201);
    rest
}

fn fitting() -> Value {
    json!({
        "action": "report.downloaded",
        "occurred_at": "2026-11-02T08:15:30.250Z",
        "version": 1,
        "actor": {"id": "usr_88", "type": "user", "name": "Mira Voss", "metadata": {"role": "analyst"}},
        "targets": [
            {"id": "rep_17", "type": "report", "name": "Q3", "metadata": {"pages": 12}},
            {"id": "ws_4", "type": "workspace"},
        ],
        "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
        "metadata": {"format": "pdf", "signed": true},
    })
}

/// The only event of an organization.
async fn only_event(rest: &Rest, organization: &str) -> Value {
    let list = rest.get(&format!("/v1/events?organization_id={organization}")).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1, "{}", list.body);
    list.body["data"][0].clone()
}

async fn an_event_is_recorded_as_it_was_sent(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    let created = rest.post("/audit_logs/events", event_for("acme", &fitting())).await;
    assert_eq!((created.status, created.body), (200, json!({"success": true})));

    let stored = only_event(&rest, "acme").await;
    for (member, sent) in fitting().as_object().unwrap() {
        if !["actor", "targets"].contains(&member.as_str()) {
            assert_eq!(&stored[member], sent, "{member}");
        }
    }
    assert_eq!(stored["actor"], fitting()["actor"]);
    assert_eq!(stored["targets"][0], fitting()["targets"][0]);
    assert_eq!((&stored["sequence"], &stored["organization_id"]), (&json!(0), &json!("acme")));
    let id = stored["id"].as_str().unwrap();
    let alone = rest.get(&format!("/v1/events/{id}?organization_id=acme")).await;
    assert_eq!((alone.status, alone.body), (200, stored));
    let unknown = rest.get("/v1/events/audit_event_x?organization_id=acme").await;
    assert_eq!(unknown.refusal(), (404, "entity_not_found"));
}

async fn every_form_that_sdks_send_is_taken(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post(&format!("{ACTIONS}/doc.read/schemas"), schema()).await;
    let with = |pointer: &str, value: Value| {
        let mut event = event("doc.read");
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[member] = value;
        event
    };
    let odd = [
        with("/version", json!(null)),
        with("/version", json!(0)),
        with("/version", json!(1.0)),
        with("/metadata", json!(null)),
        with("/metadata", json!([])),
        with("/actor/metadata", json!([])),
        with("/actor/name", json!(null)),
        with("/actor/name", json!("")),
        with("/targets/0/name", json!("")),
        with("/targets/0/metadata", json!(null)),
        with("/context/user_agent", json!("")),
        with("/context/user_agent", json!(null)),
        with("/occurred_at", json!("2026-11-02T08:15:30Z")),
        with("/occurred_at", json!("2026-11-02T08:15:30.2500000+01:00")),
        with("/occurred_at", json!("2026-11-02T08:15:30.250")),
        with("/unknown", json!({"a": [1, 2, {"b": null}]})),
    ];
    for (index, event) in odd.into_iter().enumerate() {
        let organization = format!("org_{index}");
        let sent = event_for(&organization, &event);
        let answer = rest.post("/audit_logs/events", sent.clone()).await;
        assert_eq!(answer.status, 200, "{sent}: {}", answer.body);
        let stored = only_event(&rest, &organization).await;
        assert_eq!(stored["version"], 1);
    }
}

async fn an_event_that_does_not_fit_is_told_as_ajv_would(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    let mut event = fitting();
    event["actor"]["metadata"] = json!({});
    event["targets"] = json!([{"id": "r", "type": "report", "metadata": {"pages": "many"}}]);
    event["metadata"]["signed"] = json!("yes");
    let answer = rest.post("/audit_logs/events", event_for("acme", &event)).await;
    assert_eq!(answer.refusal(), (400, "invalid_audit_log_event"));
    assert_eq!(answer.body["message"], "Invalid Audit Log event.");
    let members = |error: &Value| {
        ["instancePath", "schemaPath", "keyword", "code", "field", "params"]
            .map(|member| error[member].clone())
    };
    let told: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(members).collect();
    let contains = "#/properties/targets/allOf";
    let pages = format!("{contains}/0/contains/properties/metadata/properties/pages/type");
    let expected = [
        json!([
            "/actor/metadata", "#/properties/actor/properties/metadata/required", "required",
            "required", "event.actor.metadata", {"missingProperty": "role"},
        ]),
        json!([
            "/targets/0/metadata/pages", pages, "type", "type", "event.targets[0].metadata.pages",
            {"type": "number"},
        ]),
        json!([
            "/targets", format!("{contains}/1/contains"), "contains", "contains", "event.targets",
            {"minContains": 1},
        ]),
        json!([
            "/metadata/signed", "#/properties/metadata/properties/signed/type", "type", "type",
            "event.metadata.signed", {"type": "boolean"},
        ]),
    ];
    assert_eq!(json!(told), json!(expected));
    assert_eq!(server.count("events").await, 0);
}

async fn an_unknown_action_or_version_does_not_fit(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    for (member, value) in [("action", json!("report.eaten")), ("version", json!(2))] {
        let mut event = fitting();
        event[member] = value;
        let answer = rest.post("/audit_logs/events", event_for("acme", &event)).await;
        assert_eq!(answer.refusal(), (400, "invalid_audit_log_event"));
        assert_eq!(answer.body["errors"][0]["instancePath"], format!("/{member}"));
    }
    assert_eq!(server.count("events").await + server.count("organizations").await, 0);
}

async fn missing_and_malformed_fields_are_told_at_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    let nothing = rest.post("/audit_logs/events", json!({})).await;
    assert_eq!(nothing.refusal(), (422, "unprocessable_entity"));
    assert_eq!(nothing.body["message"], "Validation failed.");
    assert_eq!(nothing.errors(), [("organization_id", "required"), ("event", "required")]);
    assert_eq!(nothing.body["errors"][0].get("instancePath"), None);

    let empty = rest.post("/audit_logs/events", event_for("acme", &json!({}))).await;
    let required = ["action", "occurred_at", "actor", "targets", "context"];
    let required = required.map(|member| format!("event.{member}"));
    let expected: Vec<_> = required.iter().map(|field| (field.as_str(), "required")).collect();
    assert_eq!(empty.errors(), expected);

    let table = [
        ("/action", json!(5), "event.action", "invalid_type"),
        ("/actor", json!("me"), "event.actor", "invalid_type"),
        ("/actor", json!(["usr", "user"]), "event.actor", "invalid_type"),
        ("/actor/id", json!(null), "event.actor.id", "required"),
        ("/targets", json!(null), "event.targets", "required"),
        ("/targets", json!({}), "event.targets", "invalid_type"),
        ("/targets/0", json!(null), "event.targets[0]", "invalid_type"),
        ("/targets/0/id", json!({}), "event.targets[0].id", "invalid_type"),
        ("/version", json!("1"), "event.version", "invalid_type"),
        ("/version", json!(1.5), "event.version", "invalid_type"),
        ("/version", json!(-1), "event.version", "out_of_range"),
        ("/occurred_at", json!(1_793_523_900), "event.occurred_at", "invalid_type"),
        ("/occurred_at", json!("2026-06-31"), "event.occurred_at", "out_of_range"),
        ("/metadata", json!("x"), "event.metadata", "invalid_type"),
        ("/metadata", json!([1]), "event.metadata", "invalid_type"),
        ("/metadata", json!({"a": null}), "event.metadata.a", "invalid_type"),
        ("/metadata", json!({"a": [1]}), "event.metadata.a", "invalid_type"),
        ("/metadata", json!({"a b": 1}), "event.metadata.a b", "invalid_characters"),
        ("/metadata", json!({"a": 9_007_199_254_740_993_u64}), "event.metadata.a", "out_of_range"),
    ];
    for (pointer, value, field, code) in table {
        let mut event = fitting();
        *event.pointer_mut(pointer).unwrap() = value.clone();
        let answer = rest.post("/audit_logs/events", event_for("acme", &event)).await;
        assert_eq!(answer.refusal(), (422, "unprocessable_entity"), "{pointer} {value}");
        assert_eq!(answer.errors(), [(field, code)], "{pointer} {value}");
    }
    assert_eq!(server.count("events").await, 0);
}

async fn an_unknown_organization_wins_over_an_unknown_action(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| {
        settings.organizations.auto_register = false;
    })
    .await;
    let rest = Rest::new(&server);
    let answer = rest.post("/audit_logs/events", event_for("nobody", &event("nothing"))).await;
    assert_eq!(answer.refusal(), (404, "entity_not_found"));
    assert_eq!(answer.body["message"], "Organization not found: 'nobody'.");
}

async fn a_batch_tells_of_each_event(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post(&format!("{ACTIONS}/doc.read/schemas"), schema()).await;
    let (mut nameless, mut untargeted) = (event("doc.read"), event("doc.read"));
    nameless["actor"]["id"] = json!("");
    untargeted["targets"] = json!([]);
    let requests = [
        event_for("acme", &event("doc.read")),
        event_for("acme", &nameless),
        event_for("acme", &untargeted),
        event_for("beta", &event("doc.read")),
        event_for("acme", &event("doc.read")),
    ];
    let answer = rest.post("/v1/events:batch", json!({"requests": requests})).await;
    assert_eq!(answer.status, 200);
    let results = answer.body["results"].as_array().unwrap();
    let statuses: Vec<_> =
        results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 422, 400, 200, 200]);
    assert_eq!(results[1]["errors"][0]["field"], "event.actor.id");
    assert_eq!(results[2]["errors"][0]["instancePath"], "/targets");
    // Equal events without a key are one.
    assert_eq!((&results[0]["duplicate"], &results[4]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(results[0]["event_id"], results[4]["event_id"]);
    assert_eq!(server.count("events").await, 2);

    for (batch, code) in [(json!({}), "required"), (json!({"requests": []}), "required")] {
        assert_eq!(rest.post("/v1/events:batch", batch).await.errors(), [("requests", code)]);
    }
}

/// A client must be able to read what became of its events, however many things are wrong with them.
async fn the_answer_to_a_batch_is_bounded(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| {
        settings.rest.max_body_bytes = 2 * 1_024 * 1_024;
    })
    .await;
    let targets: Vec<_> = (0..100).map(|_| json!({"id": "", "type": ""})).collect();
    let requests: Vec<_> =
        (0..400).map(|_| json!({"organization_id": "a", "event": {"targets": targets}})).collect();
    let answer = Rest::new(&server).post("/v1/events:batch", json!({"requests": requests})).await;
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(results.len(), 400);
    assert!(results.iter().all(|result| result["status"] == 422));
    assert!(results[0].get("errors").is_some() && results[399].get("errors").is_none());
    assert!(answer.body.to_string().len() < 3 * 1_024 * 1_024);
}

async fn an_atomic_batch_stores_all_or_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post(&format!("{ACTIONS}/doc.read/schemas"), schema()).await;
    let mut requests = vec![event_for("acme", &event("doc.read")), event_for("acme", &event("no"))];
    let refused =
        rest.post("/v1/events:batch", json!({"requests": requests, "atomic": true})).await;
    assert_eq!(refused.refusal(), (400, "invalid_audit_log_event"));
    assert_eq!(refused.errors(), [("requests[1].event.action", "unknown")]);
    assert_eq!(refused.body["errors"][0]["instancePath"], "/action");
    assert_eq!(server.count("events").await, 0);
    requests[1] = event_for("beta", &event("doc.read"));
    let stored = rest.post("/v1/events:batch", json!({"requests": requests, "atomic": true})).await;
    assert_eq!(stored.status, 200);
    assert_eq!(server.count("events").await, 2);
}
