//! How many calls there may be at a time, and how long they may take.

use std::time::Duration;

use audit_logs::{
    client::AuditLogs,
    proto::v1::{ListActionsRequest, WatchEventsRequest},
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    limits::{http_client, raw},
    support::{Engine, Refusal, TestServer, create_event, schema_for, server::ROOT_KEY, until},
};

async fn watch(
    client: &mut AuditLogs,
) -> Result<Streaming<audit_logs::proto::v1::WatchEventsResponse>, Status> {
    let request =
        WatchEventsRequest { organization_id: "acme".to_owned(), ..WatchEventsRequest::default() };
    Ok(client.watch_events(request).await?.into_inner())
}

/// A server on which so much is there already.
async fn server_with(requests: u32, streams: u32) -> (TestServer, AuditLogs) {
    let server = TestServer::start_with(Engine::Sqlite, |settings| {
        settings.limits.concurrent_requests = requests;
        settings.limits.concurrent_streams = streams;
    })
    .await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    (server, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_requests_are_worked_on_at_a_time() {
    let (server, mut client) = server_with(1, 10).await;
    let address = server.url.trim_start_matches("http://");
    let head = format!(
        "POST /audit_logs/actions/doc.read/schemas HTTP/1.1\r\nhost: x\r\n\
         authorization: Bearer {ROOT_KEY}\r\ncontent-length: 2\r\n\r\n{{"
    );
    // Where a call came first, the slow one was refused, and another tries.
    let (mut slow, refused) = until("the only place is taken", async || {
        let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        let refused = client.list_actions(ListActionsRequest::default()).await.err()?;
        Some((slow, refused))
    })
    .await;
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
    let http = http_client();
    let actions = http.get(format!("{}/audit_logs/actions", server.url)).bearer_auth(ROOT_KEY);
    let answer = actions.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 429);
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    // Orchestrators and streams have their own places.
    for path in ["healthz", "readyz"] {
        let answer = http.get(format!("{}/{path}", server.url)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
    let mut health = HealthClient::new(server.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    watch(&mut client).await.unwrap();

    slow.write_all(b"}").await.unwrap();
    let mut start = [0; 12];
    slow.read_exact(&mut start).await.unwrap();
    client.list_actions(ListActionsRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_streams_are_open_and_take_no_places_of_calls() {
    let (server, mut client) = server_with(1, 2).await;
    let first = watch(&mut client).await.unwrap();
    let second = watch(&mut client).await.unwrap();
    let refusal = Refusal::of(&watch(&mut client).await.unwrap_err());
    assert_eq!((refusal.code, &*refusal.reason), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
    // Strangers have places of their own, and take those of nobody else.
    let mut health = HealthClient::new(server.channel().await);
    let stranger = health.watch(HealthCheckRequest::default()).await.unwrap();
    let refused = health.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "TOO_MANY_REQUESTS");
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    drop((first, second, stranger));
    until("a place is free again", async || watch(&mut client).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_at_its_deadline() {
    let (_server, mut client) = server_with(10, 1).await;
    let request =
        WatchEventsRequest { organization_id: "acme".to_owned(), ..WatchEventsRequest::default() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    let mut frames = client.watch_events(request).await.unwrap().into_inner();
    let ended = loop {
        match frames.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a status"),
            Err(status) => break status,
        }
    };
    let refusal = Refusal::of(&ended);
    assert_eq!((refusal.code, &*refusal.reason), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    // Its place is free.
    until("another may begin", async || watch(&mut client).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_in_time_or_never() {
    let server = TestServer::start_with(Engine::Sqlite, |s| s.limits.body_seconds = 1).await;
    // Whoever asks for health needs no key, and no more time.
    for method in ["auditlogs.v1.AuditLogs/CreateEvent", "grpc.health.v1.Health/Check"] {
        // The beginning of a message, and then nothing.
        let begun = Ok::<_, std::io::Error>(Bytes::from_static(&[0, 0, 0]));
        let begun = futures::stream::iter([begun]);
        let body = reqwest::Body::wrap_stream(begun.chain(futures::stream::pending()));
        let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let call = http.post(format!("{}/{method}", server.url));
        let call = call.header("content-type", "application/grpc").header("te", "trailers");
        let answer = call.bearer_auth(ROOT_KEY).body(body).send();
        let answer = tokio::time::timeout(Duration::from_mins(1), answer).await.unwrap().unwrap();
        let refusal = Refusal::of(&Status::from_header_map(answer.headers()).unwrap());
        let told = (refusal.code, &*refusal.reason);
        assert_eq!(told, (Code::DeadlineExceeded, "REQUEST_TOO_SLOW"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_as_old_as_they_may_be_and_no_call_is_lost() {
    let server = TestServer::start_with(Engine::Sqlite, |settings| {
        settings.limits.connection_age_seconds = 2;
        settings.limits.handshake_seconds = 10;
        settings.limits.header_seconds = 5;
    })
    .await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let (start, mut idle) = raw(&server, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(start, "HTTP/1.1 200");
    let mut rest = Vec::new();
    let closed = async { idle.read_to_end(&mut rest).await.unwrap() };
    let works = async {
        loop {
            match client.create_event(create_event("acme", "doc.read")).await {
                Ok(_) => {}
                // tonic handed the call to a connection that just closed: it was never sent.
                Err(status) if std::error::Error::source(&status).is_some() => {}
                Err(status) => panic!("{status:?}"),
            }
        }
    };
    tokio::select! {
        _ = closed => {}
        () = works => {}
    }
    until("calls go on", async || client.create_event(create_event("acme", "doc.read")).await.ok())
        .await;
}
