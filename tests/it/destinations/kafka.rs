//! Kafka, against a broker of Apache Kafka.

use std::sync::Arc;

use audit_logs::{
    domain::destination::{Destination, Kafka, Secrets},
    forward::{Egress, Failure, FailureKind, Sink},
};
use serde_json::{Value, json};

use super::outgoing::{self, ORGANIZATION, batch, event, id, now, range, workos};
use crate::receivers::servers::{
    authority::Authority,
    kafka::{self, TOPIC, USER},
};

fn config(port: u16) -> Kafka {
    Kafka {
        bootstrap_servers: vec![format!("127.0.0.1:{port}")],
        topic: TOPIC.to_owned(),
        tls: false,
        username: String::new(),
    }
}

fn with_tls(port: u16, password: &str, authority: &Authority) -> Arc<dyn Sink> {
    through("127.0.0.0/8", port, password, authority)
}

fn through(allowed: &str, port: u16, password: &str, authority: &Authority) -> Arc<dyn Sink> {
    let config = Kafka { tls: true, username: USER.0.to_owned(), ..config(port) };
    let mut secrets = Secrets::default();
    secrets.set("password", password);
    let egress = Egress::parse(allowed).unwrap();
    let destination = Destination::Kafka(config);
    outgoing::sink_through(&egress, destination, &secrets, authority.pem()).unwrap()
}

fn plain(config: Kafka) -> Arc<dyn Sink> {
    outgoing::sink(Destination::Kafka(config), &Secrets::default(), "").unwrap()
}

/// Sends until the broker is ready: it listens before it knows its own topics.
async fn send_when_ready(sink: &dyn Sink, sequences: std::ops::Range<u64>) {
    let batch = range(sink, sequences);
    let sent = crate::support::until("the broker takes a batch", async || {
        sink.send(&batch, now()).await.ok()
    });
    sent.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_in_order_and_unchanged() {
    if !kafka::is_installed() {
        return;
    }
    let authority = Authority::new();
    let mut server = kafka::Kafka::start(&authority, "127.0.0.1").await;
    let sink = with_tls(server.tls_port, USER.1, &authority);
    send_when_ready(&*sink, 0..500).await;
    sink.send(&range(&*sink, 500..1_000), now()).await.unwrap();
    let mut odd = event(1_000);
    odd["actor"]["name"] = json!("Zoë \"\\ \u{0}\u{1}\r\n\t 末 \u{1f512}");
    sink.send(&batch(&*sink, &[(1_000, odd.clone())]), now()).await.unwrap();

    server.kill();
    let failure = sink.send(&range(&*sink, 1_001..1_010), now()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None }, "{failure:?}");
    server.start_again().await;
    send_when_ready(&*sink, 1_001..1_010).await;

    let records = server.records(TOPIC, 1_010);
    assert_eq!(records.len(), 1_010);
    for (sequence, record) in (0..).zip(&records) {
        let sent = if sequence == 1_000 { odd.clone() } else { event(sequence) };
        let value: Value = serde_json::from_str(&record.value).unwrap();
        assert_eq!(value, workos(sequence, &sent));
        assert_eq!(record.key, ORGANIZATION);
        assert_eq!(record.headers, format!("event_id:{},sequence:{sequence}", id(sequence)));
        assert_eq!(record.partition, records[0].partition);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told() {
    if !kafka::is_installed() {
        return;
    }
    let (authority, another) = (Authority::new(), Authority::new());
    let server = kafka::Kafka::start(&authority, "127.0.0.1").await;
    let ready = plain(config(server.port));
    send_when_ready(&*ready, 0..1).await;

    let failure = one(&*with_tls(server.tls_port, "not-the-password", &authority)).await;
    assert_eq!(failure.kind, FailureKind::Invalid, "{failure:?}");
    assert!(!failure.message.contains("not-the-password"), "{failure:?}");

    let failure = one(&*with_tls(server.tls_port, USER.1, &another)).await;
    assert!(failure.message.contains("invalid peer certificate"), "{failure:?}");

    let failure = one(&*plain(Kafka { topic: "nothing".to_owned(), ..config(server.port) })).await;
    assert_eq!(failure.kind, FailureKind::Invalid, "{failure:?}");

    server.create_topic("small", &["max.message.bytes=2000"]);
    let small = plain(Kafka { topic: "small".to_owned(), ..config(server.port) });
    send_when_ready(&*small, 0..1).await;
    let failure = small.send(&range(&*small, 0..100), now()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TooLarge, "{failure:?}");
    send_when_ready(&*small, 0..1).await;
}

async fn one(sink: &dyn Sink) -> Failure {
    sink.send(&range(sink, 0..1), now()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_broker_leads_to_an_address_that_is_not_allowed() {
    if !kafka::is_installed() {
        return;
    }
    // The broker that is asked first is allowed; the one that it tells of is not.
    let authority = Authority::new();
    let server = kafka::Kafka::start(&authority, "127.0.0.2").await;
    for (allowed, told) in [("127.0.0.1", "127.0.0.2:"), ("", "127.0.0.1:")] {
        let sink = through(allowed, server.tls_port, USER.1, &authority);
        let failure = crate::support::until("the broker tells of itself", async || {
            let failure = one(&*sink).await;
            (failure.kind == FailureKind::Invalid).then_some(failure)
        });
        let failure = failure.await;
        assert!(failure.message.starts_with(told), "{failure:?}");
    }
}
