//! A trace in the output of an OpenTelemetry Collector.

use serde_json::Value;

use crate::{
    program::process::Program,
    receivers::servers::collector::{self, Collector},
    support::{Engine, create_event, schema_for, until},
};

const CALL: &str = "auditlogs.v1.AuditLogs/CreateEvent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_shows_a_call_down_to_the_commit() {
    if !collector::is_installed() {
        return;
    }
    let collector = Collector::of_traces().await;
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let program = Program::on(Engine::Sqlite)
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .with("OTEL_METRICS_EXPORTER", "none")
        .with("OTEL_BSP_SCHEDULE_DELAY", "20")
        .with("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let spans = until("the collector wrote it", async || {
        let spans = collector.spans();
        let is_there = |name: &str| spans.iter().any(|span| span["name"] == name);
        [CALL, "write batch"].into_iter().all(is_there).then_some(spans)
    })
    .await;
    assert_eq!(server.stop().await.code, Some(0));
    let named = |name: &'static str| spans.iter().filter(move |span| span["name"] == name);
    let call = named(CALL).next().unwrap();
    let is_of_call = |span: &&Value| span["traceId"] == call["traceId"];
    let commit = named("commit").find(is_of_call).expect("the commit");
    assert_eq!(commit["parentSpanId"], call["spanId"]);
    let trace = call["traceId"].as_str().unwrap();
    assert!(named("write batch").any(|batch| batch["links"].to_string().contains(trace)));
}
