//! The bounded queue of a lane.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{LaneError, Placed, Refused};
use crate::store::PreparedEvent;

/// Events to be written in one transaction, and who waits for them.
pub struct Submission {
    /// The events; at least one.
    pub events: Vec<PreparedEvent>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Vec<Placed>, Refused>>,
}

/// A submission with its place in the bounds of the queue.
pub struct Admitted {
    /// What was submitted.
    pub submission: Submission,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its place.
    pub place: Place,
}

/// A place in the bounds of a queue, until it is dropped.
pub struct Place {
    _events: OwnedSemaphorePermit,
    _kibibytes: OwnedSemaphorePermit,
}

/// The end of a queue where submissions go in.
pub struct Queue {
    sender: mpsc::UnboundedSender<Admitted>,
    events: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
}

/// The end of a queue from which its lane takes.
pub type Waiting = mpsc::UnboundedReceiver<Admitted>;

/// Memory that an event takes beside its canonical form: the same facts as a structure.
const OVERHEAD_FACTOR: usize = 2;
const KIBIBYTE: usize = 1_024;

/// Makes a queue for at most so many events and bytes, those being written included.
pub fn queue(most_events: usize, most_bytes: usize) -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bounded = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let (events, kibibytes) = (bounded(most_events), bounded(most_bytes / KIBIBYTE));
    (Queue { sender, events, kibibytes }, receiver)
}

impl Queue {
    /// Puts a submission in the queue, or says at once that it is full.
    pub fn push(&self, submission: Submission) -> Result<(), Refused> {
        let refused = |error, submission: Submission| Refused { error, events: submission.events };
        let payloads: usize = submission.events.iter().map(|event| event.payload.len()).sum();
        let bytes = payloads * OVERHEAD_FACTOR;
        let Some(place) = self.place(submission.events.len(), bytes) else {
            return Err(refused(LaneError::Full, submission));
        };
        let sent = self.sender.send(Admitted { submission, bytes, place });
        sent.map_err(|unsent| refused(LaneError::Stopping, unsent.0.submission))
    }

    fn place(&self, events: usize, bytes: usize) -> Option<Place> {
        let take = |bound: &Arc<Semaphore>, amount: usize| {
            bound.clone().try_acquire_many_owned(u32::try_from(amount).ok()?).ok()
        };
        Some(Place {
            _events: take(&self.events, events)?,
            _kibibytes: take(&self.kibibytes, bytes.div_ceil(KIBIBYTE))?,
        })
    }
}
