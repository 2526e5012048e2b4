//! One connection: its handshake, what it speaks, its calls, its end.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{
    Request, Response,
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::server::TcpConnectInfo};
use tracing::debug;

use super::{
    ConnectionRules,
    activity::{Activity, Answer, Counted, Wire},
    connect_info,
};
use crate::tls::ServerTls;

/// Most bytes that a client may send in one call before they are read (RFC 9113, section 5.2).
const CALL_WINDOW: u32 = 1_024 * 1_024;
/// The same for a connection: more, so that a stream that is not read for a while, as back-pressure, does
/// not hold up the other calls beside it.
pub const CONNECTION_WINDOW: u32 = 8 * CALL_WINDOW;
/// How long a peer may take to answer whether it is there, unless it is asked more often.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// How many calls a client may begin and reset before the service looked at them (CVE-2023-44487), and how
/// many it may make the service reset: then the connection is closed (RFC 9113, section 10.5).
const EARLY_RESETS: usize = 64;
const FORCED_RESETS: usize = 256;
/// Most bytes of answers that wait in one call until the client takes them.
const SEND_BUFFER: usize = 256 * 1_024;
/// How long a connection without calls may take to close after it was asked to.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often that is looked at, how long such a connection may take while the service shuts down, and how
/// long a client may take to close an ended one.
const GLANCE: Duration = Duration::from_secs(2);

/// How connections are served.
pub struct Connections {
    router: Router,
    tls: Option<Arc<ServerTls>>,
    builder: Builder<TokioExecutor>,
    rules: ConnectionRules,
    drain: CancellationToken,
}

impl Connections {
    /// Serves with `routes`, as `rules` allow.
    pub fn new(
        routes: Routes,
        tls: Option<Arc<ServerTls>>,
        rules: ConnectionRules,
        drain: CancellationToken,
    ) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        let header_bytes = usize::try_from(rules.header_bytes).unwrap_or(usize::MAX);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(rules.header)
            .max_headers(rules.headers)
            .max_buf_size(header_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(CALL_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(rules.streams)
            .max_header_list_size(rules.header_bytes)
            .max_pending_accept_reset_streams(EARLY_RESETS)
            .max_local_error_reset_streams(FORCED_RESETS)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(rules.keepalive)
            .keep_alive_timeout(rules.keepalive.min(KEEPALIVE_ANSWER));
        Self { router: routes.prepare().into_axum_router(), tls, builder, rules, drain }
    }

    /// Sets up a new socket.
    pub fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        // Small answers must not wait for a full segment.
        stream.set_nodelay(true)?;
        let every = self.rules.keepalive;
        let keepalive =
            TcpKeepalive::new().with_time(every).with_interval(every.min(KEEPALIVE_ANSWER));
        SockRef::from(stream).set_tcp_keepalive(&keepalive)
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, stream: TcpStream) {
        let info = connect_info(&stream);
        let activity = Activity::new();
        let Some(tls) = &self.tls else {
            return self.speak_to_the_end(stream, info, activity).await;
        };
        let shake = TlsAcceptor::from(tls.config()).accept(stream);
        let shaken = tokio::select! {
            () = self.drain.cancelled() => return,
            shaken = timeout(self.rules.handshake, shake) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak_to_the_end(stream, info, activity).await,
            Ok(Err(error)) => debug!(%error, peer = ?info.remote_addr, "no TLS handshake"),
            Err(_) => debug!(peer = ?info.remote_addr, "the TLS handshake took too long"),
        }
    }

    /// Speaks HTTP. What the client still sends after a proper end is read and thrown away: if it were
    /// refused, the client's system would forget answers that its program has not read yet (RFC 9112,
    /// section 9.6).
    async fn speak_to_the_end(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        info: TcpConnectInfo,
        activity: Arc<Activity>,
    ) {
        let wire = Wire::new(stream);
        if !self.speak(wire.counted(activity.clone()), info, activity).await {
            return;
        }
        let Some(mut stream) = wire.into_inner() else { return };
        let rest = async {
            let mut thrown_away = [0; 4_096];
            while matches!(stream.read(&mut thrown_away).await, Ok(1..)) {}
        };
        // Who does not leave is left.
        _ = timeout(GLANCE, rest).await;
    }

    /// Speaks HTTP, whichever version the other side does. Says whether that ended properly.
    async fn speak(
        &self,
        stream: Counted<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>,
        info: TcpConnectInfo,
        activity: Arc<Activity>,
    ) -> bool {
        let begun = Instant::now();
        let service = self.service(info, activity.clone());
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut asked_to_leave = false;
        let mut look_at = begun + self.rules.handshake;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    return match ended {
                        Ok(()) => true,
                        Err(error) => {
                            debug!(error, "a connection broke");
                            false
                        }
                    };
                }
                () = self.drain.cancelled(), if !asked_to_leave => {
                    connection.as_mut().graceful_shutdown();
                    asked_to_leave = true;
                }
                () = sleep_until(look_at), if !asked_to_leave => {
                    match self.look(begun, &activity) {
                        Look::End(why) => {
                            debug!(why, "a connection was ended");
                            return false;
                        }
                        Look::At(next) => look_at = next,
                        Look::Leave => {
                            connection.as_mut().graceful_shutdown();
                            asked_to_leave = true;
                        }
                    }
                }
                // Calls may go on after a connection was asked to leave; without them it must go.
                () = sleep(GLANCE), if asked_to_leave => {
                    let farewell = if self.drain.is_cancelled() { GLANCE } else { FAREWELL };
                    if activity.idle() >= farewell || activity.untaken() >= self.rules.answer {
                        return false;
                    }
                }
            }
        }
    }

    /// What is to become of a connection, now.
    fn look(&self, begun: Instant, activity: &Activity) -> Look {
        if !activity.has_spoken() {
            return Look::End("it said nothing");
        }
        let untaken = self.rules.answer.saturating_sub(activity.untaken());
        if untaken.is_zero() {
            return Look::End("it did not take its answers");
        }
        let left = |most: Option<Duration>, so_far| most.map(|most| most.saturating_sub(so_far));
        let idle = left(self.rules.idle, activity.idle());
        let old = left(self.rules.age, begun.elapsed());
        match idle.into_iter().chain(old).min() {
            Some(Duration::ZERO) => Look::Leave,
            next => Look::At(Instant::now() + next.unwrap_or(untaken).min(untaken)),
        }
    }

    fn service(
        &self,
        info: TcpConnectInfo,
        activity: Arc<Activity>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Answer>,
        Error = Infallible,
        Future: Send + 'static,
    > + use<> {
        let router = TowerToHyperService::new(self.router.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let call = activity.begin();
            request.extensions_mut().insert(info.clone());
            let answer = router.call(request);
            async move { Ok(answer.await?.map(|body: Body| Answer::new(body, call))) }
        })
    }
}

/// What is to become of a connection.
enum Look {
    /// It is to end at once, for this reason.
    End(&'static str),
    /// Nothing before then.
    At(Instant),
    /// It was idle for too long, or is too old.
    Leave,
}
