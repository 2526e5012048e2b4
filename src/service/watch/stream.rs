//! What a watcher is sent, and how its stream ends.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::{
    OwnedSemaphorePermit,
    mpsc::{self, error::SendError},
    oneshot,
};

use super::{hub::lock, recent::Recent};
use crate::{domain::timestamp::Timestamp, service::error::Error};

/// One message of the stream.
#[derive(Debug)]
pub struct WatchFrame {
    /// What it tells.
    pub content: WatchContent,
    /// Where to resume after it.
    pub next_sequence: u64,
    /// What it takes of the room for history, until it is handed to the transport.
    #[expect(dead_code, reason = "it is held, and given back when it is dropped")]
    pub(super) room: Option<Room>,
}

/// What a frame of history takes of the room of its key, and of that for all.
pub(super) type Room = [OwnedSemaphorePermit; 2];

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

/// Frames that wait for the client, each with where to resume if it is never told.
type Waiting = Arc<Mutex<VecDeque<(u64, WatchFrame)>>>;

/// A channel for the frames of one watcher, of which so many may wait. What waits can be taken back.
pub(super) fn channel(
    waiting: usize,
    end: oneshot::Receiver<WatchEnd>,
) -> (WatchSender, WatchStream) {
    let (tokens, received) = mpsc::channel(waiting);
    let frames = Waiting::default();
    let sender = WatchSender { tokens, frames: frames.clone() };
    (sender, WatchStream { tokens: received, frames, end: Some(end) })
}

/// The watcher's end of the channel. Each token stands for a frame.
pub struct WatchSender {
    tokens: mpsc::Sender<()>,
    frames: Waiting,
}

impl WatchSender {
    /// Waits until a frame can be sent at once. Fails if the client is gone.
    pub async fn ready(&self) -> Result<mpsc::Permit<'_, ()>, SendError<()>> {
        self.tokens.reserve().await
    }

    /// Sends a frame when there is room. Who does not get it resumes at `before`. Fails if the client is
    /// gone.
    pub async fn send(&self, before: u64, frame: WatchFrame) -> Result<(), SendError<()>> {
        let permit = self.ready().await?;
        lock(&self.frames).push_back((before, frame));
        permit.send(());
        Ok(())
    }

    /// Drops the frames that wait. Returns where to resume then, if there were any.
    pub fn take_back(&self) -> Option<u64> {
        let frames = std::mem::take(&mut *lock(&self.frames));
        frames.front().map(|(before, _)| *before)
    }

    /// Whether the client is gone.
    pub fn is_closed(&self) -> bool {
        self.tokens.is_closed()
    }

    /// Returns when the client is gone.
    pub async fn closed(&self) {
        self.tokens.closed().await;
    }
}

/// The frames of one watcher, and its end.
pub struct WatchStream {
    tokens: mpsc::Receiver<()>,
    frames: Waiting,
    /// Absent once it was told.
    end: Option<oneshot::Receiver<WatchEnd>>,
}

impl Stream for WatchStream {
    type Item = Result<WatchFrame, WatchEnd>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while std::task::ready!(self.tokens.poll_recv(context)).is_some() {
            // A frame that was taken back leaves its token.
            let frame = lock(&self.frames).pop_front();
            if let Some((_, frame)) = frame {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        // The frames that were sent come first, then the reason, which was there before they ended.
        let end = self.end.take().and_then(|mut end| end.try_recv().ok());
        Poll::Ready(end.map(Err))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn what_waits_can_be_taken_back() {
        let frame = |next_sequence| WatchFrame {
            content: WatchContent::Events(Vec::new()),
            next_sequence,
            room: None,
        };
        let (tell_end, end) = oneshot::channel();
        let (sender, mut stream) = channel(1, end);
        sender.send(0, frame(5)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().next_sequence, 5);
        assert_eq!(sender.take_back(), None);
        sender.send(5, frame(9)).await.unwrap();
        assert!(sender.ready().now_or_never().is_none());
        assert_eq!(sender.take_back(), Some(5));
        let end = WatchEnd { error: Error::KeyRefused, next_sequence: 5 };
        tell_end.send(end).unwrap();
        drop(sender);
        assert_eq!(stream.next().await.unwrap().unwrap_err().next_sequence, 5);
        assert!(stream.next().await.is_none());
    }
}
