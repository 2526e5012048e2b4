//! A bucket that takes objects with a fault here and there. It does not look at signatures: moto does.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What it has, and how it misbehaves.
#[derive(Default)]
pub struct Contents {
    /// The objects by their paths.
    pub objects: BTreeMap<String, Bytes>,
    /// How often something was put, with what was not taken.
    pub puts: usize,
    /// Paths that were put at least once.
    seen: BTreeSet<String>,
    /// Whether each path is refused the first time it is put.
    pub refuses_first: bool,
    /// Objects with this text in them are never taken.
    pub never: Option<String>,
}

/// A server on this host, without TLS.
pub struct FlakyBucket {
    /// Where it is.
    pub url: String,
    contents: Arc<Mutex<Contents>>,
    _task: AbortOnDropHandle<()>,
}

impl FlakyBucket {
    pub async fn start() -> Self {
        let contents = Arc::new(Mutex::new(Contents::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(serve(listener, contents.clone()));
        Self { url, contents, _task: AbortOnDropHandle::new(task) }
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, contents: Arc<Mutex<Contents>>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let contents = contents.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let contents = contents.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = to_bytes(Body::new(request.into_body()), usize::MAX).await;
                let (status, said) = contents.lock().unwrap().put(path, body.unwrap_or_default());
                let answer = Response::builder().status(status).body(Body::from(said)).unwrap();
                Ok::<_, Infallible>(answer)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

impl Contents {
    fn put(&mut self, path: String, body: Bytes) -> (u16, &'static str) {
        self.puts += 1;
        let is_first = self.seen.insert(path.clone());
        let text = String::from_utf8_lossy(&body);
        let is_never = self.never.as_ref().is_some_and(|never| text.contains(never));
        if is_never || (is_first && self.refuses_first) {
            return (503, "<Error><Code>SlowDown</Code></Error>");
        }
        self.objects.insert(path, body);
        (200, "")
    }
}
