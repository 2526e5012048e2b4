//! What a connection is doing: its calls, what it sends beside them, and what it does not take.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::body::keep;

/// Most bytes that a connection may send while it has no call: more than what a client that was refused
/// can have on its way, which is the window of the connection. Who sends more floods it, with SETTINGS, PING
/// or DATA.
pub const BESIDE_CALLS: u64 = super::connection::CONNECTION_WINDOW as u64 + 1_024 * 1_024;
/// Bytes of the HTTP/2 connection preface (RFC 9113, section 3.4). Who sent as many has said what it
/// speaks.
const PREFACE: u64 = 24;

/// Shared by the parts of one connection.
#[derive(Debug)]
pub struct Activity {
    calls: AtomicUsize,
    had_calls: AtomicUsize,
    received: AtomicU64,
    beside_calls: AtomicU64,
    idle_since: Mutex<Instant>,
    handed_over: AtomicU64,
    /// What of answers waits for the client, by number, and since when.
    waiting: Mutex<HashMap<u64, Instant>>,
}

impl Activity {
    /// A connection that has done nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            had_calls: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            beside_calls: AtomicU64::new(0),
            idle_since: Mutex::new(Instant::now()),
            handed_over: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }

    /// Counts a call until its answer ends.
    pub fn begin(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.had_calls.fetch_add(1, Ordering::Relaxed);
        self.beside_calls.store(0, Ordering::Relaxed);
        Call(self.clone())
    }

    /// Whether the other side has made a call, or said at least that it speaks HTTP/2.
    pub fn has_spoken(&self) -> bool {
        self.had_calls.load(Ordering::Relaxed) > 0
            || self.received.load(Ordering::Relaxed) >= PREFACE
    }

    /// For how long there has been no call.
    pub fn idle(&self) -> Duration {
        if self.calls.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Notes that bytes wait for the client from now on.
    fn hand_over(self: &Arc<Self>) -> Waiting {
        let number = self.handed_over.fetch_add(1, Ordering::Relaxed);
        self.waiting().insert(number, Instant::now());
        Waiting { activity: self.clone(), number }
    }

    /// For how long the client has not taken what an answer has for it: of what waits longest.
    pub fn untaken(&self) -> Duration {
        let longest = self.waiting().values().min().map(Instant::elapsed);
        longest.unwrap_or_default()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was received; an error if that is a flood.
    fn received(&self, bytes: u64) -> io::Result<()> {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        if self.calls.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let beside = self.beside_calls.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if beside > BESIDE_CALLS { Err(io::Error::other("too much beside calls")) } else { Ok(()) }
    }
}

/// A call that runs.
#[derive(Debug)]
pub struct Call(Arc<Activity>);

impl Drop for Call {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// Bytes that wait for the client.
struct Waiting {
    activity: Arc<Activity>,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.activity.waiting().remove(&self.number);
    }
}

/// The body of an answer, whose call runs until it has ended.
pub struct Answer {
    inner: Body,
    call: Call,
}

impl Answer {
    /// The answer of `call`.
    pub const fn new(inner: Body, call: Call) -> Self {
        Self { inner, call }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let activity = &self.call.0;
        polled.map_ok(|frame| frame.map_data(|bytes| keep(bytes, activity.hand_over())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection, which is still there when who speaks over it has ended.
#[derive(Debug)]
pub struct Wire<T>(Arc<Mutex<T>>);

impl<T> Wire<T> {
    /// Over `inner`.
    pub fn new(inner: T) -> Self {
        Self(Arc::new(Mutex::new(inner)))
    }

    /// For who speaks over it.
    pub fn counted(&self, activity: Arc<Activity>) -> Counted<T> {
        Counted { inner: self.0.clone(), activity }
    }

    /// What it is over, once nobody speaks over it any more.
    pub fn into_inner(self) -> Option<T> {
        Arc::into_inner(self.0)?.into_inner().ok()
    }
}

/// The bytes of a connection, counted.
pub struct Counted<T> {
    inner: Arc<Mutex<T>>,
    activity: Arc<Activity>,
}

impl<T: Unpin> Counted<T> {
    /// Nobody else has it while there is this.
    fn with<R>(&self, work: impl FnOnce(Pin<&mut T>) -> R) -> R {
        work(Pin::new(&mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.with(|inner| inner.poll_read(context, buffer));
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.activity.received(bytes as u64)?;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|inner| inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|inner| inner.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.with(|inner| inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|inner| inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|inner| inner.poll_shutdown(context))
    }
}
