//! OTLP over HTTPS, against an OpenTelemetry Collector.

use std::sync::Arc;

use audit_logs::{
    domain::destination::{Destination, Otlp, Secrets, header_secret},
    forward::{FailureKind, Sink},
};
use serde_json::{Value, json};

use super::outgoing::{self, ORGANIZATION, batch, event, id, now, range, workos};
use crate::receivers::servers::{
    authority::Authority,
    collector::{self, Collector},
};

fn sink(port: u16, path: &str, authority: &Authority) -> Arc<dyn Sink> {
    let config = Otlp {
        endpoint: format!("https://127.0.0.1:{port}{path}"),
        headers: vec!["Authorization".to_owned()],
    };
    let mut secrets = Secrets::default();
    secrets.set(header_secret("authorization"), "Bearer something-secret");
    outgoing::sink(Destination::Otlp(config), &secrets, authority.pem()).unwrap()
}

fn body(record: &Value) -> Value {
    serde_json::from_str(record["body"]["stringValue"].as_str().unwrap()).unwrap()
}

fn attribute<'a>(record: &'a Value, key: &str) -> &'a Value {
    let attributes = record["attributes"].as_array().unwrap();
    &attributes.iter().find(|attribute| attribute["key"] == key).unwrap()["value"]
}

#[tokio::test]
async fn everything_arrives_in_order_and_unchanged() {
    if !collector::is_installed() {
        return;
    }
    let authority = Authority::new();
    let server = Collector::start(&authority).await;
    let sink = sink(server.port, "", &authority);
    for first in [0, 500] {
        let answer = sink.send(&range(&*sink, first..first + 500), now()).await.unwrap();
        assert_eq!(answer.http_status, Some(200));
    }
    let records = server.records();
    assert_eq!(records.len(), 1_000);
    for (sequence, record) in (0..).zip(&records) {
        assert_eq!(body(record), workos(sequence, &event(sequence)));
        assert_eq!(attribute(record, "audit.sequence.number")["intValue"], sequence.to_string());
        assert_eq!(attribute(record, "audit.record.id")["stringValue"], id(sequence));
    }
    let first = &records[0];
    assert_eq!(first["timeUnixNano"], "1793607330250000000");
    assert_eq!(first["observedTimeUnixNano"], "1793607330257008000");
    assert_eq!(first["eventName"], "report.downloaded");
    assert_eq!(attribute(first, "audit.sequence.stream_id")["stringValue"], ORGANIZATION);
    let resource = &server.resources()[0]["resource"];
    assert_eq!(attribute(resource, "service.name")["stringValue"], "audit-logs");
}

#[tokio::test]
async fn what_needs_escapes_and_what_is_large_arrives_as_it_was() {
    if !collector::is_installed() {
        return;
    }
    let authority = Authority::new();
    let server = Collector::start(&authority).await;
    let sink = sink(server.port, "/v1/logs", &authority);
    let mut odd = event(0);
    odd["actor"]["name"] = json!("Zoë \"\\ \u{0}\u{1}\r\n\t 末 \u{1f512}");
    odd["metadata"] = json!({"number": 1.5e300, "yes": true});
    // The largest event that the service takes, and as many as a batch holds.
    let mut large = event(1);
    large["targets"] = (0..100)
        .map(|number| {
            let pairs = (0..5).map(|key| (format!("key_{key}"), json!("x".repeat(480))));
            let metadata: serde_json::Map<_, _> = pairs.collect();
            json!({"id": format!("target_{number}"), "type": "file", "metadata": metadata})
        })
        .collect();
    let mut events = vec![(0, odd.clone())];
    events.extend((1..15).map(|sequence| (sequence, large.clone())));
    sink.send(&batch(&*sink, &events), now()).await.unwrap();
    let records = server.records();
    assert_eq!(records.len(), events.len());
    for ((sequence, event), record) in events.iter().zip(&records) {
        assert_eq!(body(record), workos(*sequence, event));
    }
}

#[tokio::test]
async fn a_server_that_was_away_gets_what_comes_next() {
    if !collector::is_installed() {
        return;
    }
    let authority = Authority::new();
    let mut server = Collector::start(&authority).await;
    let sink = sink(server.port, "", &authority);
    sink.send(&range(&*sink, 0..10), now()).await.unwrap();
    server.kill();
    let failure = sink.send(&range(&*sink, 10..20), now()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None });
    server.start_again().await;
    sink.send(&range(&*sink, 10..20), now()).await.unwrap();
    let sent: Vec<String> = (0..20).map(id).collect();
    let arrived: Vec<Value> = server.records().iter().map(body).collect();
    assert!(arrived.iter().map(|event| &event["id"]).eq(sent.iter()));
}

#[tokio::test]
async fn another_server_or_another_path_is_refused() {
    if !collector::is_installed() {
        return;
    }
    let (ours, another) = (Authority::new(), Authority::new());
    let server = Collector::start(&another).await;
    let untrusted = sink(server.port, "", &ours);
    let failure = untrusted.send(&range(&*untrusted, 0..1), now()).await.unwrap_err();
    assert!(failure.message.contains("invalid peer certificate"), "{failure:?}");
    let lost = sink(server.port, "/v1/nothing", &another);
    let failure = lost.send(&range(&*lost, 0..1), now()).await.unwrap_err();
    assert_eq!((failure.kind, failure.http_status), (FailureKind::Invalid, Some(404)));
}
