//! Records that nobody waits for: of reads above all, which would otherwise take as long as a write.
//!
//! They are written in batches, the next one while the one before is committed, so that a commit serves
//! many. An orderly shutdown writes all of them; a crash loses those of the last milliseconds. When more
//! comes than can be written, readers wait for room, which slows them down to what can be recorded; only
//! when nothing is written for [`PATIENCE`] they are let go, and an error in the service's own log says so.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Recorder, SystemEvent, failed};
use crate::domain::timestamp::Timestamp;

/// Records that may wait; some kilobytes each at most.
const PLACES: usize = 4_096;
/// Most records of a batch: as many as of any batch of a caller.
const BATCH: usize = 1_000;
/// How long a reader waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// An event that is still to be recorded.
#[derive(Debug)]
pub struct Noted {
    pub event: SystemEvent,
    /// When it happened.
    pub at: Timestamp,
}

/// Where records wait. Cheap to clone.
#[derive(Clone)]
pub struct Queue(mpsc::Sender<Noted>);

/// The other end of it.
pub struct Waiting(mpsc::Receiver<Noted>);

/// An empty queue.
pub fn queue() -> (Queue, Waiting) {
    let (queue, waiting) = mpsc::channel(PLACES);
    (Queue(queue), Waiting(waiting))
}

impl Queue {
    /// Puts a record in the queue, when there is room.
    pub async fn push(&self, noted: Noted) {
        let action = noted.event.action();
        let pushed = tokio::time::timeout(PATIENCE, self.0.send(noted)).await;
        match pushed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed(action, "the service is shutting down"),
            Err(_) => failed(action, "too many records wait to be written"),
        }
    }
}

impl Waiting {
    /// Writes what comes, until `stop`, and then what is there.
    pub async fn write(mut self, recorder: Recorder, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.0.is_closed() => {
                    self.0.close();
                    continue;
                }
                count = self.0.recv_many(&mut batch, BATCH) => count,
            };
            if count == 0 {
                return;
            }
            recorder.write(std::mem::take(&mut batch)).await;
        }
    }
}
