//! Receivers of log streams that hold the service to what the vendors document: each checks media types,
//! credentials, limits and the form of bodies, keeps what it accepted, in order, and can be told to
//! misbehave. They speak TLS with a certificate of an authority of their own, on `127.0.0.1`.
//!
//! ```ignore
//! let receiver = Receiver::start(Datadog::new("key")).await;
//! // configure a stream with receiver.url() and receiver.ca_pem() ...
//! receiver.misbehave(Fault::Internal, 3);
//! until("all arrived", async || (receiver.ids().len() == 10).then_some(())).await;
//! ```

pub mod azure_sentinel;
mod datadog;
mod flaky_bucket;
mod generic_https;
pub mod servers;
pub mod snowflake;
mod splunk;
mod tls;

use std::{
    convert::Infallible,
    io::{self, Read},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response},
};
use futures::stream;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

pub use self::{
    azure_sentinel::AzureSentinel,
    datadog::Datadog,
    flaky_bucket::FlakyBucket,
    generic_https::{GenericHttps, RequestForm},
    snowflake::Snowflake,
    splunk::Splunk,
};

/// What a receiver does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Takes nothing and never answers.
    Hang,
    /// Takes the events and answers a byte every 100 ms, for ever.
    Drip,
    /// Answers with that status and, if given, `Retry-After`; takes nothing.
    Status(u16, Option<&'static str>),
    /// Answers with that status and body; takes nothing.
    Says(u16, &'static str),
    /// Answers 413 to bodies of more bytes (as sent); takes the others.
    TooLargeAbove(usize),
    /// Answers 307 to that address; takes nothing.
    Redirect(String),
    /// Closes the connection in the middle of the request; takes nothing.
    CloseInRequest,
    /// Takes the events and closes the connection in the middle of the answer.
    CloseInAnswer,
    /// Repeats the request's headers and body in a 400; takes nothing.
    Echo,
}

/// A request as it was sent.
pub struct Received {
    /// `POST` or another.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, or nothing.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body without gzip; `None` if it is no gzip or another coding.
    pub fn decoded(&self) -> Option<Vec<u8>> {
        match self.header("content-encoding") {
            "" => Some(self.body.clone()),
            "gzip" => {
                let mut body = Vec::new();
                flate2::read::GzDecoder::new(&*self.body).read_to_end(&mut body).ok()?;
                Some(body)
            }
            _ => None,
        }
    }
}

/// What a receiver answers, and the events that it takes.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// What is taken, in the form of the WorkOS payload.
    pub events: Vec<Value>,
}

impl Reply {
    /// An answer that takes nothing.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), events: Vec::new() }
    }
}

/// The rules of a kind of receiver.
pub trait Protocol: Send + 'static {
    /// Judges a request. What is against the vendor's rules is answered as the vendor does.
    fn receive(&mut self, request: &Received) -> Reply;

    /// Whether a fault strikes this request: those that only prepare others are spared.
    fn delivers(&self, request: &Received) -> bool {
        let _ = request;
        true
    }
}

#[derive(Default)]
struct State {
    fault: Option<(Fault, usize)>,
    accepted: Vec<Value>,
    requests: usize,
    replies: Vec<(u16, String)>,
    headers: HeaderMap,
}

/// A receiver that runs until it is dropped.
pub struct Receiver<P> {
    port: u16,
    ca_pem: String,
    state: Arc<Mutex<State>>,
    protocol: Arc<Mutex<P>>,
    task: JoinHandle<()>,
}

impl<P> Drop for Receiver<P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<P: Protocol> Receiver<P> {
    /// Starts one on a free port.
    pub async fn start(protocol: P) -> Self {
        Self::start_at(protocol, 0).await
    }

    /// Starts one on that port, for example that of one that was dropped.
    pub async fn start_at(protocol: P, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let protocol = Arc::new(Mutex::new(protocol));
        let task = tokio::spawn(serve(listener, tls::acceptor(), state.clone(), protocol.clone()));
        Self { port, ca_pem: tls::ca_pem().to_owned(), state, protocol, task }
    }

    /// `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The same by the name `localhost`.
    pub fn named_url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed its certificate, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What was accepted, in order.
    pub fn accepted(&self) -> Vec<Value> {
        self.state().accepted.clone()
    }

    /// How many events were accepted.
    pub fn count(&self) -> usize {
        self.state().accepted.len()
    }

    /// The ids of what was accepted, in either form, in order.
    pub fn ids(&self) -> Vec<String> {
        let state = self.state();
        let id = |event: &Value| {
            let id = event["id"].as_str().or(event["metadata"]["uid"].as_str());
            id.unwrap().to_owned()
        };
        state.accepted.iter().map(id).collect()
    }

