//! What is no request: every one gets a JSON error of the right status, nothing is stored, and the
//! server goes on.

use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::calls::{Rest, event, event_for, openapi, schema};
use crate::support::{Engine, TestServer, on_every_engine, server::ROOT_KEY};

on_every_engine!(
    bodies_that_are_no_json_are_refused,
    odd_json_is_refused_or_taken_as_what_it_says,
    a_body_that_is_too_large_is_refused_and_the_answer_arrives,
    the_content_type_does_not_matter,
    odd_headers_do_not_matter,
    what_is_no_http_harms_nobody,
    a_body_that_ends_early_stores_nothing,
    a_connection_stays_in_step_after_a_refusal,
    who_waits_for_leave_to_send_too_much_is_told_at_once,
    every_path_answers_in_json,
);

/// The operations that take a body.
fn with_body() -> Vec<(Method, String)> {
    let paths = openapi()["paths"].as_object().unwrap();
    let mut found = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            if operation.get("requestBody").is_some() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                found.push((method, path.replace("{action_name}", "a").replace("{id}", "o")));
            }
        }
    }
    found
}

async fn bodies_that_are_no_json_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let deep = format!("{{\"event\":{}", "[".repeat(100_000));
    let deep_objects = "{\"event\":".repeat(100_000);
    let bodies: [&[u8]; 13] = [
        b"",
        b"  \n",
        b"{",
        b"{\"organization_id\":",
        b"{\"organization_id\":\"a\"",
        b"{\"organization_id\":\"a\"} x",
        b"{'organization_id':'a'}",
        b"{\"organization_id\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{}",
        b"[]",
        b"null",
        b"\"{}\"",
        b"12",
    ];
    for (method, path) in with_body() {
        for body in bodies.iter().copied().chain([deep.as_bytes(), deep_objects.as_bytes()]) {
            let answer = rest.call(method.clone(), &path, Some(body.to_vec()), &[]).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert_eq!(answer.refusal(), (400, "invalid_request_body"), "{path}: {shown}");
        }
    }
    assert_eq!(server.count("organizations").await + server.count("actions").await, 0);
}

async fn odd_json_is_refused_or_taken_as_what_it_says(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    let valid = event_for("acme", &event("doc.read")).to_string();
    let table = [
        (valid.replace("\"format\":\"pdf\"", "\"a\":1,\"a\":2"), "event.metadata", "duplicate"),
        (valid.replace("\"action\"", "\"action\":\"x\",\"action\""), "event", "duplicate"),
        (
            valid.replace("\"pdf\"", "12345678901234567890123"),
            "event.metadata.format",
            "out_of_range",
        ),
        (valid.replace("\"pdf\"", "\"a\\u0000b\""), "", ""),
        (valid.replace("\"pdf\"", "1e-999"), "", ""),
        (valid.replace("\"pdf\"", "1e999"), "body", "json"),
        (valid.replace("\"usr_88\"", "\"a\\u0000b\""), "event.actor.id", "invalid_characters"),
        (valid.replace("\"pdf\"", "\"\\ud800\""), "body", "json"),
    ];
    for (body, field, code) in table {
        let sent = Some(body.clone().into_bytes());
        let answer = rest.call(Method::POST, "/audit_logs/events", sent, &[]).await;
        match (field, code) {
            ("", _) => assert_eq!(answer.status, 200, "{body}"),
            ("body", _) => assert_eq!(answer.refusal(), (400, "invalid_request_body"), "{body}"),
            expected => {
                assert_eq!(answer.status, 422, "{body}");
                assert_eq!(answer.errors(), [expected], "{body}");
            }
        }
    }
}

async fn a_body_that_is_too_large_is_refused_and_the_answer_arrives(engine: Engine) {
    let server =
        TestServer::start_with(engine, |settings| settings.rest.max_body_bytes = 4_096).await;
    let rest = Rest::new(&server);
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    for bytes in [4_097, 10 * 1_024 * 1_024] {
        for (method, path) in with_body() {
            let answer = rest.call(method, &path, Some(vec![b' '; bytes]), &[]).await;
            assert_eq!(answer.refusal(), (413, "request_body_too_large"));
        }
    }
    let mut fitting = event_for("acme", &event("doc.read")).to_string().into_bytes();
    fitting.resize(4_096, b' ');
    let answer = rest.call(Method::POST, "/audit_logs/events", Some(fitting), &[]).await;
    assert_eq!(answer.status, 200);
}

async fn the_content_type_does_not_matter(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    let types =
        ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""];
    for content_type in types {
        let body = event_for("acme", &event("doc.read")).to_string().into();
        let headers = [("content-type", content_type)];
        let answer = rest.call(Method::POST, "/audit_logs/events", Some(body), &headers).await;
        assert_eq!(answer.status, 200, "{content_type}");
        let list = rest.call(Method::GET, "/audit_logs/actions", None, &headers).await;
        assert_eq!(list.status, 200, "{content_type}");
    }
}

