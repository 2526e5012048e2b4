//! What this replica knows of the logs that are watched on it: how long they are, and their newest
//! events. Lanes tell what they wrote, other replicas what they wrote, and a look at the database now
//! and then tells what nobody told.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    WatcherLimits,
    log::{Log, LogState},
    recent::{Budget, Recent},
    room::{HISTORY_ROOM, OfKey},
};
use crate::{
    domain::ids::{ApiKeyId, OrganizationId},
    service::error::Error,
    store::{PreparedEvent, Store, Written},
};

/// Watchers are woken at most once in this time, so that many small commits become one frame.
const PACE: Duration = Duration::from_millis(3);
/// How often the database is asked for what nobody told, where other replicas cannot be heard, and
/// where they can.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_WHEN_TOLD: Duration = Duration::from_secs(5);
/// Watchers that read older events at the same time. They wait for each other, not for connections,
/// which lists and exports need as well.
const HISTORY_READS: usize = 2;

/// The watched logs by organization, with the number of their watchers.
type Logs = HashMap<OrganizationId, (Arc<Log>, usize)>;
/// The keys of the watchers.
type Keys = HashMap<ApiKeyId, OfKey>;

/// The logs that are watched on this replica. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

pub(super) struct Inner {
    pub store: Store,
    pub shutdown: CancellationToken,
    logs: RwLock<Logs>,
    keys: Mutex<Keys>,
    watchers: AtomicUsize,
    /// Those of them that are the service itself.
    followers: AtomicUsize,
    budget: Arc<Budget>,
    /// Logs that grew since watchers were last told.
    grown: Mutex<HashSet<OrganizationId>>,
    wake: Notify,
    /// Wakes what tells other replicas that there are watchers now.
    pub first_watcher: Notify,
    /// Whether another replica has watchers, and the logs that it is yet to be told of.
    pub others_watch: AtomicBool,
    pub untold: Mutex<HashSet<OrganizationId>>,
    pub wake_teller: Notify,
    /// Whether messages of replicas are heard.
    pub hears: AtomicBool,
    /// Messages of other replicas about logs that are watched here.
    pub heard: AtomicU64,
    pub history: Arc<Semaphore>,
    pub history_room: Arc<Semaphore>,
    limits: WatcherLimits,
}

/// A watcher's place in the hub, until it is dropped.
pub struct Seat {
    hub: Hub,
    /// Whose key must stay valid; `None` for the service itself.
    key: Option<ApiKeyId>,
    /// The log.
    pub log: Arc<Log>,
    /// Cancelled when the key is revoked.
    pub revoked: CancellationToken,
    /// What frames of history may take of the room for all, those of the key's other watchers with them.
    pub history_room: Arc<Semaphore>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let inner = &self.hub.0;
        let mut logs = inner.logs_mut();
        if let Some((_, count)) = logs.get_mut(&self.log.organization) {
            *count -= 1;
            if *count == 0 {
                logs.remove(&self.log.organization);
            }
        }
        drop(logs);
        if let Some(key) = &self.key {
            let mut keys = lock(&inner.keys);
            if let Some(of_key) = keys.get_mut(key) {
                of_key.count -= 1;
                if of_key.count == 0 {
                    keys.remove(key);
                }
            }
        } else {
            inner.followers.fetch_sub(1, Ordering::AcqRel);
        }
        inner.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn logs(&self) -> RwLockReadGuard<'_, Logs> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs_mut(&self) -> RwLockWriteGuard<'_, Logs> {
        self.logs.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Acquire)
    }

    /// Counts another watcher of a key, unless it has as many as it may have.
    fn seat_of(&self, key: &ApiKeyId) -> Option<OfKey> {
        let mut keys = lock(&self.keys);
        let of_key = keys.entry(key.clone()).or_default();
        (of_key.count < self.limits.key).then(|| {
            of_key.count += 1;
            of_key.clone()
        })
    }
}

