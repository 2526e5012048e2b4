//! Syslog over TLS, against rsyslog and against receivers that go away.

use std::sync::Arc;

use audit_logs::{
    domain::destination::{Destination, Secrets, Syslog, SyslogFormat},
    forward::{FailureKind, Sink},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use super::outgoing::{self, ORGANIZATION, batch, encode, event, id, now, range, workos};
use crate::receivers::servers::{
    authority::Authority,
    rsyslog::{self, Rsyslog},
};

const HOST: &str = "127.0.0.1";

fn sink(port: u16, format: SyslogFormat, authority: &Authority) -> Arc<dyn Sink> {
    let config = Syslog { host: HOST.to_owned(), port, format, app_name: String::new() };
    let destination = Destination::Syslog(config);
    outgoing::sink(destination, &Secrets::default(), authority.pem()).unwrap()
}

/// What comes after the byte order mark, if there is one.
fn said(message: &serde_json::Value) -> &str {
    let text = message["message"].as_str().unwrap();
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[tokio::test]
async fn everything_arrives_in_order_and_unchanged() {
    if !rsyslog::is_installed() {
        return;
    }
    let authority = Authority::new();
    let server = Rsyslog::start(&authority, HOST).await;
    let sink = sink(server.port, SyslogFormat::Json, &authority);
    for first in [0, 500] {
        sink.send(&range(&*sink, first..first + 500), now()).await.unwrap();
    }
    let messages = server.messages(1_000).await;
    assert_eq!(messages.len(), 1_000);
    for (sequence, message) in (0..).zip(&messages) {
        let json: serde_json::Value = serde_json::from_str(said(message)).unwrap();
        assert_eq!(json, workos(sequence, &event(sequence)));
        let data = format!(
            "[audit@32473 org=\"{ORGANIZATION}\" seq=\"{sequence}\" id=\"{}\"]",
            id(sequence)
        );
        assert_eq!(message["data"], data);
    }
    let first = &messages[0];
    assert_eq!((&first["pri"], &first["app"]), (&json!("109"), &json!("audit-logs")));
    assert_eq!(first["time"], "2026-11-02T08:15:30.250000Z");
    assert_eq!(first["id"], "report.downloaded");
    assert_eq!(first["process"], std::process::id().to_string());
    assert!(first["message"].as_str().unwrap().starts_with('\u{feff}'));
}

#[tokio::test]
async fn what_needs_escapes_arrives_as_it_was() {
    if !rsyslog::is_installed() {
        return;
    }
    let authority = Authority::new();
    let server = Rsyslog::start(&authority, HOST).await;
    let json = sink(server.port, SyslogFormat::Json, &authority);
    let cef = sink(server.port, SyslogFormat::Cef, &authority);
    let mut odd = event(0);
    odd["actor"]["name"] = json!("Zoë \"]\\ \u{1}\r\n\t| = 末 \u{1f512}");
    odd["metadata"] = json!({"note": "a\nb=c\\d|e]"});
    // As much as a receiver takes, to the byte.
    let mut longest = event(1);
    longest["actor"]["name"] = json!("");
    let room = json.limits().event_bytes - encode(&*json, 1, &longest).unwrap().bytes.len();
    // The count grows by a digit where the message does.
    longest["actor"]["name"] = json!("n".repeat(room - 1));
    let sent = batch(&*json, &[(0, odd.clone()), (1, longest.clone())]);
    assert!(sent[1].bytes.starts_with(b"8096 "));
    json.send(&sent, now()).await.unwrap();
    let messages = server.messages(2).await;
    for (sequence, event) in [(0, &odd), (1, &longest)] {
        let index = usize::try_from(sequence).unwrap();
        let arrived: serde_json::Value = serde_json::from_str(said(&messages[index])).unwrap();
        assert_eq!(arrived, workos(sequence, event));
    }

    cef.send(&batch(&*cef, &[(2, odd.clone())]), now()).await.unwrap();
    let messages = server.messages(3).await;
    let line = said(&messages[2]);
    assert!(line.starts_with("CEF:0|audit-logs|audit-logs|"), "{line}");
    assert!(line.contains(r#" suser=Zoë "]\\ "#), "{line}");
    assert!(line.contains(r#" cs5={"note":"a\\nb\=c\\\\d|e]"} cs5Label=metadata"#), "{line}");
}

#[tokio::test]
async fn a_server_that_was_away_gets_what_comes_next() {
    if !rsyslog::is_installed() {
        return;
    }
    let authority = Authority::new();
    let mut server = Rsyslog::start(&authority, HOST).await;
    let sink = sink(server.port, SyslogFormat::Json, &authority);
    sink.send(&range(&*sink, 0..10), now()).await.unwrap();
    server.messages(10).await;
    server.kill();
    // Nothing is written into the dead connection, although nobody has told the sink.
    let failure = sink.send(&range(&*sink, 10..20), now()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None });
    server.start_again().await;
    sink.send(&range(&*sink, 10..20), now()).await.unwrap();
    server.messages(20).await;
    server.kill();
    server.start_again().await;
    // A new server on the other side is noticed, too, and the batch is not lost.
    sink.send(&range(&*sink, 20..30), now()).await.unwrap();
    let messages = server.messages(30).await;
    let sent: Vec<String> = (0..30).map(|number| format!("user_{number}")).collect();
    let arrived: Vec<serde_json::Value> =
        messages.iter().map(|message| serde_json::from_str(said(message)).unwrap()).collect();
    assert!(arrived.iter().map(|event| &event["actor"]["id"]).eq(sent.iter()));
}

#[tokio::test]
async fn a_server_that_another_authority_certified_is_refused() {
    if !rsyslog::is_installed() {
        return;
    }
    let (ours, another) = (Authority::new(), Authority::new());
    let server = Rsyslog::start(&another, HOST).await;
    let other_name = Rsyslog::start(&ours, "logs.example.com").await;
    for (port, why) in [(server.port, "BadSignature"), (other_name.port, "not valid for name")] {
        let sink = sink(port, SyslogFormat::Json, &ours);
        let failure = sink.send(&range(&*sink, 0..1), now()).await.unwrap_err();
        assert!(failure.message.contains(why), "{failure:?}");
        assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None });
    }
}

/// A receiver that reads that many bytes of each connection and then closes it.
async fn closes_after(authority: &Authority, bytes: usize) -> u16 {
    let (certificate, key) = authority.certify(HOST);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(
        vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
        PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
    )
    .unwrap();
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut read = vec![0; bytes];
            let _ = stream.read_exact(&mut read).await;
        }
    });
    port
}

#[tokio::test]
async fn a_receiver_that_closes_in_the_middle_has_not_taken_the_batch() {
    let authority = Authority::new();
    let port = closes_after(&authority, 100).await;
    let sink = sink(port, SyslogFormat::Json, &authority);
    for _ in 0..3 {
        let failure = sink.send(&range(&*sink, 0..50), now()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None });
        assert!(failure.message.starts_with("127.0.0.1:"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_says_nothing_does_not_hold_the_stream_up() {
    // It accepts connections and never answers.
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sink = sink(port, SyslogFormat::Json, &Authority::new());
    let failure = sink.send(&range(&*sink, 0..1), now()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None }, "{failure:?}");
    drop(listener);
}
