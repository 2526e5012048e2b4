//! Group commit: events of many calls are written in common batches, by lanes.
//!
//! A lane is a task with a connection of its own, a queue, and the organizations whose ids hash to it.
//! It takes what has queued while it wrote the batch before, so the cost of a commit is shared by all
//! who wait, and a single caller waits for nothing but its own commit. Lanes do not wait for each
//! other's logs; the row locks of the store keep several replicas correct.

mod lane;
mod queue;
mod told;
mod tree_head;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};

use futures::future::join_all;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::tree_head::TreeHead;
use self::{
    lane::{Lane, Parts},
    queue::{Decision, Queue, Submission},
    told::Told,
};
use crate::{
    domain::{clock::Clock, ids::OrganizationId},
    service::watch::Hub,
    store::{Appended, PreparedEvent, Store, StoreError},
    telemetry::{self, Link, Parent, Telemetry, weakly},
};

/// How many lanes there are, and how much may wait in each.
#[derive(Debug, Clone, Copy)]
pub struct LaneRules {
    /// Lanes. SQLite has one writer at a time, so it gets one lane whatever this says.
    pub lanes: usize,
    /// Most events that wait in a lane or are being written.
    pub queue_events: usize,
    /// Most bytes of such events.
    pub queue_bytes: usize,
    /// How long an idempotency key counts, in seconds.
    pub idempotency_window: i64,
}

/// An event that is durable, and the tree that it is in.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Where it is.
    pub appended: Appended,
    /// The tree after the batch that stored it; `None` if it was stored before.
    pub tree: Option<Arc<TreeHead>>,
}

/// Why events were not written.
#[derive(Debug, Clone, Error)]
pub enum LaneError {
    /// Too much waits already.
    #[error("too many events wait to be written")]
    Full,
    /// The lanes take nothing new.
    #[error("the service is shutting down")]
    Stopping,
    /// The database did not take them.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LaneError {
    /// Whether the failure is about the events themselves: others, or fewer of them, could be stored.
    pub(super) const fn is_about_content(&self) -> bool {
        match self {
            Self::Store(error) => {
                !matches!(error, StoreError::Unavailable(_) | StoreError::Conflict(_))
            }
            Self::Full | Self::Stopping => false,
        }
    }
}

/// Events that were not written, and why.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: LaneError,
    /// The events.
    pub events: Vec<PreparedEvent>,
}

/// Events that are in a queue, or could not be put there.
#[derive(Debug)]
pub struct Undecided {
    count: usize,
    answer: Result<Answer, Refused>,
    since: SystemTime,
}

type Answer = oneshot::Receiver<Told>;

/// The lanes. Cheap to clone.
#[derive(Clone)]
pub struct Lanes {
    queues: Arc<[Queue]>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lanes {
    /// Starts the lanes; each connects when it has something to write. They end after
    /// [`Lanes::drain`], or when nobody can submit any more. What they commit they tell `hub`.
    pub fn start(
        store: &Store,
        clock: &Arc<dyn Clock>,
        rules: LaneRules,
        hub: &Hub,
        telemetry: &Telemetry,
    ) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let count = if store.has_one_writer() { 1 } else { rules.lanes.max(1) };
        let queues = (0..count).map(|_| {
            let (queue, waiting) = queue::queue(rules.queue_events, rules.queue_bytes);
            let parts = Parts {
                writer: store.log_writer(),
                clock: clock.clone(),
                idempotency_window: rules.idempotency_window,
                hub: hub.clone(),
                telemetry: telemetry.clone(),
            };
            tasks.spawn(Lane::new(waiting, parts).run(stop.clone()));
            queue
        });
        let queues: Arc<[Queue]> = queues.collect();
        let depths = |queues: &[Queue]| queues.iter().map(Queue::depth).collect::<Vec<_>>();
        telemetry.metrics.observe_lanes(weakly(&queues, depths));
        tasks.close();
        Self { queues, stop, tasks }
    }

    /// Writes events in one transaction: all of them or none, in the order given. Answers when they
    /// are durable. Fails at once with [`LaneError::Full`] if too much waits already. Once submitted,
    /// they are written whether or not the caller still waits.
    pub async fn submit(&self, events: Vec<PreparedEvent>) -> Result<Vec<Placed>, Refused> {
        let Some(first) = events.first() else { return Ok(Vec::new()) };
        let queue = &self.queues[self.lane_of(&first.organization_id)];
        let (reply, answer) = oneshot::channel();
        let since = telemetry::now();
        queue.push(Submission { events, reply, link: link() })?;
        answered(answer, since).await
    }

