//! What is no TLS, and settings that make none.

use std::sync::Arc;

use rustls::{HandshakeKind, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Authority, Secured, program_path, write_identity};
use crate::{
    program::process::Program,
    support::{Engine, create_event, schema_for},
};

/// Waits until the server closes the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    // A reset is an end as well.
    let _ = tokio::time::timeout(std::time::Duration::from_mins(1), read).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_ended_and_others_are_served() {
    let server = Secured::start(None, &[("AUDIT_LOGS_LIMITS_HANDSHAKE_SECONDS", "5")]).await;
    let mut bad = Vec::new();
    let preface = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..];
    let half = &[22, 3, 1, 2, 0, 1][..];
    for bytes in [b"GET / HTTP/1.1\r\n\r\n", &b""[..], preface, half, &[0xff; 4_096]] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            bad.push(stream);
        }
    }
    // While all of them are open.
    let mut client = server.client(None).await.unwrap().audit_logs();
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    for stream in bad {
        closed(stream).await;
    }
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_tls_is_refused_at_the_start_by_name() {
    let authority = Authority::new();
    let mine = authority.server();
    let program = Program::on(Engine::Sqlite).await;
    write_identity(&program, &mine);
    program.write("other.key", authority.server().key);
    program.write("empty.pem", "");
    let [cert, key, other, empty, none] =
        ["server.pem", "server.key", "other.key", "empty.pem", "none.pem"]
            .map(|name| program_path(&program, name));
    for (arguments, names) in [
        (&["--tls-cert", &cert][..], &["tls.key"][..]),
        (&["--tls-key", &key], &["tls.cert"]),
        (&["--tls-client-ca", &cert], &["tls.client_ca", "tls.cert"]),
        (&["--tls-cert", &none, "--tls-key", &key], &["tls.cert", "none.pem"]),
        (&["--tls-cert", &cert, "--tls-key", &none], &["tls.key", "none.pem"]),
        (&["--tls-cert", &empty, "--tls-key", &key], &["tls.cert", "empty.pem"]),
        (&["--tls-cert", &cert, "--tls-key", &empty], &["tls.key", "empty.pem"]),
        (&["--tls-cert", &cert, "--tls-key", &other], &["tls.key", "other.key", "fit"]),
        (
            &["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &empty],
            &["tls.client_ca", "empty.pem"],
        ),
    ] {
        let message = program.run(&[&["serve"], arguments].concat()).await.expect_refusal();
        for name in names {
            assert!(message.contains(name), "{arguments:?}: {message}");
        }
        assert!(!message.contains("PRIVATE KEY"), "{message}");
    }
}

#[tokio::test]
async fn plaintext_beyond_loopback_wants_a_word() {
    let program = Program::on(Engine::Sqlite).await;
    let serve = ["serve", "--listen", "0.0.0.0:0"];
    let message = program.run(&serve).await.expect_refusal();
    for choice in ["tls.cert", "127.0.0.1", "--insecure-plaintext"] {
        assert!(message.contains(choice), "{message}");
    }
    // Nothing was made.
    assert!(program.files_in(".").is_empty());
    let mut open = program.start(&["serve", "--listen", "0.0.0.0:0", "--insecure-plaintext"]);
    open.listening().await;
    // Where there is IPv6.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        program.start(&["serve", "--listen", "[::1]:0"]).listening().await;
    }
}

/// A session that goes on would be one whose client's certificate, which may have run out, nobody looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_certificate_is_looked_at() {
    let clients = Authority::new();
    for (authority, expected) in
        [(None, HandshakeKind::Resumed), (Some(&clients), HandshakeKind::Full)]
    {
        let server = Secured::start(authority, &[]).await;
        let connector = TlsConnector::from(Arc::new(server.rustls(&clients.client())));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let stream = TcpStream::connect(server.address()).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            // Tickets come with the first answer.
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, expected]);
    }
}
