//! HTTP on the port of gRPC, and what is not understood there.

use audit_logs::proto::v1::CreateEventRequest;
use prost::Message;
use reqwest::{Response, header::HeaderMap};
use tonic::{Code, Status};

use crate::support::{
    Engine, Refusal, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY,
};

on_every_engine!(
    either_version_of_http_is_spoken,
    an_unknown_path_is_told_in_json,
    an_unknown_method_is_unimplemented,
    a_message_that_is_too_large_is_refused_and_the_connection_goes_on,
);

/// An HTTP client that speaks HTTP/1.1 or, from its first byte, HTTP/2.
fn http_client(version: reqwest::Version) -> reqwest::Client {
    let builder = reqwest::Client::builder();
    let builder = match version {
        reqwest::Version::HTTP_2 => builder.http2_prior_knowledge(),
        _ => builder.http1_only(),
    };
    builder.build().unwrap()
}

/// Sends a message to a method as a gRPC client does, without any of its timers. The answer must
/// be a refusal: those come in the headers.
pub async fn refused_call(
    server: &TestServer,
    method: &str,
    message: &CreateEventRequest,
    headers: &[(&'static str, &str)],
) -> Status {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0][..], &length, &message].concat();
    let client = http_client(reqwest::Version::HTTP_2);
    let mut request = client
        .post(format!("{}/{method}", server.url))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(frame);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    Status::from_header_map(response.headers()).expect("a refusal")
}

fn content_type(headers: &HeaderMap) -> &str {
    headers["content-type"].to_str().unwrap()
}

async fn either_version_of_http_is_spoken(engine: Engine) {
    let server = TestServer::start(engine).await;
    for version in [reqwest::Version::HTTP_11, reqwest::Version::HTTP_2] {
        let client = http_client(version);
        for path in ["/healthz", "/readyz"] {
            let response = client.get(format!("{}{path}", server.url)).send().await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, version));
            assert_eq!(response.text().await.unwrap(), "ok\n");
        }
    }
}

async fn an_unknown_path_is_told_in_json(engine: Engine) {
    let server = TestServer::start(engine).await;
    for version in [reqwest::Version::HTTP_11, reqwest::Version::HTTP_2] {
        let client = http_client(version);
        for path in ["/", "/nonsense", "/v1/exports/download", "/healthz/more"] {
            let response: Response =
                client.get(format!("{}{path}", server.url)).send().await.unwrap();
            assert_eq!(response.status().as_u16(), 404, "{path}");
            assert_eq!(content_type(response.headers()), "application/json; charset=utf-8");
            let body: serde_json::Value =
                serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            assert_eq!(body["code"], "not_found", "{path}");
            assert!(body["message"].as_str().unwrap().ends_with('.'), "{body}");
        }
    }
}

async fn an_unknown_method_is_unimplemented(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = format!("Bearer {ROOT_KEY}");
    let request = create_event("acme", "doc.read");
    for method in ["auditlogs.v1.AuditLogs/Nonsense", "auditlogs.v1.Nonsense/Get", "nonsense"] {
        let status = refused_call(&server, method, &request, &[("authorization", &key)]).await;
        assert_eq!(status.code(), Code::Unimplemented, "{method}");
    }
    // Who has no key does not learn which methods there are.
    let status = refused_call(&server, "auditlogs.v1.AuditLogs/Nonsense", &request, &[]).await;
    assert_eq!(status.code(), Code::Unauthenticated);
}

async fn a_message_that_is_too_large_is_refused_and_the_connection_goes_on(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut large = create_event("acme", "doc.read");
    large.event.as_mut().unwrap().actor.as_mut().unwrap().name = "x".repeat(5 * 1_024 * 1_024);
    let refused = client.create_event(large).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));
    assert!(refused.message().contains("4194304"), "{refused:?}");
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(server.count("events").await, 1);
}
