//! One lane: takes what has queued, writes it, answers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    LaneError, Placed, Refused, TreeHead,
    queue::{Admitted, Place, Submission, Waiting},
};
use crate::{
    domain::{clock::Clock, ids::OrganizationId},
    service::watch::Hub,
    store::{BatchTimes, LogWriter, PreparedEvent, Written},
};

/// Most events in one transaction, unless a single submission has more.
const BATCH_EVENTS: usize = 2_048;
/// Most bytes in one transaction, likewise.
const BATCH_BYTES: usize = 8 * 1_024 * 1_024;
/// For how long a batch is tried again after the connection was lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lane.
pub struct Lane {
    waiting: Waiting,
    /// Taken from the queue, but too much for the batch.
    left_over: Option<Admitted>,
    writer: LogWriter,
    clock: Arc<dyn Clock>,
    idempotency_window: i64,
    hub: Hub,
}

/// Who waits for which of a batch's events.
struct Caller {
    events: usize,
    reply: oneshot::Sender<Result<Vec<Placed>, Refused>>,
    /// Held until the caller is answered.
    _place: Place,
}

/// Events of several callers, in the order of the callers.
#[derive(Default)]
struct Batch {
    events: Vec<PreparedEvent>,
    callers: Vec<Caller>,
}

impl Lane {
    /// A lane that writes what comes through `waiting`.
    pub fn new(
        waiting: Waiting,
        writer: LogWriter,
        clock: Arc<dyn Clock>,
        idempotency_window: i64,
        hub: Hub,
    ) -> Self {
        Self { waiting, left_over: None, writer, clock, idempotency_window, hub }
    }

    /// Works until `stop` and the queue is empty, or nobody can submit any more.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(first) = self.next(&stop).await {
            let batch = self.gather(first);
            self.write(batch).await;
        }
        self.writer.close().await;
    }

    async fn next(&mut self, stop: &CancellationToken) -> Option<Admitted> {
        if let Some(admitted) = self.left_over.take() {
            return Some(admitted);
        }
        tokio::select! {
            biased;
            admitted = self.waiting.recv() => admitted,
            () = stop.cancelled() => {
                // What is in the queue already still comes.
                self.waiting.close();
                self.waiting.recv().await
            }
        }
    }

    /// Takes what has queued, up to the most that a batch may have.
    fn gather(&mut self, first: Admitted) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = first.bytes;
        batch.add(first);
        while let Ok(admitted) = self.waiting.try_recv() {
            let events = batch.events.len() + admitted.submission.events.len();
            bytes += admitted.bytes;
            if events > BATCH_EVENTS || bytes > BATCH_BYTES {
                self.left_over = Some(admitted);
                break;
            }
            batch.add(admitted);
        }
        batch
    }

    /// Writes a batch and answers its callers. If something in it cannot be stored, the batch is
    /// halved until only the caller to blame gets the error.
    async fn write(&mut self, batch: Batch) {
        let mut open = vec![batch];
        while let Some(mut batch) = open.pop() {
            match self.append(&mut batch.events).await {
                Ok(written) => {
                    self.hub.committed(&mut batch.events, &written);
                    batch.answer(written);
                }
                Err(error) if batch.callers.len() > 1 && error.is_about_content() => {
                    let second = batch.split();
                    open.push(second);
                    open.push(batch);
                }
                Err(error) => batch.fail(&error),
            }
        }
    }

    async fn append(&mut self, events: &mut Vec<PreparedEvent>) -> Result<Written, LaneError> {
        let now = self.clock.now();
        let times = BatchTimes { now, keys_since: now.plus_seconds(-self.idempotency_window) };
        Ok(self.writer.append(events, times, PATIENCE).await?)
    }
}

impl Batch {
    fn add(&mut self, admitted: Admitted) {
        let Admitted { submission, place, .. } = admitted;
        let Submission { events, reply } = submission;
        self.callers.push(Caller { events: events.len(), reply, _place: place });
        self.events.extend(events);
    }

    /// Takes the second half of the callers, and their events, out of the batch.
    fn split(&mut self) -> Self {
        let callers = self.callers.split_off(self.callers.len() / 2);
        let first: usize = self.callers.iter().map(|caller| caller.events).sum();
        let first = first.min(self.events.len());
        Self { events: self.events.split_off(first), callers }
    }

    fn answer(self, written: Written) {
        let trees: HashMap<OrganizationId, Arc<TreeHead>> = written
            .trees
            .into_iter()
            .map(|(id, growth)| (id.clone(), Arc::new(TreeHead::new(id, growth))))
            .collect();
        let mut answers = self.events.iter().zip(written.appended).map(|(event, appended)| {
            let tree = trees.get(&event.organization_id).filter(|tree| {
                // An event that was there before is not among those that the batch added.
                appended.sequence >= tree.growth().before().size()
            });
            Placed { tree: tree.cloned(), appended }
        });
        for caller in self.callers {
            let placed = answers.by_ref().take(caller.events).collect();
            // A caller that is gone wants no answer; its events stay.
            let _ = caller.reply.send(Ok(placed));
        }
    }

    fn fail(self, error: &LaneError) {
        let mut events = self.events.into_iter();
        for caller in self.callers {
            let events = events.by_ref().take(caller.events).collect();
            let _ = caller.reply.send(Err(Refused { error: error.clone(), events }));
        }
    }
}
