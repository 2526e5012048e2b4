//! A collector of traces that reads what it gets no further than to count the spans: it stands for one on
//! another machine.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Incoming},
    header::{HeaderName, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::encoding::{WireType, decode_key, decode_varint};
use tokio::{net::TcpListener, task::AbortHandle};

/// The answer to a request, which has no fields (gRPC over HTTP/2, "Length-Prefixed-Message").
const EMPTY_MESSAGE: Bytes = Bytes::from_static(&[0; 5]);
/// The fields on the way to a span: `resource_spans`, `scope_spans`, `spans` (OTLP 1.0, trace.proto).
const WAY_TO_SPANS: [u32; 3] = [1, 2, 2];

/// A running collector.
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    spans: Arc<AtomicU64>,
    serving: AbortHandle,
}

impl Collector {
    /// Starts it on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let spans = Arc::new(AtomicU64::new(0));
        let counted = spans.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = counted.clone();
                let service = service_fn(move |request| answer(request, counted.clone()));
                let connection = http2::Builder::new(TokioExecutor::new());
                // It ends when the server goes.
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, spans, serving: serving.abort_handle() })
    }

    /// Spans so far.
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    spans: Arc<AtomicU64>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, hyper::Error> {
    let is_trace = request.uri().path().contains("TraceService");
    let mut message = request.into_body().collect().await?.to_bytes();
    message.advance(EMPTY_MESSAGE.len().min(message.len()));
    if is_trace {
        spans.fetch_add(count(message, &WAY_TO_SPANS), Ordering::Relaxed);
    }
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from(0));
    let trailers = HeaderMap::from_iter([status]);
    let body = Full::new(EMPTY_MESSAGE).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    Ok(response)
}

/// How many messages there are at the end of a way of fields; the rest is passed over.
fn count(mut message: Bytes, way: &[u32]) -> u64 {
    let Some((first, rest)) = way.split_first() else { return 1 };
    let mut found = 0;
    while message.has_remaining() {
        // All fields on the way are messages; others there are texts and messages too.
        let Ok((field, WireType::LengthDelimited)) = decode_key(&mut message) else { break };
        let Ok(length) = decode_varint(&mut message) else { break };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(message.len());
        let inner = message.split_to(length);
        if field == *first {
            found += count(inner, rest);
        }
    }
    found
}
