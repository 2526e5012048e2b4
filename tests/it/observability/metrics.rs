//! `/metrics`: what happened is counted, and nobody is named.

use std::time::Duration;

use audit_logs::proto::v1::{BatchCreateEventsRequest, GetEventRequest};

use super::names::{number, page, try_number};
use crate::{
    lanes::Blockade,
    support::{
        Engine, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY, until,
    },
};

on_every_engine!(
    what_happens_is_counted,
    calls_whose_clients_leave_are_counted,
    operators_are_served_apart,
);

async fn server(engine: Engine) -> TestServer {
    let listen = Some(([127, 0, 0, 1], 0).into());
    TestServer::start_with(engine, |settings| settings.metrics.listen = listen).await
}

async fn what_happens_is_counted(engine: Engine) {
    let server = server(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // The system log has events of its own, such as that of the schema.
    let before = page(&server).await;
    let mut keyed = create_event("acme", "doc.read");
    keyed.idempotency_key.push_str("once");
    for _ in 0..2 {
        client.create_event(keyed.clone()).await.unwrap();
    }
    let requests = vec![create_event("acme", "doc.read"), create_event("acme", "doc.unknown")];
    client.batch_create_events(BatchCreateEventsRequest { requests, atomic: false }).await.unwrap();
    let unknown =
        GetEventRequest { organization_id: "acme".to_owned(), event_id: "event_1".to_owned() };
    client.get_event(unknown).await.unwrap_err();
    let http = reqwest::Client::builder().build().unwrap();
    for _ in 0..3 {
        let url = format!("{}/audit_logs/events", server.url);
        let request = http.post(url).bearer_auth(ROOT_KEY).body("{}");
        assert_eq!(request.send().await.unwrap().status().as_u16(), 422);
    }

    let page = page(&server).await;
    let calls = |method: &str, code: &str| {
        let labels = [("rpc_method", method), ("rpc_response_status_code", code)];
        number(&page, "rpc_server_call_duration_seconds_count", &labels)
    };
    assert_eq!(calls("auditlogs.v1.AuditLogs/CreateEvent", "OK"), 2);
    assert_eq!(calls("auditlogs.v1.AuditLogs/GetEvent", "NOT_FOUND"), 1);
    let route = [("http_route", "/audit_logs/events"), ("http_response_status_code", "422")];
    assert_eq!(number(&page, "http_server_request_duration_seconds_count", &route), 3);
    let more = |name: &str| number(&page, name, &[]) - number(&before, name, &[]);
    assert_eq!(more("audit_logs_events_written_total"), 2);
    assert_eq!(number(&page, "audit_logs_events_duplicate_total", &[]), 1);
    assert_eq!(more("audit_logs_batch_events_sum"), 3);
    let refused = |reason: &str| number(&page, "audit_logs_refused_total", &[("reason", reason)]);
    assert_eq!(refused("INVALID_AUDIT_LOG_EVENT"), 1);
    assert_eq!((refused("EVENT_NOT_FOUND"), refused("INVALID_REQUEST")), (1, 3));
    assert_eq!(number(&page, "audit_logs_ready", &[]), 1);
    assert_eq!(number(&page, "audit_logs_queue_events", &[("lane", "0")]), 0);
    assert!(number(&page, "process_memory_usage_bytes", &[]) > 1_000_000);
    // Nobody is named.
    assert!(!page.contains("acme") && !page.contains("sk_") && !page.contains("doc."), "{page}");
}

async fn calls_whose_clients_leave_are_counted(engine: Engine) {
    let server = server(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let blockade = Blockade::begin(engine, &server).await;
    let http = reqwest::Client::builder().build().unwrap();
    let body = r#"{"organization_id":"acme","event":{"action":"doc.read","occurred_at":"2026-01-02T03:04:05Z",
        "actor":{"id":"a","type":"user"},"targets":[{"id":"d","type":"document"}],"context":{"location":"x"}}}"#;
    let request = http.post(format!("{}/audit_logs/events", server.url)).bearer_auth(ROOT_KEY);
    let asked = request.body(body).timeout(Duration::from_secs(1)).send();
    let called = tokio::time::timeout(
        Duration::from_secs(1),
        client.create_event(create_event("acme", "doc.read")),
    );
    let (asked, called) = tokio::join!(asked, called);
    assert!(asked.unwrap_err().is_timeout() && called.is_err());
    until("both are counted", async || {
        let page = page(&server).await;
        let called = [("rpc_response_status_code", "CANCELLED")];
        let asked = [("http_response_status_code", "499")];
        let called = try_number(&page, "rpc_server_call_duration_seconds_count", &called);
        let asked = try_number(&page, "http_server_request_duration_seconds_count", &asked);
        (called == Some(1) && asked == Some(1)).then_some(())
    })
    .await;
    blockade.end().await;
}

async fn operators_are_served_apart(engine: Engine) {
    let mut server = server(engine).await;
    let operators = server.metrics_url.clone().unwrap();
    for (path, status) in [("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/x", 404)] {
        let answer = reqwest::get(format!("{operators}{path}")).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        if path == "/metrics" {
            assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
        }
    }
    // Not where callers are, and nowhere unless it was asked for.
    let answer = reqwest::get(format!("{}/metrics", server.url)).await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    server.stop().await;
    assert!(reqwest::get(format!("{operators}/healthz")).await.is_err(), "it listens no more");
    assert_eq!(TestServer::start(engine).await.metrics_url, None);
}
