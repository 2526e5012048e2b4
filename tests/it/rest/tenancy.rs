//! Who may do what over REST: the same rules as over gRPC.

use reqwest::Method;
use serde_json::{Value, json};

use super::calls::{Rest, event, event_for, schema};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    what_belongs_to_another_environment_is_not_found,
    a_key_needs_the_scope,
    a_limited_key_sees_its_organizations,
);

/// Calls that name things of the organization `acme`, each with the scope that it needs.
fn calls(export: &str, event_id: &str) -> Vec<(Method, String, Option<Value>, &'static str)> {
    let export_of =
        json!({"organization_id": "acme", "range_start": "2026-01-01", "range_end": "2026-12-31"});
    let get = |path: &str, scope| (Method::GET, path.to_owned(), None, scope);
    vec![
        (
            Method::POST,
            "/audit_logs/events".into(),
            Some(event_for("acme", &event("doc.read"))),
            "events:write",
        ),
        (Method::POST, "/audit_logs/exports".into(), Some(export_of), "exports"),
        get(&format!("/audit_logs/exports/{export}"), "exports"),
        get("/audit_logs/actions/doc.read/schemas", "schemas:read"),
        get(&format!("/v1/events/{event_id}?organization_id=acme"), "events:read"),
        get("/v1/events?organization_id=acme", "events:read"),
        get("/organizations/acme", "organizations"),
        get("/organizations/external_id/ext", "organizations"),
        get("/organizations/acme/audit_logs_retention", "organizations"),
        get("/organizations/acme/audit_log_configuration", "organizations"),
        (Method::PUT, "/organizations/acme".into(), Some(json!({"name": "x"})), "organizations"),
        (
            Method::PUT,
            "/organizations/acme/audit_logs_retention".into(),
            Some(json!({"retention_period": "1_MONTH"})),
            "organizations",
        ),
        (Method::DELETE, "/organizations/acme".into(), None, "organizations"),
    ]
}

/// A server where `acme` has one of everything.
async fn world(engine: Engine) -> (TestServer, String, String) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post(
        "/organizations",
        json!({"name": "Acme", "organization_id": "acme", "external_id": "ext"}),
    )
    .await;
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    rest.post("/audit_logs/events", event_for("acme", &event("doc.read"))).await;
    let range =
        json!({"organization_id": "acme", "range_start": "2026-01-01", "range_end": "2026-12-31"});
    let export =
        rest.post("/audit_logs/exports", range).await.body["id"].as_str().unwrap().to_owned();
    let events = rest.get("/v1/events?organization_id=acme").await.body;
    let event_id = events["data"][0]["id"].as_str().unwrap().to_owned();
    (server, export, event_id)
}

async fn call(
    rest: &Rest,
    (method, path, body, _): &(Method, String, Option<Value>, &str),
) -> (u16, String) {
    let body = body.as_ref().map(|body| body.to_string().into_bytes());
    let answer = rest.call(method.clone(), path, body, &[]).await;
    (answer.status, answer.body["code"].as_str().unwrap_or_default().to_owned())
}

async fn what_belongs_to_another_environment_is_not_found(engine: Engine) {
    let (server, export, event_id) = world(engine).await;
    let other = Rest::with_key(&server, Some(&server.key_in("other").await));
    let not_found = (404, "entity_not_found".to_owned());
    for wanted in calls(&export, &event_id) {
        assert_eq!(call(&other, &wanted).await, not_found, "{wanted:?}");
    }
    assert_eq!(other.get("/organizations").await.body["data"], json!([]));
    assert_eq!(other.get("/audit_logs/actions").await.body["data"], json!([]));
    assert_eq!(server.count("events").await, 1);
}

async fn a_key_needs_the_scope(engine: Engine) {
    let (server, export, event_id) = world(engine).await;
    let all = [
        "events:write",
        "events:read",
        "schemas:read",
        "schemas:write",
        "exports",
        "organizations",
    ];
    for wanted in calls(&export, &event_id) {
        let others: Vec<_> = all.into_iter().filter(|scope| *scope != wanted.3).collect();
        let without = Rest::with_key(&server, Some(&server.key_with(&others, &[]).await));
        assert_eq!(call(&without, &wanted).await, (403, "scope_missing".to_owned()), "{wanted:?}");
    }
    for wanted in calls(&export, &event_id) {
        let with = Rest::with_key(&server, Some(&server.key_with(&[wanted.3], &[]).await));
        let (status, code) = call(&with, &wanted).await;
        assert!((200..300).contains(&status), "{wanted:?}: {status} {code}");
    }
}

async fn a_limited_key_sees_its_organizations(engine: Engine) {
    let (server, export, event_id) = world(engine).await;
    let scopes = ["events:write", "events:read", "exports", "organizations"];
    Rest::new(&server)
        .post("/organizations", json!({"name": "b", "organization_id": "beta"}))
        .await;
    let limited = Rest::with_key(&server, Some(&server.key_with(&scopes, &["beta"]).await));
    for wanted in calls(&export, &event_id) {
        if wanted.3 != "schemas:read" {
            assert_eq!(call(&limited, &wanted).await.0, 404, "{wanted:?}");
        }
    }
    let refused = limited.post("/organizations", json!({"name": "x"})).await;
    assert_eq!(refused.refusal(), (403, "key_limited_to_organizations"));
}