async fn odd_headers_do_not_matter(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    for headers in [
        [("accept-encoding", "utf-8"), ("accept", "application/json, text/plain, */*")],
        [("accept", "image/png"), ("accept-encoding", "identity;q=0")],
        [("idempotency-key", ""), ("x-request-id", "mine")],
        [("expect", "100-continue"), ("connection", "close")],
    ] {
        let answer = rest.call(Method::GET, "/audit_logs/actions", None, &headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
    }
    for authorization in ["", "Bearer", "Bearer ", "Basic abc", "bearer sk_wrong", "Bearer \u{e9}"]
    {
        let anonymous = Rest::with_key(&server, None);
        let headers = [("authorization", authorization)];
        let answer = anonymous.call(Method::GET, "/audit_logs/actions", None, &headers).await;
        assert_eq!(answer.refusal(), (401, "unauthorized"), "{authorization}");
    }
}

/// Sends bytes, as all that there is or with more to come, and returns what came back.
async fn exchange(server: &TestServer, bytes: &[u8], is_all: bool) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed before everything was sent.
    _ = stream.write_all(bytes).await;
    if is_all {
        _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn what_is_no_http_harms_nobody(engine: Engine) {
    let server = TestServer::start(engine).await;
    let huge = format!(
        "GET /audit_logs/actions HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    let requests: [&[u8]; 12] = [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /audit_logs/actions HTTP/9.9\r\n\r\n",
        b"GET /audit logs HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /audit_logs/events HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /audit_logs/events HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /audit_logs/events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"G\x00T / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\xff\xff",
        huge.as_bytes(),
        many.as_bytes(),
    ];
    for request in requests {
        let answer = exchange(&server, request, true).await;
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        assert_eq!(Rest::new(&server).get("/audit_logs/actions").await.status, 200);
    }
}

async fn a_body_that_ends_early_stores_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    Rest::new(&server).post("/audit_logs/actions/doc.read/schemas", schema()).await;
    let body = event_for("acme", &event("doc.read")).to_string();
    let head = format!(
        "POST /audit_logs/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {ROOT_KEY}\r\n"
    );
    // A whole event, but more was announced; and the same in chunks without the last one.
    let announced = format!("{head}content-length: {}\r\n\r\n{body}", body.len() + 10);
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    for request in [announced, chunked] {
        let answer = exchange(&server, request.as_bytes(), true).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(server.count("events").await, 0);
    let length = body.len();
    let complete = format!("{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let answer = exchange(&server, complete.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.count("events").await, 1);
}

/// A request for a list, so that what is left of a body would be taken for another request.
async fn a_connection_stays_in_step_after_a_refusal(engine: Engine) {
    let server =
        TestServer::start_with(engine, |settings| settings.rest.max_body_bytes = 4_096).await;
    let smuggled = "GET /audit_logs/actions HTTP/1.1\r\nhost: a\r\n\r\n";
    let body = format!("{}{smuggled}", " ".repeat(5_000));
    for (path, key, status) in [
        ("/audit_logs/events", ROOT_KEY, "413"),
        ("/audit_logs/events", "sk_wrong", "401"),
        ("/audit_logs/nothing", ROOT_KEY, "404"),
        ("/audit_logs/actions", ROOT_KEY, "405"),
    ] {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\
             content-length: {length}\r\n\r\n{body}GET /healthz HTTP/1.1\r\nhost: a\r\n\
             connection: close\r\n\r\n"
        );
        let answers = exchange(&server, request.as_bytes(), false).await;
        let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|text| &text[..3]).collect();
        // Either the connection was closed after the refusal, or the next request was understood.
        assert!([vec![status], vec![status, "200"]].contains(&statuses), "{path}: {answers}");
        assert!(!answers.contains("list_metadata"), "{answers}");
    }
}

async fn who_waits_for_leave_to_send_too_much_is_told_at_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let request = format!(
        "POST /audit_logs/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {ROOT_KEY}\r\n\
         expect: 100-continue\r\ncontent-length: 9999999999\r\nconnection: close\r\n\r\n"
    );
    let answer = exchange(&server, request.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

async fn every_path_answers_in_json(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    for path in ["/tlog/a%ff/checkpoint", "/tlog/a/tile/%ff", "/v1/exports/download/a%ff?expires=1"]
    {
        let answer = rest.call(Method::GET, path, None, &[]).await;
        assert_eq!(answer.refusal(), (400, "invalid_path"), "{path}");
    }
    for path in ["/auditlogs.v1.AuditLogs/ListActions", "/grpc.health.v1.Health/Check"] {
        let answer = rest.call(Method::POST, path, Some(b"{}".to_vec()), &[]).await;
        assert_eq!(answer.refusal(), (415, "not_grpc"), "{path}");
    }
    let unknown = rest.call(Method::POST, "/nothing", Some(b"{}".to_vec()), &[]).await;
    assert_eq!(unknown.refusal(), (404, "not_found"));
    assert_eq!(unknown.headers.get("allow"), None);
}
