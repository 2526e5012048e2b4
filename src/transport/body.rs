//! Bodies of requests and answers that hold something, or end in time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
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

/// The body of a request that must arrive whole in a time. The time begins when something has to be waited
/// for.
pub struct Hurried {
    inner: Body,
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl Hurried {
    /// The body must have ended after `patience`.
    pub const fn new(inner: Body, patience: Duration) -> Self {
        Self { inner, patience, until: None }
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
            return Poll::Ready(frame);
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