impl Hub {
    /// Nobody watches yet.
    pub fn new(store: Store, limits: WatcherLimits, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            store,
            shutdown,
            logs: RwLock::default(),
            keys: Mutex::default(),
            watchers: AtomicUsize::new(0),
            followers: AtomicUsize::new(0),
            budget: Arc::default(),
            grown: Mutex::default(),
            wake: Notify::new(),
            first_watcher: Notify::new(),
            others_watch: AtomicBool::new(false),
            untold: Mutex::default(),
            wake_teller: Notify::new(),
            hears: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            history: Arc::new(Semaphore::new(HISTORY_READS)),
            history_room: Arc::new(Semaphore::new(HISTORY_ROOM)),
            limits,
        }))
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// How many watch on this replica.
    pub fn watchers(&self) -> usize {
        self.0.watchers()
    }

    /// How many of them watch for callers, not for the service itself.
    pub fn callers(&self) -> usize {
        self.watchers().saturating_sub(self.0.followers.load(Ordering::Acquire))
    }

    /// Whether messages of other replicas are heard.
    pub fn hears_replicas(&self) -> bool {
        self.0.hears.load(Ordering::Acquire)
    }

    /// How often other replicas told that a log grew that is watched here.
    pub fn heard(&self) -> u64 {
        self.0.heard.load(Ordering::Acquire)
    }

    /// Takes a place for a caller, and a view of the log's state: whatever is committed from now on will
    /// be told. Fails if the key or the replica has as many watchers as it may have.
    pub(super) fn join(
        &self,
        organization: &OrganizationId,
        key: &ApiKeyId,
    ) -> Result<(Seat, watch::Receiver<LogState>), Error> {
        let inner = &self.0;
        // First, so that lanes look.
        let others = inner.watchers.fetch_add(1, Ordering::AcqRel);
        let callers = others.saturating_sub(inner.followers.load(Ordering::Acquire));
        let of_key = (callers < inner.limits.replica).then(|| inner.seat_of(key)).flatten();
        let Some(of_key) = of_key else {
            inner.watchers.fetch_sub(1, Ordering::AcqRel);
            return Err(Error::TooManyWatchers);
        };
        Ok(self.seat(organization, Some(key.clone()), of_key, others))
    }

    /// The same for the service itself, which has as many places as it needs.
    pub(super) fn join_as_service(
        &self,
        organization: &OrganizationId,
    ) -> (Seat, watch::Receiver<LogState>) {
        self.0.followers.fetch_add(1, Ordering::AcqRel);
        let others = self.0.watchers.fetch_add(1, Ordering::AcqRel);
        self.seat(organization, None, OfKey::default(), others)
    }

    fn seat(
        &self,
        organization: &OrganizationId,
        key: Option<ApiKeyId>,
        of_key: OfKey,
        others: usize,
    ) -> (Seat, watch::Receiver<LogState>) {
        let inner = &self.0;
        if others == 0 {
            inner.first_watcher.notify_one();
        }
        let log = {
            let mut logs = inner.logs_mut();
            let (log, count) = logs.entry(organization.clone()).or_insert_with(|| {
                (Arc::new(Log::new(organization.clone(), inner.budget.clone())), 0)
            });
            *count += 1;
            log.clone()
        };
        let states = log.states();
        let OfKey { revoked, history_room, .. } = of_key;
        (Seat { hub: self.clone(), key, log, revoked, history_room }, states)
    }

    /// Learns what a lane has just committed. Takes the canonical bytes of events whose log is watched.
    /// Costs next to nothing where nobody watches.
    pub fn committed(&self, events: &mut [PreparedEvent], written: &Written) {
        let inner = &self.0;
        if inner.others_watch.load(Ordering::Acquire) && !written.trees.is_empty() {
            lock(&inner.untold).extend(written.trees.keys().cloned());
            inner.wake_teller.notify_one();
        }
        if inner.watchers() == 0 {
            return;
        }
        let logs = inner.logs();
        let watched = written.trees.iter().filter_map(|(organization, growth)| {
            let (log, _) = logs.get(organization)?;
            Some((organization, (log, growth, Vec::new())))
        });
        let mut watched: HashMap<_, _> = watched.collect();
        if watched.is_empty() {
            return;
        }
        for (event, place) in events.iter_mut().zip(&written.appended) {
            if let Some((_, growth, new)) = watched.get_mut(&event.organization_id)
                && !place.duplicate
                && place.sequence >= growth.before().size()
            {
                let payload = std::mem::take(&mut event.payload);
                new.push(Arc::new(Recent::new(place.sequence, payload, event.leaf_hash)));
            }
        }
        let mut grown = Vec::with_capacity(watched.len());
        for (organization, (log, growth, new)) in watched {
            log.recent().add(new);
            log.committed.fetch_max(growth.after().size(), Ordering::AcqRel);
            grown.push(organization.clone());
        }
        drop(logs);
        lock(&inner.grown).extend(grown);
        inner.wake.notify_one();
    }

    /// Wakes watchers and looks after them, until the shutdown.
    pub async fn run(self) {
        let shutdown = self.0.shutdown.clone();
        let work = async { tokio::join!(self.wake_watchers(), self.look_now_and_then()) };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = work => {}
        }
    }

    async fn wake_watchers(&self) {
        loop {
            self.0.wake.notified().await;
            let grown = std::mem::take(&mut *lock(&self.0.grown));
            for organization in grown {
                let log = self.0.logs().get(&organization).map(|(log, _)| log.clone());
                if let Some(log) = log {
                    log.publish();
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn look_now_and_then(&self) {
        let (mut since_keys, mut reachable) = (Duration::ZERO, true);
        loop {
            tokio::time::sleep(LOOK).await;
            since_keys += LOOK;
            let all = since_keys >= LOOK_WHEN_TOLD;
            if self.watchers() == 0 || (self.hears_replicas() && !all) {
                continue;
            }
            let looked = self.look(all).await;
            if let Err(error) = &looked
                && reachable
            {
                tracing::warn!(%error, "cannot look after watched logs");
            }
            reachable = looked.is_ok();
            if all {
                since_keys = Duration::ZERO;
            }
        }
    }

    /// Asks the database how long the watched logs are, and, if `all`, whether the watchers' keys are
    /// still valid; forgets events that are no longer new.
    async fn look(&self, all: bool) -> Result<(), crate::store::StoreError> {
        let logs: Vec<_> = self.0.logs().values().map(|(log, _)| log.clone()).collect();
        self.look_at(&logs).await?;
        if !all {
            return Ok(());
        }
        for log in logs {
            log.recent().age();
        }
        let keys: Vec<_> = lock(&self.0.keys).keys().cloned().collect();
        let valid = self.0.store.valid_keys(&keys).await?;
        let watching = lock(&self.0.keys);
        for key in keys.iter().filter(|key| !valid.contains(key)) {
            if let Some(of_key) = watching.get(key) {
                of_key.revoked.cancel();
            }
        }
        Ok(())
    }

    /// Asks the database how long those of some logs are that are watched here.
    pub(super) async fn look_at_named(
        &self,
        organizations: impl Iterator<Item = OrganizationId>,
    ) -> Result<(), crate::store::StoreError> {
        let logs: Vec<_> = {
            let watched = self.0.logs();
            organizations.filter_map(|id| watched.get(&id).map(|(log, _)| log.clone())).collect()
        };
        if logs.is_empty() {
            return Ok(());
        }
        self.0.heard.fetch_add(1, Ordering::AcqRel);
        self.look_at(&logs).await
    }

    async fn look_at(&self, logs: &[Arc<Log>]) -> Result<(), crate::store::StoreError> {
        let organizations: Vec<_> = logs.iter().map(|log| log.organization.clone()).collect();
        let sizes = self.0.store.watched_sizes(&organizations).await?;
        for log in logs {
            match sizes.get(&log.organization) {
                Some(size) => log.grew_to(*size),
                None => log.is_gone(),
            }
        }
        Ok(())
    }
}
