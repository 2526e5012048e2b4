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

/// Bytes of a request that take no room.
const FREE: usize = 1_024;
/// Frames of an answer that take no room: as many bytes as whoever has a call costs anyway.
const SMALL: usize = 16 * 1_024;

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

/// The body of a request that must arrive whole in a time, and takes room for its bytes meanwhile, but for the
/// first: what asks little is answered while there is no room. The time begins when something has to be
/// waited for.
pub struct Hurried {
    inner: Body,
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    free: usize,
}

impl Hurried {
    /// The body must have ended after `patience`, and finds a permit in `room` for each of its bytes after
    /// the first kilobyte.
    pub const fn new(inner: Body, patience: Duration, room: Arc<Semaphore>) -> Self {
        Self { inner, patience, until: None, room, held: None, free: FREE }
    }

    /// Takes room for what has arrived.
    fn take(&mut self, bytes: usize) -> Result<(), axum::Error> {
        let charged = bytes.saturating_sub(self.free);
        self.free -= bytes - charged;
        if charged == 0 {
            return Ok(());
        }
        let count = u32::try_from(charged).unwrap_or(u32::MAX);
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

/// How the end of an answer tells that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By its trailers.
    Grpc,
    /// By being cut off.
    Http,
}

/// Bytes, and what is held as long as anybody has them.
///
/// An HTTP/2 stack takes a frame over as soon as its stream has room for one byte, and keeps the rest: only the
/// end of the bytes themselves says that they are sent.
struct Kept<G> {
    bytes: Bytes,
    _held: G,
}

impl<G> AsRef<[u8]> for Kept<G> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same bytes, which hold `held` until they are sent or given up.
pub fn keep<G: Send + 'static>(bytes: Bytes, held: G) -> Bytes {
    Bytes::from_owner(Kept { bytes, _held: held })
}

/// The body of an answer whose bytes take room until they are sent. Without room it ends.
pub struct Weighed {
    inner: Body,
    form: Form,
    room: Arc<Semaphore>,
    over: bool,
}

impl Weighed {
    /// The body finds a permit in `room` for each byte of a frame that is not small.
    pub const fn new(inner: Body, form: Form, room: Arc<Semaphore>) -> Self {
        Self { inner, form, room, over: false }
    }

    /// The frame with its room, if there is any.
    fn weigh(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes <= SMALL {
            return Some(frame);
        }
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let held = self.room.clone().try_acquire_many_owned(count).ok()?;
        Some(frame.map_data(|bytes| keep(bytes, held)))
    }
}

impl HttpBody for Weighed {
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
        let frame = match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            Some(Ok(frame)) => this.weigh(frame),
            rest => return Poll::Ready(rest),
        };
        if let Some(frame) = frame {
            return Poll::Ready(Some(Ok(frame)));
        }
        this.over = true;
        this.inner = Body::empty();
        Poll::Ready(Some(match this.form {
            Form::Grpc => trailers(Error::TooManyRequests),
            Form::Http => Err(axum::Error::new(Error::TooManyRequests)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The trailers of a gRPC answer that failed (gRPC over HTTP/2, section "Responses").
fn trailers(error: Error) -> Result<Frame<Bytes>, axum::Error> {
    let mut trailers = hyper::HeaderMap::new();
    let told = Status::from(error).add_header(&mut trailers);
    told.map(|()| Frame::trailers(trailers)).map_err(axum::Error::new)
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
        Poll::Ready(Some(trailers(Error::DeadlineExceeded)))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    /// Two frames that need room and one that does not.
    fn weighed(form: Form, room: &Arc<Semaphore>) -> Weighed {
        let frames = [SMALL + 1, SMALL, SMALL + 1].map(|size| Ok::<_, Error>(vec![7_u8; size]));
        Weighed::new(Body::from_stream(stream::iter(frames).boxed()), form, room.clone())
    }

    #[tokio::test]
    async fn what_was_sent_makes_room() {
        let room = Arc::new(Semaphore::new(2 * (SMALL + 1)));
        let mut body = weighed(Form::Grpc, &room);
        let (mut frames, mut left) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            frames.push(frame.unwrap().into_data().unwrap());
            left.push(room.available_permits());
        }
        assert_eq!(left, [SMALL + 1, SMALL + 1, 0]);
        // Whoever sends them has them still, or what is left of one.
        drop(body);
        let rest = frames[0].split_off(SMALL);
        frames.truncate(1);
        assert_eq!(room.available_permits(), SMALL + 1);
        drop(frames);
        assert_eq!((rest.as_ref(), room.available_permits()), (&[7][..], SMALL + 1));
        drop(rest);
        assert_eq!(room.available_permits(), 2 * (SMALL + 1));
    }

    #[tokio::test]
    async fn without_room_an_answer_ends_and_says_so() {
        let room = Arc::new(Semaphore::new(SMALL + 1));
        let mut first = weighed(Form::Grpc, &room);
        let _sending = first.frame().await.unwrap().unwrap().into_data().unwrap();
        let mut second = weighed(Form::Grpc, &room);
        let told = second.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(told["grpc-status"], "8");
        assert!(second.frame().await.is_none());
        let mut cut = weighed(Form::Http, &room);
        assert!(cut.frame().await.unwrap().is_err());
        assert!(cut.frame().now_or_never().unwrap().is_none());
    }
}
