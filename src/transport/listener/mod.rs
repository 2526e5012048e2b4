//! The listener: who may connect, and one task for each connection.

mod activity;
mod admission;
mod connection;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{debug, info, warn};

use self::{admission::Admission, connection::Connections};
use crate::tls::ServerTls;

/// How long to wait after a connection could not be accepted.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How often to look whether the certificate's files changed.
const RELOAD: Duration = Duration::from_secs(3);

/// What connections may do. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct ConnectionRules {
    /// Most headers of a request over HTTP/1.1.
    pub headers: usize,
    /// Most bytes of the headers of a request; at least 8,192.
    pub header_bytes: u32,
    /// Most calls at a time on one HTTP/2 connection.
    pub streams: u32,
    /// Most connections at a time.
    pub connections: u32,
    /// Most connections at a time from one address.
    pub connections_per_address: u32,
    /// How long the TLS handshake may take, and then the first bytes of HTTP.
    pub handshake: Duration,
    /// How long the headers of a request over HTTP/1.1 may take, the wait for their first byte included.
    pub header: Duration,
    /// How long a client may not take what an answer has for it.
    pub answer: Duration,
    /// How often a silent peer is asked whether it is there.
    pub keepalive: Duration,
    /// How long an HTTP/2 connection may have no call.
    pub idle: Option<Duration>,
    /// How old a connection may become before its client is asked to make another.
    pub age: Option<Duration>,
}

/// Serves every connection until `drain` is cancelled, then lets running calls end. Whoever drops it closes
/// all connections.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    routes: Routes,
    rules: ConnectionRules,
    drain: CancellationToken,
) {
    let admission = Arc::new(Admission::new(rules.connections, rules.connections_per_address));
    let connections = Arc::new(Connections::new(routes, tls, rules, drain.clone()));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only burn the CPU.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        // Closed at once: whatever is answered would cost more than what it protects.
        let Some(place) = admission.admit(peer.ip()) else { continue };
        if let Err(error) = connections.prepare(&stream) {
            debug!(%error, "a connection broke at once");
            continue;
        }
        let connections = connections.clone();
        tasks.spawn(async move {
            let _place = place;
            connections.serve(stream).await;
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Reads the certificate's files again when they change, and whenever `asked` is, until `shutdown`.
pub async fn keep_certificate(
    tls: Arc<ServerTls>,
    mut asked: impl AsyncFnMut(),
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = asked() => {}
            () = tokio::time::sleep(RELOAD) => {}
        }
        let tls = tls.clone();
        match tokio::task::spawn_blocking(move || tls.reload()).await {
            Ok(Ok(true)) => info!("new connections get the new certificate"),
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the certificate was not renewed; the one before stays");
            }
        }
    }
}

/// What is known of a connection to the calls on it.
fn connect_info(stream: &TcpStream) -> tonic::transport::server::TcpConnectInfo {
    use tonic::transport::server::Connected;
    stream.connect_info()
}
