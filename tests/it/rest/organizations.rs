//! Organizations, retention and configuration over REST.

use serde_json::{Value, json};

use super::calls::{Rest, event, event_for, schema};
use crate::support::{Engine, TestServer, on_every_engine, server::ROOT_KEY};

on_every_engine!(
    an_organization_lives_its_life,
    an_external_id_is_taken_once,
    an_old_go_client_can_delete,
    malformed_organizations_are_refused,
    an_update_changes_what_is_sent,
    retention_is_set_by_period_or_days,
    the_configuration_tells_what_applies,
);

async fn an_organization_lives_its_life(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let sent = json!({
        "name": "Foo Corp",
        "external_id": "tenant/42",
        "metadata": {"tier": "gold"},
        "domain_data": [{"domain": "Foo-Corp.com", "state": "verified"}],
        "domains": ["foo.example"],
        "allow_profiles_outside_organization": true,
    });
    let created = rest.post("/organizations", sent).await;
    assert_eq!(created.status, 201);
    let body = created.body;
    let id = body["id"].as_str().unwrap();
    assert!(id.starts_with("org_") && id.len() == "org_".len() + 26, "{id}");
    assert_eq!((&body["object"], &body["name"]), (&json!("organization"), &json!("Foo Corp")));
    assert_eq!(body["metadata"], json!({"tier": "gold"}));
    let domains: Vec<_> = body["domains"].as_array().unwrap().iter().collect();
    let told = |member: &str| domains.iter().map(|domain| &domain[member]).collect::<Vec<_>>();
    assert_eq!(told("domain"), [&json!("foo-corp.com"), &json!("foo.example")]);
    assert_eq!(told("state"), [&json!("verified"), &json!("pending")]);

    assert_eq!(rest.get(&format!("/organizations/{id}")).await.body, body);
    let by_external_id = rest.get("/organizations/external_id/tenant%2F42").await;
    assert_eq!((by_external_id.status, &by_external_id.body), (200, &body));
    let found = rest.get("/organizations?domains=foo-corp.com&search=corp").await;
    assert_eq!(found.body["data"], json!([body]));
    let either = rest.get("/organizations?domains=bar.example,Foo-Corp.com").await;
    assert_eq!(either.body["data"], json!([body]));
    let none = rest.get("/organizations?domains[]=bar.example").await;
    assert_eq!(none.body["data"], json!([]));

    let deleted = rest.delete(&format!("/organizations/{id}")).await;
    assert_eq!((deleted.status, deleted.body), (202, json!({})));
    for path in [id, "external_id/tenant%2F42"] {
        let gone = rest.get(&format!("/organizations/{path}")).await;
        assert_eq!(gone.refusal(), (404, "entity_not_found"), "{path}");
    }
    let again = rest.delete(&format!("/organizations/{id}")).await;
    assert_eq!(again.body["message"], format!("Organization not found: '{id}'."));
}

async fn an_external_id_is_taken_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let sent = json!({"name": "a", "external_id": "e", "organization_id": "own:id"});
    assert_eq!(rest.post("/organizations", sent).await.body["id"], "own:id");
    let same_external = rest.post("/organizations", json!({"name": "b", "external_id": "e"})).await;
    assert_eq!(same_external.refusal(), (422, "unprocessable_entity"));
    assert_eq!(same_external.errors(), [("external_id", "already_exists")]);
    let same_id =
        rest.post("/organizations", json!({"name": "b", "organization_id": "own:id"})).await;
    assert_eq!(same_id.errors(), [("organization_id", "already_exists")]);
    assert_eq!(server.count("organizations").await, 1);
}

/// The Go SDK up to version 6 writes one path with a capital letter.
async fn an_old_go_client_can_delete(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post("/organizations", json!({"name": "a", "organization_id": "o"})).await;
    let deleted = reqwest::Client::builder()
        .build()
        .unwrap()
        .delete(format!("{}/Organizations/o", server.url));
    let deleted =
        deleted.header("authorization", format!("Bearer {ROOT_KEY}")).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    assert_eq!(rest.get("/organizations/o").await.status, 404);
}

async fn malformed_organizations_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let with = |member: &str, value: Value| {
        let mut sent = json!({"name": "a"});
        sent[member] = value;
        sent
    };
    for (sent, field, code) in [
        (json!({}), "name", "required"),
        (with("name", json!(["a"])), "name", "invalid_type"),
        (with("organization_id", json!("a b")), "organization_id", "invalid_characters"),
        (with("external_id", json!("x".repeat(65))), "external_id", "too_long"),
        (with("metadata", json!({"a": 1})), "metadata.a", "invalid_type"),
        (
            with("domain_data", json!([{"domain": "a b"}])),
            "domain_data[0].domain",
            "invalid_characters",
        ),
        (
            with("domain_data", json!([{"domain": "a.b", "state": "maybe"}])),
            "domain_data[0].state",
            "unknown",
        ),
    ] {
        let answer = rest.post("/organizations", sent.clone()).await;
        assert_eq!(answer.refusal(), (422, "unprocessable_entity"), "{sent}");
        assert_eq!(answer.errors(), [(field, code)], "{sent}");
    }
    assert_eq!(server.count("organizations").await, 0);
}

