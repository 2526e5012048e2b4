//! Traces: from what a caller sends down to the commit.

use std::{collections::HashMap, time::Duration};

use audit_logs::proto::v1::{CreateExportRequest, log_streams_client::LogStreamsClient};
use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use tonic::{Request, transport::Channel};

use super::{
    hygiene::with_key,
    sink::{Sink, texts},
};
use crate::{
    log_streams::support::{KEY, TOKEN, stream_of_acme, to_https},
    program::process::Program,
    receivers::{GenericHttps, Receiver, RequestForm},
    support::{Engine, at, create_event, on_every_engine, schema_for, server::ROOT_KEY, until},
};

on_every_engine!(a_call_is_traced_down_to_the_commit, a_request_over_http_is_traced);

/// As the W3C's own examples have them (Trace Context, section 3.2.3).
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

pub async fn traced(engine: Engine, sink: &Sink) -> Program {
    Program::on(engine)
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url)
        .with("OTEL_METRICS_EXPORTER", "none")
        .with("OTEL_BSP_SCHEDULE_DELAY", "20")
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// The spans of a trace by their names, once they are all there.
async fn spans_of(sink: &Sink, trace: &str, names: &[&str]) -> HashMap<String, Span> {
    until("the trace is exported", async || {
        let spans = sink.spans().into_iter().filter(|span| hex(&span.trace_id) == trace);
        let spans: HashMap<_, _> = spans.map(|span| (span.name.clone(), span)).collect();
        names.iter().all(|name| spans.contains_key(*name)).then_some(spans)
    })
    .await
}