    /// How many requests came, refused ones and those that met a fault included.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// The headers of the last request.
    pub fn last_headers(&self) -> HeaderMap {
        self.state().headers.clone()
    }

    /// Status and body of the answers that the rules gave, in order.
    pub fn replies(&self) -> Vec<(u16, String)> {
        self.state().replies.clone()
    }

    /// From now on, so many requests meet this fault.
    pub fn misbehave(&self, fault: Fault, times: usize) {
        self.state().fault = Some((fault, times));
    }

    /// No more faults.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// The rules, to change them.
    pub fn protocol(&self) -> MutexGuard<'_, P> {
        self.protocol.lock().unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn serve<P: Protocol>(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    state: Arc<Mutex<State>>,
    protocol: Arc<Mutex<P>>,
) {
    // Connections end with the receiver.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let (acceptor, state, protocol) = (acceptor.clone(), state.clone(), protocol.clone());
        connections.spawn(async move {
            let cut = Arc::new(Mutex::new(false));
            let stream = Cuttable { stream, cut: cut.clone() };
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, &state, &protocol, &cut));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<P: Protocol>(
    request: Request<Incoming>,
    state: &Mutex<State>,
    protocol: &Mutex<P>,
    cut: &Mutex<bool>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let limit = 64 << 20;
    let Ok(body) = to_bytes(Body::new(body), limit).await else {
        return Ok(response(&Reply::new(400, ""), Vec::new()));
    };
    let received = Received {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.into(),
    };
    let delivers = protocol.lock().unwrap().delivers(&received);
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        state.headers.clone_from(&received.headers);
        if delivers { next_fault(&mut state, received.body.len()) } else { None }
    };
    let takes = matches!(fault, None | Some(Fault::Drip | Fault::CloseInAnswer));
    let reply = if takes {
        let reply = protocol.lock().unwrap().receive(&received);
        let mut state = state.lock().unwrap();
        state.accepted.extend(reply.events.iter().cloned());
        state.replies.push((reply.status, reply.body.clone()));
        reply
    } else {
        Reply::default()
    };
    Ok(match fault {
        Some(fault) => faulty(fault, &received, &reply, cut).await,
        None => response(&reply, reply.body.clone()),
    })
}

fn next_fault(state: &mut State, bytes: usize) -> Option<Fault> {
    let (fault, times) = state.fault.as_mut()?;
    if matches!(fault, Fault::TooLargeAbove(limit) if bytes <= *limit) {
        return None;
    }
    *times = times.checked_sub(1)?;
    Some(fault.clone())
}

async fn faulty(
    fault: Fault,
    received: &Received,
    reply: &Reply,
    cut: &Mutex<bool>,
) -> Response<Body> {
    let status = |status, body: String| response(&Reply::new(status, ""), body);
    match fault {
        Fault::Hang => std::future::pending().await,
        Fault::Drip => {
            let bytes = stream::unfold((), async |()| {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Some((Ok::<_, Infallible>(" "), ()))
            });
            // A 204 has no body.
            response(&Reply::new(200, ""), Body::from_stream(bytes))
        }
        Fault::Status(code, retry_after) => {
            let mut answer = status(code, String::new());
            if let Some(value) = retry_after {
                answer.headers_mut().insert("retry-after", value.parse().unwrap());
            }
            answer
        }
        Fault::Says(code, body) => status(code, body.to_owned()),
        Fault::TooLargeAbove(_) => status(413, "too large".to_owned()),
        Fault::Redirect(to) => {
            let mut answer = status(307, String::new());
            answer.headers_mut().insert("location", to.parse().unwrap());
            answer
        }
        Fault::CloseInRequest => {
            *cut.lock().unwrap() = true;
            status(500, String::new())
        }
        Fault::CloseInAnswer if reply.status == 204 => {
            *cut.lock().unwrap() = true;
            response(reply, "")
        }
        Fault::CloseInAnswer => {
            let broken = stream::iter([Ok("{"), Err(io::Error::other("cut"))]);
            response(reply, Body::from_stream(broken))
        }
        Fault::Echo => {
            let body = String::from_utf8_lossy(&received.body);
            status(400, format!("{:?} {body}", header_texts(&received.headers)))
        }
    }
}

/// The headers with what they hide.
fn header_texts(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
}

fn response(reply: &Reply, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(reply.status).body(body.into()).unwrap()
}

/// A connection that fails once it is cut.
struct Cuttable {
    stream: TcpStream,
    cut: Arc<Mutex<bool>>,
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if *self.cut.lock().unwrap() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
