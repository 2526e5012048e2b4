//! The body of an answer, watched for its end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Code;

use super::{Call, End, Target};

const GRPC_STATUS: &str = "grpc-status";

/// The forms of gRPC-Web, in which the trailers are the last frame of the body (PROTOCOL-WEB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    Binary,
    Text,
}

impl Web {
    /// By the media type of an answer; `None` if it is none of them.
    pub fn of(content_type: &HeaderValue) -> Option<Self> {
        let form = content_type.as_bytes().strip_prefix(b"application/grpc-web")?;
        Some(if form.starts_with(b"-text") { Self::Text } else { Self::Binary })
    }

    /// The code, if these bytes are the frame of the trailers.
    fn status(self, bytes: &[u8]) -> Option<Code> {
        const TRAILERS: u8 = 0x80;
        let decoded;
        let frame = match self {
            Self::Binary => bytes,
            Self::Text => {
                decoded = STANDARD.decode(bytes).ok()?;
                &decoded
            }
        };
        // A flag and a length stand before.
        let (head, trailers) = frame.split_at_checked(5)?;
        if head[0] & TRAILERS == 0 {
            return None;
        }
        let trailers = std::str::from_utf8(trailers).ok()?;
        let mut values = trailers.lines().filter_map(|line| line.split_once(':'));
        let (_, code) = values.find(|(name, _)| name.eq_ignore_ascii_case(GRPC_STATUS))?;
        Some(Code::from_bytes(code.trim().as_bytes()))
    }
}

/// The code among headers or trailers.
pub fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get(GRPC_STATUS)?.as_bytes()))
}

/// A body, and the call that ends with it.
pub struct Observed {
    inner: Body,
    call: Option<Call>,
    web: Option<Web>,
}

impl Observed {
    pub fn new(inner: Body, call: Call, web: Option<Web>) -> Self {
        let mut observed = Self { inner, call: Some(call), web };
        // Who sends it need not ask for a frame.
        if observed.inner.is_end_stream() {
            observed.end(None);
        }
        observed
    }

    /// Tells that the call ended: with that code, or as its answer began.
    fn end(&mut self, code: Option<Code>) {
        let Some(call) = self.call.take() else { return };
        let end = match (&call.target, code) {
            (_, Some(code)) => End::Grpc(code),
            (Target::Rpc(_), None) => End::Grpc(Code::Unknown),
            (Target::Http(..), None) => End::Http,
        };
        call.end(end);
    }

    fn look(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, axum::Error>>>) {
        match polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                let of_trailers = frame.trailers_ref().and_then(grpc_status);
                let code = of_trailers.or_else(|| self.web?.status(frame.data_ref()?));
                if code.is_some() || (self.is_http() && self.inner.is_end_stream()) {
                    self.end(code);
                }
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(call) = self.call.take() {
                    call.current.scope_now(|| tracing::warn!(%error, "an answer broke off"));
                    call.end(End::Broken);
                }
            }
            Poll::Ready(None) => self.end(None),
        }
    }

    fn is_http(&self) -> bool {
        self.call.as_ref().is_some_and(|call| matches!(call.target, Target::Http(..)))
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = match &this.call {
            Some(call) => {
                let current = call.current.clone();
                current.scope_now(|| Pin::new(&mut this.inner).poll_frame(context))
            }
            None => Pin::new(&mut this.inner).poll_frame(context),
        };
        this.look(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_of_grpc_web_are_found_in_the_body() {
        let frame = b"\x80\0\0\0\x0fgrpc-status:5\r\n";
        assert_eq!(Web::Binary.status(frame), Some(Code::NotFound));
        assert_eq!(Web::Text.status(STANDARD.encode(frame).as_bytes()), Some(Code::NotFound));
        assert_eq!(Web::Binary.status(b"\0\0\0\0\x0fgrpc-status:5\r\n"), None);
        assert_eq!(Web::Binary.status(b"\x80"), None);
        let text = HeaderValue::from_static("application/grpc-web-text+proto");
        assert_eq!(Web::of(&text), Some(Web::Text));
        assert_eq!(Web::of(&HeaderValue::from_static("application/grpc")), None);
    }
}
