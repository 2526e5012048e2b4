//! How often a key may call.

use audit_logs::proto::v1::ListActionsRequest;
use tonic::Code;
use tonic_types::StatusExt;

use super::http_client;
use crate::support::{Engine, Refusal, TestServer, create_event, schema_for, server::ROOT_KEY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_so_many_calls_a_minute() {
    let server = TestServer::start_with(Engine::Sqlite, |s| s.limits.requests_per_minute = 5).await;
    // Takes two of the five.
    let other = server.key_with(&["schemas:read", "events:read"], &[]).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut list = async || client.list_actions(ListActionsRequest::default()).await;
    let refused = loop {
        if let Err(refused) = list().await {
            break refused;
        }
    };
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::ResourceExhausted, "RATE_LIMITED"));
    let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((1..=13).contains(&wait.as_secs()), "{wait:?}");

    let http = http_client();
    let actions = format!("{}/audit_logs/actions", server.url);
    let answer = http.get(&actions).bearer_auth(ROOT_KEY).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 429);
    // RFC 9110, section 10.2.3: seconds, as a whole number.
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=13).contains(&wait), "{wait}");
    let told = answer.text().await.unwrap();
    assert!(told.contains("rate_limit_exceeded"), "{told}");

    // Events are written all the same, and other keys have calls of their own.
    for _ in 0..20 {
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
    }
    let answer = http.get(&actions).bearer_auth(&other).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(http.get(format!("{}/healthz", server.url)).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_events_can_have_a_rate_too() {
    let server =
        TestServer::start_with(Engine::Sqlite, |s| s.limits.event_requests_per_minute = 3).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    for _ in 0..3 {
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
    }
    let refused = client.create_event(create_event("acme", "doc.read")).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "RATE_LIMITED");
    client.list_actions(ListActionsRequest::default()).await.unwrap();
    assert_eq!(server.count("events").await, 3);
}
