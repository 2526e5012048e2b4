//! The environment's own log: what the service, its administrators and its readers did, as events of an
//! organization that the service itself keeps, with the same tree as every other.
//!
//! A change is recorded when it is committed, before its caller is answered: an answer means that the
//! record is durable, or that the service's own log has an error. A crash in the moment between loses the
//! record. Reads do not wait: their records are written soon after, many at once (`queue`).

mod event;
mod queue;

use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::event::SystemEvent;
use self::queue::{Noted, Queue};
use super::{error::Result, lanes::Lanes, prepared::prepared};
use crate::{
    domain::{
        clock::Clock,
        ids::{EnvironmentId, OrganizationCursor, OrganizationId},
        organization::{Organization, OrganizationMetadata},
    },
    store::{PreparedEvent, Store},
};

/// Environments whose organization is known to be registered; it is never deleted.
const ENVIRONMENTS: usize = 10_000;

/// Records what happened to the service itself, and what was read. Cheap to clone.
#[derive(Clone)]
pub struct SystemLog {
    recorder: Recorder,
    queue: Queue,
    reads: bool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Writes records.
#[derive(Clone)]
struct Recorder {
    store: Store,
    clock: Arc<dyn Clock>,
    lanes: Lanes,
    registered: Arc<Cache<EnvironmentId, ()>>,
}

impl SystemLog {
    /// Records go through `lanes`; those of reads only if `reads`. Ends after [`SystemLog::drain`].
    pub fn start(store: Store, clock: Arc<dyn Clock>, lanes: Lanes, reads: bool) -> Self {
        let registered = Arc::new(Cache::new(ENVIRONMENTS));
        let recorder = Recorder { store, clock, lanes, registered };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (queue, waiting) = queue::queue();
        tasks.spawn(waiting.write(recorder.clone(), stop.clone()));
        tasks.close();
        Self { recorder, queue, reads, stop, tasks }
    }

    /// Records a change, and returns when that is durable. What was done is done: a failure goes to the
    /// service's own log, not to who did it.
    pub async fn record(&self, event: SystemEvent) {
        let noted = Noted { event, at: self.recorder.clock.now() };
        self.recorder.write(vec![noted]).await;
    }

    /// Has it recorded that something was read. Waits for nothing but a place in the queue.
    pub async fn record_read(&self, event: SystemEvent) {
        if self.reads {
            self.record_soon(event).await;
        }
    }

    /// Has something recorded for which nobody can wait.
    pub async fn record_soon(&self, event: SystemEvent) {
        let at = self.recorder.clock.now();
        self.queue.push(Noted { event, at }).await;
    }

    /// Takes nothing more for later, and writes what waits. The lanes must still be there.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Recorder {
    /// Writes records, in order.
    async fn write(&self, noted: Vec<Noted>) {
        let mut ready = Vec::with_capacity(noted.len());
        for one in noted {
            let action = one.event.action();
            match self.prepared(one).await {
                Ok(event) => ready.push((action, event)),
                Err(error) => failed(action, &error.to_string()),
            }
        }
        // Each environment's records are of one log, so of one lane.
        while let Some((_, first)) = ready.first() {
            let organization = first.organization_id.clone();
            let (of_one, others): (Vec<_>, Vec<_>) =
                ready.into_iter().partition(|(_, event)| event.organization_id == organization);
            ready = others;
            let (actions, events): (Vec<_>, Vec<_>) = of_one.into_iter().unzip();
            // Waits for room, as streams of events do.
            let undecided = self.lanes.enqueue(events).await;
            for (action, result) in actions.into_iter().zip(self.lanes.decided(undecided).await) {
                if let Err(error) = result {
                    failed(action, &error.to_string());
                }
            }
        }
    }

    async fn prepared(&self, noted: Noted) -> Result<PreparedEvent> {
        let organization = self.organization(&noted.event.environment).await?;
        prepared(organization, noted.event.into_event(noted.at), noted.at, None)
    }

    /// The organization whose log is the environment's own; registered if need be.
    async fn organization(&self, environment: &EnvironmentId) -> Result<OrganizationId> {
        let id = OrganizationId::system(environment);
        if self.registered.get(environment).is_none() {
            let now = self.clock.now();
            let new = Organization {
                id: id.clone(),
                cursor: OrganizationCursor::generate(now, &mut rand::rng()),
                name: "System log".to_owned(),
                external_id: None,
                metadata: OrganizationMetadata::default(),
                domains: Vec::new(),
                retention_days: None,
                created_at: now,
                updated_at: now,
            };
            // If the id is taken then by this environment, whose id is a part of it.
            self.store.insert_organization(environment, &new).await?;
            self.registered.insert(environment.clone(), ());
        }
        Ok(id)
    }
}

fn failed(action: &str, error: &str) {
    tracing::error!(action, error, "cannot record in the system log");
}