async fn a_call_is_traced_down_to_the_commit(engine: Engine) {
    const RPC: &str = "auditlogs.v1.AuditLogs/CreateEvent";
    let sink = Sink::start().await;
    let program = traced(engine, &sink).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut request = Request::new(create_event("acme", "doc.read"));
    let parent = format!("00-{TRACE}-{CALLER}-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("x-request-id", "request-7".parse().unwrap());
    client.create_event(request).await.unwrap();

    let spans = spans_of(&sink, TRACE, &[RPC, "commit"]).await;
    let call = &spans[RPC];
    assert_eq!((hex(&call.parent_span_id).as_str(), call.kind()), (CALLER, SpanKind::Server));
    let facts = texts(&call.attributes);
    assert_eq!(facts["rpc.system.name"], "grpc");
    assert_eq!(
        (facts["rpc.method"].as_str(), facts["rpc.response.status_code"].as_str()),
        (RPC, "OK")
    );
    assert_eq!(facts["audit_logs.request.id"], "request-7");
    let commit = &spans["commit"];
    assert_eq!(commit.parent_span_id, call.span_id);
    assert!(commit.start_time_unix_nano >= call.start_time_unix_nano);
    assert!(commit.end_time_unix_nano <= call.end_time_unix_nano);
    let waited = commit.attributes.iter().find(|fact| fact.key == "audit_logs.queue.seconds");
    let Some(Value::DoubleValue(waited)) = waited.and_then(|fact| fact.value.clone()?.value) else {
        panic!("no number of seconds: {commit:?}")
    };
    let before = commit.start_time_unix_nano - call.start_time_unix_nano;
    assert!((0.0..=Duration::from_nanos(before).as_secs_f64()).contains(&waited), "{waited}");
    let batch = until("the batch is exported", async || {
        let mut spans = sink.spans().into_iter().filter(|span| span.name == "write batch");
        spans.find(|batch| batch.links.iter().any(|link| link.span_id == call.span_id))
    })
    .await;
    assert_eq!(texts(&batch.attributes)["audit_logs.batch.events"], "1");
    // What the caller does not want recorded is not.
    let mut request = Request::new(create_event("acme", "doc.read"));
    let unwanted = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    request.metadata_mut().insert("traceparent", unwanted.parse().unwrap());
    client.create_event(request).await.unwrap();
    let resource = sink.resources()[0].resource.clone().unwrap();
    let facts = texts(&resource.attributes);
    assert_eq!(facts["service.name"], "audit-logs");
    assert_eq!(facts["service.version"], env!("CARGO_PKG_VERSION"));

    let outcome = server.stop().await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let unwanted = sink.spans().into_iter();
    assert!(!unwanted.map(|span| hex(&span.trace_id)).any(|id| id.starts_with("0af7")));
}

async fn a_request_over_http_is_traced(engine: Engine) {
    let sink = Sink::start().await;
    let program = traced(engine, &sink).await.with("RUST_LOG", "debug");
    let server = program.serve().await;
    let http = reqwest::Client::builder().build().unwrap();
    let get = |path: &str| {
        let parent = format!("00-{TRACE}-{CALLER}-01");
        let request = http.get(format!("{}{path}", server.url)).header("traceparent", parent);
        request.header("x-request-id", "request-8").bearer_auth(ROOT_KEY).send()
    };
    assert_eq!(get("/audit_logs/exports/export_unknown").await.unwrap().status().as_u16(), 404);
    assert_eq!(get("/nowhere").await.unwrap().status().as_u16(), 404);
    let route = "GET /audit_logs/exports/{export_id}";
    let spans = spans_of(&sink, TRACE, &[route, "GET"]).await;
    let facts = texts(&spans[route].attributes);
    assert_eq!(facts["http.route"], "/audit_logs/exports/{export_id}");
    assert_eq!(facts["http.response.status_code"], "404");
    // The caller's mistake, not the server's.
    assert!(spans[route].status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));
    assert!(!texts(&spans["GET"].attributes).contains_key("http.route"));

    // Each line within a request has its ids.
    let outcome = server.stop().await;
    let refused = outcome.stderr.lines().find(|line| line.contains("a call was refused")).unwrap();
    let line: serde_json::Value = serde_json::from_str(refused).unwrap();
    assert_eq!((&line["request_id"], &line["trace_id"]), (&"request-8".into(), &TRACE.into()));
    assert!(outcome.stderr.contains("a request was answered"), "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_and_batches_are_traces_of_their_own() {
    let sink = Sink::start().await;
    let program = traced(Engine::Sqlite, &sink).await.with("OTEL_SERVICE_NAME", "archive");
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let export = CreateExportRequest {
        organization_id: "acme".to_owned(),
        range_start: Some(at("2020-01-01T00:00:00Z")),
        range_end: Some(at("2030-01-01T00:00:00Z")),
        ..Default::default()
    };
    client.create_export(export).await.unwrap();
    until("the workers are seen", async || {
        let names: Vec<_> = sink.spans().into_iter().map(|span| span.name).collect();
        let all = ["write export", "sweep for retention", "write batch", "authenticate"];
        all.iter().all(|name| names.iter().any(|known| known == name)).then_some(())
    })
    .await;
    let resource = sink.resources()[0].resource.clone().unwrap();
    assert_eq!(texts(&resource.attributes)["service.name"], "archive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_spoken_is_refused_and_a_collector_that_is_away_hurts_nobody() {
    let program = Program::on(Engine::Sqlite)
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let refusal = program.run(&["serve"]).await.expect_refusal();
    assert!(
        refusal.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && refusal.contains("grpc"),
        "{refusal}"
    );
    let program = program.without("OTEL_EXPORTER_OTLP_PROTOCOL");
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(server.stop().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_is_told_the_trace_of_its_batch() {
    let sink = Sink::start().await;
    let program = traced(Engine::Sqlite, &sink)
        .await
        .with("AUDIT_LOGS_LOG_STREAMS_ALLOWED_NETWORKS", "127.0.0.0/8")
        .with("AUDIT_LOGS_SECRETS_KEY", KEY);
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    // The organization is there now; the stream begins with what comes next.
    let receiver = Receiver::start(GenericHttps::new(TOKEN, RequestForm::Json)).await;
    let channel = Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
    let stream = stream_of_acme(to_https(&receiver, TOKEN));
    let request = with_key(stream, ROOT_KEY);
    LogStreamsClient::new(channel).create(request).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    until("it was delivered", async || (receiver.count() == 1).then_some(())).await;
    let told = receiver.last_headers()["traceparent"].to_str().unwrap().to_owned();
    let batch = until("the batch is exported", async || {
        sink.spans().into_iter().find(|span| span.name == "forward batch")
    })
    .await;
    assert_eq!(told, format!("00-{}-{}-01", hex(&batch.trace_id), hex(&batch.span_id)));
}