    /// Puts events of one lane in its queue, and waits for room there, in turn with others who wait.
    /// They may fill half of a queue, so that who cannot wait finds room too. [`Lanes::decided`] tells
    /// what becomes of the events.
    pub async fn enqueue(&self, events: Vec<PreparedEvent>) -> Undecided {
        let count = events.len();
        let lane = events.first().map_or(0, |first| self.lane_of(&first.organization_id));
        let (reply, answer) = oneshot::channel();
        let since = telemetry::now();
        let submission = Submission { events, reply, link: link() };
        let pushed = self.queues[lane].push_in_turn(submission).await;
        Undecided { count, answer: pushed.map(|()| answer), since }
    }

    /// What became of events in a queue: each succeeded or failed by itself.
    pub async fn decided(&self, undecided: Undecided) -> Vec<Result<Placed, LaneError>> {
        let result = match undecided.answer {
            Ok(answer) => answered(answer, undecided.since).await,
            Err(refused) => Err(refused),
        };
        self.isolate(undecided.count, result).await
    }

    /// Writes events that do not depend on each other: each succeeds or fails by itself, those of one
    /// organization in the order given. Answers when all are decided.
    pub async fn submit_each(&self, events: Vec<PreparedEvent>) -> Vec<Result<Placed, LaneError>> {
        let mut lanes: Vec<(Vec<usize>, Vec<PreparedEvent>)> = Vec::new();
        lanes.resize_with(self.queues.len(), Default::default);
        let mut results: Vec<_> = events.iter().map(|_| Err(LaneError::Stopping)).collect();
        for (index, event) in events.into_iter().enumerate() {
            let (indexes, events) = &mut lanes[self.lane_of(&event.organization_id)];
            indexes.push(index);
            events.push(event);
        }
        let written = lanes.into_iter().map(|(indexes, events)| async {
            indexes.into_iter().zip(self.submit_or_isolate(events).await)
        });
        for (index, result) in join_all(written).await.into_iter().flatten() {
            results[index] = result;
        }
        results
    }

    /// Writes the events together, or one by one if something about one of them is in the way.
    async fn submit_or_isolate(
        &self,
        events: Vec<PreparedEvent>,
    ) -> Vec<Result<Placed, LaneError>> {
        let count = events.len();
        let result = self.submit(events).await;
        self.isolate(count, result).await
    }

    /// The result of each of so many events that were written together. If something about one of them
    /// was in the way, they are written one by one.
    async fn isolate(
        &self,
        count: usize,
        result: Result<Vec<Placed>, Refused>,
    ) -> Vec<Result<Placed, LaneError>> {
        match result {
            Ok(placed) => placed.into_iter().map(Ok).collect(),
            Err(Refused { error, events }) if count > 1 && error.is_about_content() => {
                let mut results = Vec::with_capacity(count);
                for event in events {
                    match self.submit(vec![event]).await {
                        Ok(placed) => results.extend(placed.into_iter().map(Ok)),
                        Err(refused) => results.push(Err(refused.error)),
                    }
                }
                results
            }
            Err(Refused { error, .. }) => vec![Err(error); count],
        }
    }

    /// The number of the lane that writes an organization's events.
    pub(super) fn lane_of(&self, organization: &OrganizationId) -> usize {
        let mut hasher = DefaultHasher::new();
        organization.hash(&mut hasher);
        // The remainder is smaller than a count of lanes.
        usize::try_from(hasher.finish() % self.queues.len() as u64).unwrap_or_default()
    }

    /// Takes nothing new, writes what waits, and gives the connections back.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// The trace of the request that this task works for.
fn link() -> Link {
    telemetry::current().map_or(Parent::NONE.link(), |current| current.parent().link())
}

/// The lane answers everything that it takes, unless it is cut short at the end of a shutdown.
async fn answered(answer: Answer, since: SystemTime) -> Decision {
    let Ok(told) = answer.await else {
        return Err(Refused { error: LaneError::Stopping, events: Vec::new() });
    };
    if let Some(times) = told.times {
        times.tell_request(since);
    }
    told.decision
}
