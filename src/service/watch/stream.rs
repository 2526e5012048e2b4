//! What a watcher is sent, and how its stream ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::{mpsc, oneshot};

use super::recent::Recent;
use crate::{domain::timestamp::Timestamp, service::error::Error};

/// One message of the stream.
#[derive(Debug)]
pub struct WatchFrame {
    /// What it tells.
    pub content: WatchContent,
    /// Where to resume after it.
    pub next_sequence: u64,
}

/// What a frame tells.
#[derive(Debug)]
pub enum WatchContent {
    /// Events, at least one.
    Events(Vec<Arc<Recent>>),
    /// That the stream lives.
    Heartbeat {
        /// Size of the log, as far as this replica knows.
        tree_size: u64,
        /// Now.
        sent_at: Timestamp,
    },
}

/// Why a stream ended.
#[derive(Debug)]
pub struct WatchEnd {
    /// The reason.
    pub error: Error,
    /// Where to resume.
    pub next_sequence: u64,
}

/// The frames of one watcher, and its end.
pub struct WatchStream {
    frames: mpsc::Receiver<WatchFrame>,
    /// Absent once it was told.
    end: Option<oneshot::Receiver<WatchEnd>>,
}

impl WatchStream {
    pub(super) const fn new(
        frames: mpsc::Receiver<WatchFrame>,
        end: oneshot::Receiver<WatchEnd>,
    ) -> Self {
        Self { frames, end: Some(end) }
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchFrame, WatchEnd>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(frame) = std::task::ready!(self.frames.poll_recv(context)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        // The frames that were sent come first, then the reason, which was there before they ended.
        let end = self.end.take().and_then(|mut end| end.try_recv().ok());
        Poll::Ready(end.map(Err))
    }
}
