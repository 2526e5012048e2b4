//! The limit: a server that decodes CreateEvent, stores nothing, and answers with as many bytes as
//! the service does. What it costs is the wire, gRPC and protobuf.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;

use crate::{domain::clock::Clock, domain::clock::SystemClock, proto::v1};

const PATH: &str = "/auditlogs.v1.AuditLogs/CreateEvent";
/// As in the real server.
const MAX_CONCURRENT_STREAMS: u32 = 1_024;

/// Serves until the process ends.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.context("cannot listen")?;
    let incoming = TcpListenerStream::new(listener)
        .map(|connection| connection.inspect(|stream| _ = stream.set_nodelay(true)));
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .add_service(Limit::default())
        .serve_with_incoming(incoming)
        .await
        .context("the listener failed")
}

/// The service, with one method. Not the generated trait: that would have to name every method of
/// the contract.
#[derive(Clone, Default)]
struct Limit {
    sequence: Arc<AtomicU64>,
}

impl NamedService for Limit {
    const NAME: &'static str = "auditlogs.v1.AuditLogs";
}

impl Service<http::Request<Body>> for Limit {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let limit = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("only CreateEvent is here").into_http());
            }
            Ok(Grpc::new(ProstCodec::default()).unary(limit, request).await)
        })
    }
}

impl UnaryService<v1::CreateEventRequest> for Limit {
    type Response = v1::CreateEventResponse;
    type Future = BoxFuture<Response<Self::Response>, Status>;

    fn call(&mut self, request: Request<v1::CreateEventRequest>) -> Self::Future {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            drop(request.into_inner());
            let now = SystemClock.now();
            Ok(Response::new(v1::CreateEventResponse {
                event_id: "audit_event_01JQ4X7Z6E5M2K9T8V3B1N0CDA".to_owned(),
                sequence,
                leaf_hash: vec![0x5a; 32],
                created_at: Some(prost_types::Timestamp {
                    seconds: now.seconds(),
                    nanos: now.subsecond_nanos(),
                }),
                ..Default::default()
            }))
        })
    }
}
