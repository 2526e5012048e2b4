//! The bounded queue of a lane.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};

use super::{LaneError, Placed, Refused, told::Told};
use crate::{
    store::PreparedEvent,
    telemetry::{LaneDepth, Link},
};

/// Events to be written in one transaction, and who waits for them.
pub struct Submission {
    /// The events; at least one.
    pub events: Vec<PreparedEvent>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Told>,
    /// The trace of who waits.
    pub link: Link,
}

/// What becomes of a submission.
pub type Decision = Result<Vec<Placed>, Refused>;

/// A submission with its place in the bounds of the queue.
pub struct Admitted {
    /// What was submitted.
    pub submission: Submission,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its place.
    pub place: Place,
    /// When it came.
    pub since: Instant,
}

/// A place in the bounds of a queue, until it is dropped.
pub struct Place {
    _in_queue: Held,
    /// Of those who waited for room.
    _among_patient: Option<Held>,
}

/// The end of a queue where submissions go in.
pub struct Queue {
    sender: mpsc::UnboundedSender<Admitted>,
    bounds: Bounds,
    /// What those may have at most who wait for room, or waited for it. As long as this is less than the
    /// whole, they cannot shut out those who do not wait.
    patient: Bounds,
}

/// So many events and bytes.
struct Bounds {
    events: Bound,
    kibibytes: Bound,
}

struct Bound {
    free: Arc<Semaphore>,
    most: usize,
}

/// A part of bounds, until it is dropped.
struct Held {
    _events: OwnedSemaphorePermit,
    _kibibytes: OwnedSemaphorePermit,
}

/// The end of a queue from which its lane takes.
pub type Waiting = mpsc::UnboundedReceiver<Admitted>;

/// Memory that an event takes beside its canonical form: the same facts as a structure.
const OVERHEAD_FACTOR: usize = 2;
const KIBIBYTE: usize = 1_024;

/// Makes a queue for at most so many events and bytes, those being written included.
pub fn queue(most_events: usize, most_bytes: usize) -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bounds = Bounds::new(most_events, most_bytes);
    let patient = Bounds::new(most_events / 2, most_bytes / 2);
    (Queue { sender, bounds, patient }, receiver)
}

impl Queue {
    /// Puts a submission in the queue, or says at once that it is full.
    pub fn push(&self, submission: Submission) -> Result<(), Refused> {
        let bytes = bytes_of(&submission);
        let Some(held) = self.bounds.try_take(submission.events.len(), bytes.div_ceil(KIBIBYTE))
        else {
            return Err(refused(LaneError::Full, submission));
        };
        self.admit(submission, bytes, Place { _in_queue: held, _among_patient: None })
    }

    /// Puts a submission in the queue when there is room, in the order of the calls. One that exceeds
    /// what is set aside for those who wait goes in when none of the others is there.
    pub async fn push_in_turn(&self, submission: Submission) -> Result<(), Refused> {
        let bytes = bytes_of(&submission);
        let events = submission.events.len().min(self.patient.events.most);
        let kibibytes = bytes.div_ceil(KIBIBYTE).min(self.patient.kibibytes.most);
        let among_patient = self.patient.take(events, kibibytes).await;
        let in_queue = self.bounds.take(events, kibibytes).await;
        let Some((patient, held)) = among_patient.zip(in_queue) else {
            return Err(refused(LaneError::Stopping, submission));
        };
        self.admit(submission, bytes, Place { _in_queue: held, _among_patient: Some(patient) })
    }

    /// How full it is.
    pub fn depth(&self) -> LaneDepth {
        let Bounds { events, kibibytes } = &self.bounds;
        let bytes = |kibibytes: usize| (kibibytes * KIBIBYTE) as u64;
        LaneDepth {
            events: events.taken() as u64,
            bytes: bytes(kibibytes.taken()),
            most_events: events.most as u64,
            most_bytes: bytes(kibibytes.most),
        }
    }

    fn admit(&self, submission: Submission, bytes: usize, place: Place) -> Result<(), Refused> {
        let since = Instant::now();
        let sent = self.sender.send(Admitted { submission, bytes, place, since });
        sent.map_err(|unsent| refused(LaneError::Stopping, unsent.0.submission))
    }
}

fn bytes_of(submission: &Submission) -> usize {
    let payloads: usize = submission.events.iter().map(|event| event.payload.len()).sum();
    payloads * OVERHEAD_FACTOR
}

fn refused(error: LaneError, submission: Submission) -> Refused {
    Refused { error, events: submission.events }
}

impl Bounds {
    fn new(events: usize, bytes: usize) -> Self {
        Self { events: Bound::new(events), kibibytes: Bound::new(bytes / KIBIBYTE) }
    }

    fn try_take(&self, events: usize, kibibytes: usize) -> Option<Held> {
        Some(Held {
            _events: self.events.try_take(events)?,
            _kibibytes: self.kibibytes.try_take(kibibytes)?,
        })
    }

    async fn take(&self, events: usize, kibibytes: usize) -> Option<Held> {
        Some(Held {
            _events: self.events.take(events).await?,
            _kibibytes: self.kibibytes.take(kibibytes).await?,
        })
    }
}

impl Bound {
    fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    fn taken(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    fn try_take(&self, amount: usize) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(u32::try_from(amount).ok()?).ok()
    }

    async fn take(&self, amount: usize) -> Option<OwnedSemaphorePermit> {
        self.free.clone().acquire_many_owned(u32::try_from(amount).ok()?).await.ok()
    }
}
