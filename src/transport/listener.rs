//! The listener: connections, and how they are served.

use std::time::Duration;

use futures::StreamExt;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

/// How long to wait after a connection could not be accepted.
const ACCEPT_REST: Duration = Duration::from_millis(50);
const KEEPALIVE: Duration = Duration::from_secs(30);
const MAX_CONCURRENT_STREAMS: u32 = 1_024;
/// Most bytes that a client may send in one call before they are read (RFC 9113, section 5.2).
const CALL_WINDOW: u32 = 1_024 * 1_024;
/// The same for a connection: more, so that a stream that is not read for a while, as back-pressure, does
/// not hold up the other calls beside it.
const CONNECTION_WINDOW: u32 = 8 * CALL_WINDOW;

/// Serves every connection until `drain` is cancelled, then lets running calls end.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    drain: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpListenerStream::new(listener).then(|connection| async {
        match &connection {
            // Small answers must not wait for a full segment.
            Ok(stream) => _ = stream.set_nodelay(true),
            // Out of file descriptors, most likely: trying again at once would only burn the CPU.
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
        connection
    });
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, drain.cancelled_owned())
        .await
}
