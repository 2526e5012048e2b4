//! Repetitions over REST, as WorkOS treats them.

use reqwest::Method;
use serde_json::json;

use super::calls::{Rest, event, event_for, schema};
use crate::support::{
    Engine, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY,
};

on_every_engine!(
    without_a_key_the_content_counts,
    a_key_counts_with_the_content,
    racing_repetitions_store_one_event,
    refusals_are_not_remembered,
    only_events_are_deduplicated,
);

async fn with_action(server: &TestServer) -> Rest {
    let rest = Rest::new(server);
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    rest
}

/// Sends the event and returns how many events there are then.
async fn send(server: &TestServer, rest: &Rest, event: serde_json::Value, key: &[&str]) -> i64 {
    let headers: Vec<_> = key.iter().map(|key| ("idempotency-key", *key)).collect();
    let body = event_for("acme", &event).to_string().into();
    let answer = rest.call(Method::POST, "/audit_logs/events", Some(body), &headers).await;
    assert_eq!((answer.status, answer.body), (200, json!({"success": true})));
    server.count("events").await
}

async fn without_a_key_the_content_counts(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    assert_eq!(send(&server, &rest, event("doc.read"), &[]).await, 1);
    assert_eq!(send(&server, &rest, event("doc.read"), &[]).await, 1);
    // An empty key is none; another form of the same content is the same.
    assert_eq!(send(&server, &rest, event("doc.read"), &[""]).await, 1);
    let mut other_form = event("doc.read");
    other_form["occurred_at"] = json!("2026-11-02T09:15:30.25+01:00");
    other_form["version"] = json!(null);
    other_form["actor"]["metadata"] = json!([]);
    assert_eq!(send(&server, &rest, other_form, &[]).await, 1);
    let mut other = event("doc.read");
    other["occurred_at"] = json!("2026-11-02T08:15:30.251Z");
    assert_eq!(send(&server, &rest, other, &[]).await, 2);
    // Over gRPC, two equal events without a key are two, and both are stored.
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.signed")).await.unwrap();
    for _ in 0..2 {
        client.create_event(create_event("acme", "doc.signed")).await.unwrap();
    }
    assert_eq!(server.count("events").await, 4);
}

async fn a_key_counts_with_the_content(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    assert_eq!(send(&server, &rest, event("doc.read"), &["k"]).await, 1);
    assert_eq!(send(&server, &rest, event("doc.read"), &["k"]).await, 1);
    let mut other = event("doc.read");
    other["metadata"]["format"] = json!("csv");
    assert_eq!(send(&server, &rest, other, &["k"]).await, 2);
    assert_eq!(send(&server, &rest, event("doc.read"), &["another"]).await, 3);
    assert_eq!(send(&server, &rest, event("doc.read"), &["K\u{e4}se"]).await, 4);
    // Bytes that are no UTF-8 are told apart too: many clients send Latin-1.
    for (key, count) in [(b"cl\xe9", 5), (b"cl\xe8", 6), (b"cl\xe9", 6)] {
        let url = format!("{}/audit_logs/events", server.url);
        let request = reqwest::Client::builder().build().unwrap().post(url);
        let request = request.header("authorization", format!("Bearer {ROOT_KEY}"));
        let request = request.header("idempotency-key", &key[..]);
        let body = event_for("acme", &event("doc.read")).to_string();
        assert_eq!(request.body(body).send().await.unwrap().status(), 200);
        assert_eq!(server.count("events").await, count);
    }
    let long = "k".repeat(256);
    let body = event_for("acme", &event("doc.read")).to_string().into();
    let refused = rest
        .call(Method::POST, "/audit_logs/events", Some(body), &[("idempotency-key", &long)])
        .await;
    assert_eq!(refused.errors(), [("idempotency_key", "too_long")]);
}

async fn racing_repetitions_store_one_event(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    let calls =
        (0..32).map(|_| rest.post("/audit_logs/events", event_for("acme", &event("doc.read"))));
    for answer in futures::future::join_all(calls).await {
        assert_eq!((answer.status, answer.body), (200, json!({"success": true})));
    }
    assert_eq!(server.count("events").await, 1);
}

async fn refusals_are_not_remembered(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let sent = event_for("acme", &event("doc.read"));
    assert_eq!(rest.post("/audit_logs/events", sent.clone()).await.status, 400);
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    assert_eq!(rest.post("/audit_logs/events", sent).await.status, 200);
}

async fn only_events_are_deduplicated(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_action(&server).await;
    send(&server, &rest, event("doc.read"), &[]).await;
    let body =
        json!({"organization_id": "acme", "range_start": "2026-01-01", "range_end": "2026-12-31"});
    let mut ids = Vec::new();
    // A Kotlin client makes the same key of the same request.
    for _ in 0..2 {
        let body = Some(body.to_string().into());
        let headers = [("idempotency-key", "retry-1")];
        let answer = rest.call(Method::POST, "/audit_logs/exports", body, &headers).await;
        assert_eq!(answer.status, 201);
        ids.push(answer.body["id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
}
