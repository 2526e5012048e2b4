//! Sizes of messages, headers and JSON.

use std::fmt::Write;

use tonic::Code;

use super::{http_client, raw};
use crate::support::{
    Engine, Refusal, TestServer, create_event, schema_for, server::ROOT_KEY, with_text,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_has_so_many_bytes() {
    let server =
        TestServer::start_with(Engine::Sqlite, |s| s.limits.message_bytes = 64 * 1_024).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(with_text(create_event("acme", "doc.read"), 20_000)).await.unwrap();
    let mut large = create_event("acme", "doc.read");
    large.idempotency_key = "x".repeat(70 * 1_024);
    let refused = client.create_event(large).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));
    assert!(refused.message().contains("65536"), "{refused:?}");
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_have_a_size_and_a_number() {
    let server = TestServer::start_with(Engine::Sqlite, |settings| {
        settings.limits.header_bytes = 8_192;
        settings.limits.headers = 20;
    })
    .await;
    let request = |headers: &str| format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let many = |count: usize| {
        let mut headers = String::new();
        (0..count).for_each(|n| write!(headers, "x-{n}: y\r\n").unwrap());
        headers
    };
    let large = format!("x: {}\r\n", "y".repeat(9_000));
    // 431: RFC 6585, section 5.
    for (headers, status) in
        [(many(19), "200"), (many(20), "431"), (large.clone(), "431"), (String::new(), "200")]
    {
        let (start, _) = raw(&server, &request(&headers)).await;
        assert_eq!(start, format!("HTTP/1.1 {status}"), "{headers}");
    }
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let health = || http.get(format!("{}/healthz", server.url));
    let told = health().header("x", "y".repeat(9_000)).send().await;
    assert!(told.is_err() || told.is_ok_and(|answer| answer.status().as_u16() == 431));
    assert_eq!(health().send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_so_deep() {
    let server = TestServer::start(Engine::Sqlite).await;
    let deep = format!(
        r#"{{"organization_id":"acme","event":{{"metadata":{{"x":{}{}}}}}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    let request = http_client().post(format!("{}/audit_logs/events", server.url));
    let answer = request.bearer_auth(ROOT_KEY).body(deep).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    let told = answer.text().await.unwrap();
    assert!(told.contains("invalid_request_body") && told.contains("nested too deeply"), "{told}");
}
