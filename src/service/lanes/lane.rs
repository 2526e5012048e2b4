//! One lane: takes what has queued, writes it, answers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    LaneError, Placed, Refused, TreeHead,
    queue::{Admitted, Decision, Place, Submission, Waiting},
    told::{Times, Told},
};
use crate::{
    domain::{clock::Clock, ids::OrganizationId},
    service::watch::Hub,
    store::{BatchTimes, LogWriter, PreparedEvent, Written},
    telemetry::{Link, Links, Telemetry},
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
    parts: Parts,
}

/// What a lane works with.
pub struct Parts {
    /// Its connection.
    pub writer: LogWriter,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long an idempotency key counts, in seconds.
    pub idempotency_window: i64,
    /// Whom to tell what was committed.
    pub hub: Hub,
    /// Who measures.
    pub telemetry: Telemetry,
}

/// Who waits for which of a batch's events.
struct Caller {
    events: usize,
    reply: oneshot::Sender<Told>,
    link: Link,
    /// Held until the caller is answered.
    _place: Place,
}

/// Events of several callers, in the order of the callers.
#[derive(Default)]
struct Batch {
    events: Vec<PreparedEvent>,
    callers: Vec<Caller>,
    /// What traces tell of it, if they are recorded.
    times: Option<Times>,
}

impl Lane {
    /// A lane that writes what comes through `waiting`.
    pub fn new(waiting: Waiting, parts: Parts) -> Self {
        Self { waiting, left_over: None, parts }
    }

    /// Works until `stop` and the queue is empty, or nobody can submit any more.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(first) = self.next(&stop).await {
            let batch = self.gather(first);
            self.write(batch).await;
        }
        self.parts.writer.close().await;
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
        self.parts.telemetry.metrics.taken(first.since.elapsed());
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
            let telemetry = &self.parts.telemetry;
            batch.times = telemetry.tracer.is_on().then(|| Times::begin(batch.events.len()));
            let began = Instant::now();
            let result = self.append(&mut batch.events).await;
            self.tell(&mut batch, &result, began.elapsed());
            match result {
                Ok(written) => {
                    self.parts.hub.committed(&mut batch.events, &written);
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

    /// Tells what became of a batch to who measures.
    fn tell(&self, batch: &mut Batch, result: &Result<Written, LaneError>, took: Duration) {
        let telemetry = &self.parts.telemetry;
        match result {
            Ok(written) => {
                let known = written.appended.iter().filter(|event| event.duplicate).count();
                telemetry.metrics.written(written.appended.len() - known, known, took);
            }
            Err(_) => telemetry.metrics.not_written(took),
        }
        if let Some(times) = &mut batch.times {
            times.end();
            let mut links = Links::default();
            batch.callers.iter().for_each(|caller| links.add(&caller.link));
            times.tell_batch(&telemetry.tracer, links, result.is_ok());
        }
    }

    async fn append(&mut self, events: &mut Vec<PreparedEvent>) -> Result<Written, LaneError> {
        let now = self.parts.clock.now();
        let keys_since = now.plus_seconds(-self.parts.idempotency_window);
        Ok(self.parts.writer.append(events, BatchTimes { now, keys_since }, PATIENCE).await?)
    }
}

impl Caller {
    /// A caller that is gone wants no answer; its events stay.
    fn answer(self, decision: Decision, times: Option<Times>) {
        let _ = self.reply.send(Told { decision, times });
    }
}

impl Batch {
    fn add(&mut self, admitted: Admitted) {
        let Admitted { submission, place, .. } = admitted;
        let Submission { events, reply, link } = submission;
        self.callers.push(Caller { events: events.len(), reply, link, _place: place });
        self.events.extend(events);
    }

    /// Takes the second half of the callers, and their events, out of the batch.
    fn split(&mut self) -> Self {
        let callers = self.callers.split_off(self.callers.len() / 2);
        let first: usize = self.callers.iter().map(|caller| caller.events).sum();
        let first = first.min(self.events.len());
        Self { events: self.events.split_off(first), callers, times: None }
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
            caller.answer(Ok(placed), self.times);
        }
    }

    fn fail(self, error: &LaneError) {
        let mut events = self.events.into_iter();
        for caller in self.callers {
            let events = events.by_ref().take(caller.events).collect();
            caller.answer(Err(Refused { error: error.clone(), events }), self.times);
        }
    }
}
