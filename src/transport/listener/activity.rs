//! What a connection is doing: its calls, and what it sends beside them.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// The bytes of a connection, counted.
pub struct Counted<T> {
    inner: T,
    activity: Arc<Activity>,
}

impl<T> Counted<T> {
    /// Counts what `inner` receives.
    pub const fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.activity.received(bytes as u64)?;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
