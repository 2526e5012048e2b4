//! Watching a log: what was there, and then what comes, without gap and without duplicate.
//!
//! The one source of what a watcher is told is its log, read by sequence up to the committed size.
//! Everything else are hints that there is more: what a lane has just written ([`Hub::committed`]),
//! what other replicas tell ([`Replicas`]), and a look at the database now and then. Hints may come
//! late, twice, or never, and nothing is lost. The newest events of a watched log are kept in memory
//! once for all its watchers.

mod follower;
mod hub;
mod log;
mod recent;
mod replicas;
mod room;
mod start;
mod stream;
mod watcher;

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

pub(super) use self::start::Start;
use self::watcher::Watcher;
pub use self::{
    follower::Follower,
    hub::Hub,
    recent::Recent,
    replicas::Replicas,
    start::WatchStart,
    stream::{WatchContent, WatchEnd, WatchFrame, WatchStream},
};
use super::{
    error::{Error, Result},
    organizations::{Organizations, check_id},
    permit,
    system_log::{SystemEvent, SystemLog},
};
use crate::{
    domain::{
        caller::Caller, clock::Clock, filter::EventFilter, permissions::Operation,
        violation::Violations,
    },
    store::Store,
    telemetry,
};

/// Frames that may wait for a client beside those that HTTP/2 has taken.
const WAITING_FRAMES: usize = 1;

/// How many may watch at a time. Each is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatcherLimits {
    /// On this replica.
    pub replica: usize,
    /// With one key, on this replica.
    pub key: usize,
}

/// Lets callers watch logs. Cheap to clone.
#[derive(Clone)]
pub struct Watches {
    store: Store,
    clock: Arc<dyn Clock>,
    organizations: Organizations,
    hub: Hub,
    patience: Duration,
    system_log: SystemLog,
}

/// What to watch, as sent.
#[derive(Debug, Clone, Default)]
pub struct NewWatch {
    /// Whose log.
    pub organization_id: String,
    /// Where to start.
    pub start: WatchStart,
    /// Which events.
    pub filter: EventFilter,
}

impl Watches {
    /// Logs are in `store`; `patience` is how long a client may take nothing while something waits for it.
    /// Who watches is recorded in `system_log`.
    pub const fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        organizations: Organizations,
        hub: Hub,
        patience: Duration,
        system_log: SystemLog,
    ) -> Self {
        Self { store, clock, organizations, hub, patience, system_log }
    }

    /// The watched logs of this replica.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Starts to watch a log.
    pub async fn watch(&self, caller: &Caller, new: NewWatch) -> Result<WatchStream> {
        permit(caller, Operation::WatchEvents)?;
        let mut violations = Violations::default();
        check_id("organization_id", &new.organization_id, &mut violations);
        new.filter.check(&mut violations);
        let start = new.start.check(&mut violations);
        violations.into_result(())?;
        let tenant = self.organizations.tenant(caller, &new.organization_id).await?;
        // A place first and the size then: what is committed in between is told, or read, or both.
        let (seat, states) = self.hub.join(&tenant.organization, &caller.key_id)?;
        // From here on the hub looks after the key. What was remembered of it may be some seconds old.
        let valid = self.store.valid_keys(std::slice::from_ref(&caller.key_id)).await?;
        if !valid.contains(&caller.key_id) {
            return Err(Error::KeyRefused);
        }
        let size = self.store.log_size(&tenant).await?;
        seat.log.grew_to(size);
        let next = Start { store: &self.store, tenant: &tenant, size }
            .sequence(start, self.clock.now())
            .await?;
        let read = SystemEvent::by(caller, "event.watched")
            .on("organization", &tenant.organization)
            .with("from_sequence", next)
            .with("filters", new.filter.kinds());
        self.system_log.record_read(read).await;
        let (tell_end, end) = oneshot::channel();
        let (frames, stream) = stream::channel(WAITING_FRAMES, end);
        let mut watcher = Watcher {
            hub: self.hub.clone(),
            clock: self.clock.clone(),
            seat,
            states,
            tenant,
            filter: new.filter,
            next,
            told: next,
            frames,
            patience: self.patience,
        };
        tokio::spawn(telemetry::carry(telemetry::current(), async move {
            if let Some(error) = watcher.run().await {
                // Fails if the client is gone.
                let _ = tell_end.send(WatchEnd { error, next_sequence: watcher.told });
            }
        }));
        Ok(stream)
    }
}
