//! A log that is watched on this replica: how long it is, and its newest events.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::recent::{Budget, RecentEvents};
use crate::domain::ids::OrganizationId;

/// What watchers of a log wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogState {
    /// How many committed events it has, as far as this replica knows.
    pub size: u64,
    /// Whether its organization was deleted.
    pub gone: bool,
}

/// A log that is watched on this replica.
#[derive(Debug)]
pub struct Log {
    /// Whose.
    pub organization: OrganizationId,
    /// The size that is committed, before watchers are told.
    pub(super) committed: AtomicU64,
    state: watch::Sender<LogState>,
    recent: Mutex<RecentEvents>,
    /// Held while the newest events are read from the database, so that it is done once for all.
    pub reading: tokio::sync::Mutex<()>,
}

impl Log {
    /// Nothing is known of it yet.
    pub(super) fn new(organization: OrganizationId, budget: Arc<Budget>) -> Self {
        Self {
            organization,
            committed: AtomicU64::new(0),
            state: watch::Sender::default(),
            recent: Mutex::new(RecentEvents::new(budget)),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// A view of its state, now and as it changes.
    pub(super) fn states(&self) -> watch::Receiver<LogState> {
        self.state.subscribe()
    }

    /// Learns that the log has at least so many events, and tells its watchers.
    pub fn grew_to(&self, size: u64) {
        self.committed.fetch_max(size, Ordering::AcqRel);
        self.publish();
    }

    /// Tells its watchers what is committed.
    pub(super) fn publish(&self) {
        let size = self.committed.load(Ordering::Acquire);
        self.state.send_if_modified(|state| {
            let grown = size > state.size;
            state.size = state.size.max(size);
            grown
        });
    }

    /// Tells its watchers that its organization was deleted.
    pub(super) fn is_gone(&self) {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.gone, true));
    }

    /// The newest events.
    pub fn recent(&self) -> MutexGuard<'_, RecentEvents> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
