//! Bodies of requests and answers that hold something, or end in time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};
use tonic::Status;

use crate::service::error::Error;

/// The body of an answer that holds something until it has ended: a call, a place.
pub struct Holding<G> {
    inner: Body,
    _held: G,
}

impl<G> Holding<G> {
    /// Holds `held` as long as there is the body.
    pub const fn new(inner: Body, held: G) -> Self {
        Self { inner, _held: held }
    }
}

impl<G: Unpin> HttpBody for Holding<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a request that must arrive whole in a time, and takes room for its bytes meanwhile. The time
/// begins when something has to be waited for.
pub struct Hurried {
    inner: Body,
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Hurried {
    /// The body must have ended after `patience`, and finds a permit in `room` for each of its bytes.
    pub const fn new(inner: Body, patience: Duration, room: Arc<Semaphore>) -> Self {
        Self { inner, patience, until: None, room, held: None }
    }

    /// Takes room for what has arrived.
    fn take(&mut self, bytes: usize) -> Result<(), axum::Error> {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = self.room.clone().try_acquire_many_owned(count) else {
            return Err(axum::Error::new(Status::from(Error::TooManyRequests)));
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            return Poll::Ready(match this.take(bytes) {
                Ok(()) => frame,
                Err(full) => Some(Err(full)),
            });
        }
        let end = Instant::now() + this.patience;
        let until = this.until.get_or_insert_with(|| Box::pin(sleep_until(end)));
        std::task::ready!(until.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new(Status::from(Error::BodyTooSlow)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a gRPC answer that ends at the deadline of its call, with the status that says so.
pub struct Deadlined {
    inner: Body,
    deadline: Pin<Box<Sleep>>,
    over: bool,
}

impl Deadlined {
    /// The answer ends at `deadline`.
    pub fn new(inner: Body, deadline: Instant) -> Self {
        Self { inner, deadline: Box::pin(sleep_until(deadline)), over: false }
    }
}

impl HttpBody for Deadlined {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if this.deadline.as_mut().poll(context).is_pending() {
            return Pin::new(&mut this.inner).poll_frame(context);
        }
        this.over = true;
        // What it holds is given back now, not when the client has read the end.
        this.inner = Body::empty();
        // The trailers of gRPC's HTTP/2 mapping, section "Responses".
        let mut trailers = hyper::HeaderMap::new();
        let told = Status::from(Error::DeadlineExceeded).add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| Frame::trailers(trailers)).map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }
}
