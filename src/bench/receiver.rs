//! A receiver of log streams: HTTPS, in this process. It reads every body as JSON, as any receiver must,
//! counts the events, and answers.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{
    domain::{
        clock::{Clock, SystemClock},
        timestamp::Timestamp,
    },
    tls,
};

/// Larger than any batch.
const LARGEST_BODY: usize = 64 * 1_024 * 1_024;

/// An event as a generic HTTPS destination sends it.
#[derive(Deserialize)]
struct Envelope {
    /// When the service received it.
    timestamp: String,
    #[expect(dead_code, reason = "read, as a receiver would, and thrown away")]
    event: serde_json::Value,
}

/// What it saw.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    /// Microseconds from the receipt of each event by the service, while that counts.
    delays: Mutex<Vec<u32>>,
    counts: AtomicBool,
    largest: Mutex<Bytes>,
}

/// A receiver that runs until it is dropped.
pub struct Receiver {
    /// Where it is.
    pub url: String,
    /// Its certificate, in PEM; it signed that itself.
    pub certificate: String,
    seen: Arc<Seen>,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        tls::install_provider();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(anyhow::Error::msg)
            .context("the key of the receiver")?;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let seen = Arc::new(Seen::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), seen.clone()));
        Ok(Self { url, certificate: made.cert.pem(), seen, _serving: serving })
    }

    /// How many events it got.
    pub fn events(&self) -> u64 {
        self.seen.events.load(Ordering::Relaxed)
    }

    /// The largest body that it got.
    pub fn largest_body(&self) -> Bytes {
        self.seen.largest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on the times that events take count.
    pub fn count_delays(&self) {
        self.seen.counts.store(true, Ordering::Relaxed);
    }

    /// The times that counted, in microseconds.
    pub fn delays(&self) -> Vec<u32> {
        std::mem::take(&mut *self.seen.delays.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        connections.spawn(async move {
            _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| take(request, &seen));
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn take(
    request: Request<Incoming>,
    seen: &Seen,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut answer = Response::new(Empty::new());
    let body = Limited::new(request.into_body(), LARGEST_BODY).collect().await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let Ok(events) = serde_json::from_slice::<Vec<Envelope>>(&body) else {
        *answer.status_mut() = hyper::StatusCode::BAD_REQUEST;
        return Ok(answer);
    };
    let largest = || seen.largest.lock().unwrap_or_else(PoisonError::into_inner);
    if body.len() > largest().len() {
        *largest() = body;
    }
    if seen.counts.load(Ordering::Relaxed) {
        let now = SystemClock.now().micros();
        let delay = |event: &Envelope| {
            let received = Timestamp::parse_rfc3339(&event.timestamp)?;
            u32::try_from(now - received.micros()).ok()
        };
        let delays = events.iter().filter_map(delay);
        seen.delays.lock().unwrap_or_else(PoisonError::into_inner).extend(delays);
    }
    seen.events.fetch_add(events.len() as u64, Ordering::Relaxed);
    Ok(answer)
}
