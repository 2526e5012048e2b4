//! Certificates that change while the server runs.

use std::{io, sync::Arc};

use audit_logs::tls::client_config_as;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Authority, Identity, Secured, write_identity};
use crate::support::{create_event, schema_for, until};

/// Shakes hands and asks, over HTTP/1.1, whether the server is ready: a client's certificate is refused
/// after the handshake, as TLS 1.3 has it.
async fn shake(
    server: &Secured,
    identity: Option<&Identity>,
) -> io::Result<(Vec<u8>, TlsStream<TcpStream>)> {
    let identity = identity.map(|identity| (&*identity.certificate, &*identity.key));
    let config = client_config_as(&server.authority.pem, identity).unwrap();
    let stream = TcpStream::connect(server.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    assert_eq!(&start, b"HTTP/1.1 200");
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((shown, stream))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_used_without_a_restart() {
    let server = Secured::start(None, &[]).await;
    let mut before = server.client(None).await.unwrap().audit_logs();
    before.create_action_schema(schema_for("doc.read")).await.unwrap();
    let (first, _open) = shake(&server, None).await.unwrap();

    write_identity(&server.program, &server.authority.server());
    // By itself: it looks every few seconds.
    let second = until("the new certificate is shown", async || {
        let (shown, _) = shake(&server, None).await.unwrap();
        (shown != first).then_some(shown)
    })
    .await;
    // Who is connected stays so.
    before.create_event(create_event("acme", "doc.read")).await.unwrap();

    // The key of another certificate, then half a file.
    for (name, text) in [
        ("server.key", server.authority.server().key),
        ("server.pem", "-----BEGIN CERTIFICATE-----\nMIIB".to_owned()),
    ] {
        let told = server.process.stderr.text().matches("the certificate was not renewed").count();
        server.program.write(name, text);
        server.process.signal("HUP");
        until("the log tells", async || {
            let log = server.process.stderr.text();
            (log.matches("the certificate was not renewed").count() > told).then_some(())
        })
        .await;
        assert_eq!(shake(&server, None).await.unwrap().0, second);
    }
    let log = server.process.stderr.text();
    assert!(log.contains("tls.key") && log.contains("tls.cert") && !log.contains("MIIB"), "{log}");

    // It mends as soon as the files do.
    write_identity(&server.program, &server.authority.server());
    server.process.signal("HUP");
    until("the third certificate is shown", async || {
        (shake(&server, None).await.unwrap().0 != second).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authorities_of_clients_can_change_too() {
    let (old, new) = (Authority::new(), Authority::new());
    let (before, after) = (old.client(), new.client());
    let server = Secured::start(Some(&old), &[]).await;
    shake(&server, Some(&before)).await.unwrap();
    assert!(shake(&server, Some(&after)).await.is_err());
    server.program.write("clients.pem", &new.pem);
    server.process.signal("HUP");
    until("the new client is let in", async || shake(&server, Some(&after)).await.ok()).await;
    assert!(shake(&server, Some(&before)).await.is_err());
}