async fn an_update_changes_what_is_sent(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let sent = json!({
        "name": "a", "external_id": "e", "organization_id": "o",
        "metadata": {"x": "1", "y": "2"}, "domains": ["a.example"],
    });
    let created = rest.post("/organizations", sent).await.body;
    let same = rest.put("/organizations/o", json!({})).await;
    assert_eq!((same.status, &same.body["metadata"]), (200, &created["metadata"]));
    let wanted = json!({"name": "b", "metadata": {"x": "3", "y": null, "z": "4"}});
    let changed = rest.put("/organizations/o", wanted).await.body;
    assert_eq!(changed["name"], "b");
    assert_eq!(changed["metadata"], json!({"x": "3", "z": "4"}));
    assert_eq!(
        (&changed["external_id"], &changed["domains"][0]["id"]),
        (&json!("e"), &created["domains"][0]["id"])
    );
    let cleared = json!({"external_id": null, "metadata": null, "domain_data": []});
    let cleared = rest.put("/organizations/o", cleared).await.body;
    let members = ["external_id", "metadata", "domains"].map(|member| cleared[member].clone());
    assert_eq!(members, [json!(null), json!({}), json!([])]);
    assert_eq!(rest.get("/organizations/o").await.body, cleared);
    let unknown = rest.put("/organizations/p", json!({"name": "b"})).await;
    assert_eq!(unknown.refusal(), (404, "entity_not_found"));
}

async fn retention_is_set_by_period_or_days(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post("/organizations", json!({"name": "a", "organization_id": "o"})).await;
    let path = "/organizations/o/audit_logs_retention";
    let days = |days: Value| json!({"retention_period_in_days": days});
    assert_eq!(rest.get(path).await.body, days(json!(null)));
    for (sent, expected) in [
        (json!({"retention_period": "1_MONTH"}), 30),
        (json!({"retention_period": "11_MONTHS", "retention_period_in_days": null}), 330),
        (json!({"retention_period": "10_YEARS"}), 3_650),
        (json!({"retention_period_in_days": 90}), 90),
        (json!({"retention_period": null, "retention_period_in_days": 365.0}), 365),
    ] {
        let answer = rest.put(path, sent.clone()).await;
        assert_eq!((answer.status, answer.body), (200, days(json!(expected))), "{sent}");
        assert_eq!(rest.get(path).await.body, days(json!(expected)));
    }
    for (sent, field, code) in [
        (json!({}), "retention_period", "required"),
        (
            json!({"retention_period": "1_MONTH", "retention_period_in_days": 30}),
            "retention_period",
            "conflict",
        ),
        (json!({"retention_period": "12_MONTHS"}), "retention_period", "unknown"),
        (json!({"retention_period_in_days": -1}), "retention_period_in_days", "out_of_range"),
        (json!({"retention_period_in_days": 31}), "retention_period_in_days", "out_of_range"),
        (json!({"retention_period_in_days": "30"}), "retention_period_in_days", "invalid_type"),
    ] {
        let answer = rest.put(path, sent.clone()).await;
        assert_eq!(answer.refusal(), (422, "unprocessable_entity"), "{sent}");
        assert_eq!(answer.errors(), [(field, code)], "{sent}");
    }
    assert_eq!(rest.get(path).await.body, days(json!(365)));
    let unknown = rest.get("/organizations/p/audit_logs_retention").await;
    assert_eq!(unknown.refusal(), (404, "entity_not_found"));
}

async fn the_configuration_tells_what_applies(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post("/organizations", json!({"name": "a", "organization_id": "o"})).await;
    let path = "/organizations/o/audit_log_configuration";
    let expected = |days: u32, state: &str| json!({"organization_id": "o", "retention_period_in_days": days, "state": state});
    assert_eq!(rest.get(path).await.body, expected(365, "inactive"));
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    rest.post("/audit_logs/events", event_for("o", &event("doc.read"))).await;
    let retention = json!({"retention_period": "1_MONTH"});
    rest.put("/organizations/o/audit_logs_retention", retention).await;
    assert_eq!(rest.get(path).await.body, expected(30, "active"));
    let unknown = rest.get("/organizations/p/audit_log_configuration").await;
    assert_eq!(unknown.refusal(), (404, "entity_not_found"));
}
