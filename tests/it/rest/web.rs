//! Browsers: gRPC-Web, and pages of other origins.

use audit_logs::proto::v1::{ListActionsRequest, ListActionsResponse};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use reqwest::{Client, Method, Response};
use serde_json::json;

use super::calls::schema;
use crate::support::{Engine, TestServer, on_every_engine, schema_for, server::ROOT_KEY};

on_every_engine!(
    grpc_web_is_spoken_in_both_forms,
    a_refusal_over_grpc_web_is_a_status,
    no_origin_is_allowed_unless_set,
    an_allowed_origin_may_call_and_read,
);

const LIST_ACTIONS: &str = "auditlogs.v1.AuditLogs/ListActions";

/// A message in its frame: a flag, its length, itself (gRPC over HTTP/2, "Length-Prefixed-Message").
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &bytes].concat()
}

/// The frames of a body: flag and content.
fn frames(mut body: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (content, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*flag, content));
        body = rest;
    }
    frames
}

async fn call(server: &TestServer, content_type: &str, body: Vec<u8>, key: &str) -> Response {
    let client = Client::builder().http1_only().build().unwrap();
    let request = client.post(format!("{}/{LIST_ACTIONS}", server.url));
    let request = request.header("content-type", content_type).header("accept", content_type);
    let request =
        request.header("x-grpc-web", "1").header("authorization", format!("Bearer {key}"));
    request.body(body).send().await.unwrap()
}

async fn grpc_web_is_spoken_in_both_forms(engine: Engine) {
    let server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let message = framed(&ListActionsRequest::default());
    let binary = call(&server, "application/grpc-web+proto", message.clone(), ROOT_KEY).await;
    assert_eq!(binary.status(), 200);
    assert_eq!(binary.headers()["content-type"], "application/grpc-web+proto");
    let text =
        call(&server, "application/grpc-web-text", STANDARD.encode(&message).into(), ROOT_KEY)
            .await;
    assert_eq!(text.status(), 200);
    // Every chunk has its own padding.
    let text = text.bytes().await.unwrap();
    let text = text.chunks(4).flat_map(|quantum| STANDARD.decode(quantum).unwrap()).collect();
    for body in [binary.bytes().await.unwrap().to_vec(), text] {
        let frames = frames(&body);
        let [(0, message), (0x80, trailers)] = frames[..] else { panic!("{frames:?}") };
        let answer = ListActionsResponse::decode(message).unwrap();
        assert_eq!(answer.actions[0].name, "doc.read");
        assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    }
}

async fn a_refusal_over_grpc_web_is_a_status(engine: Engine) {
    let server = TestServer::start(engine).await;
    let message = framed(&ListActionsRequest::default());
    let refused = call(&server, "application/grpc-web+proto", message, "sk_wrong").await;
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-status"], "16");
    let message = framed(&ListActionsRequest { limit: -1, ..Default::default() });
    let refused = call(&server, "application/grpc-web+proto", message, ROOT_KEY).await;
    assert_eq!(refused.headers()["grpc-status"], "3");
    assert!(refused.headers().contains_key("grpc-status-details-bin"));
}

/// What a page of `origin` asks before it calls, and then its call.
async fn from_page(server: &TestServer, origin: &str) -> [Response; 2] {
    let client = Client::builder().build().unwrap();
    let url = format!("{}/audit_logs/actions/a/schemas", server.url);
    let preflight = client
        .request(Method::OPTIONS, &url)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let call = client
        .post(&url)
        .header("origin", origin)
        .header("authorization", format!("Bearer {ROOT_KEY}"))
        .body(json!(schema()).to_string());
    [preflight.send().await.unwrap(), call.send().await.unwrap()]
}

async fn no_origin_is_allowed_unless_set(engine: Engine) {
    let server = TestServer::start(engine).await;
    let [preflight, call] = from_page(&server, "https://app.example").await;
    assert_eq!((preflight.status().as_u16(), call.status().as_u16()), (405, 201));
    for answer in [preflight, call] {
        let names = answer.headers().keys().map(reqwest::header::HeaderName::as_str);
        assert!(!names.into_iter().any(|name| name.starts_with("access-control")));
    }
}

async fn an_allowed_origin_may_call_and_read(engine: Engine) {
    for (setting, allowed, told) in [
        ("https://app.example, https://b.example", "https://app.example", "https://app.example"),
        ("*", "https://c.example", "*"),
    ] {
        let server = TestServer::start_with(engine, |settings| {
            settings.cors.allowed_origins = setting.into();
        })
        .await;
        let [preflight, call] = from_page(&server, allowed).await;
        assert_eq!((preflight.status().as_u16(), call.status().as_u16()), (200, 201));
        assert_eq!(preflight.headers()["access-control-allow-origin"], told);
        assert_eq!(
            preflight.headers()["access-control-allow-headers"],
            "authorization,content-type"
        );
        assert_eq!(call.headers()["access-control-allow-origin"], told);
        let exposed = call.headers()["access-control-expose-headers"].to_str().unwrap();
        assert!(exposed.contains("grpc-status") && exposed.contains("x-request-id"), "{exposed}");
        if setting != "*" {
            let [preflight, call] = from_page(&server, "https://evil.example").await;
            for answer in [preflight, call] {
                assert!(!answer.headers().contains_key("access-control-allow-origin"));
            }
        }
    }
}
