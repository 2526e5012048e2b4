//! Erases what is past its retention. One replica does it at a time, under a lease; a step that another
//! one runs all the same does no harm, since the database orders them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    domain::{clock::Clock, ids::OrganizationId, timestamp::Timestamp},
    store::{Erasure, Lease, RetentionRule, Store, StoreError},
    telemetry::Telemetry,
};

/// Name of the lease.
const LEASE: &str = "retention";
/// A sweep whose lease was not renewed for this long is taken over. A step takes much less.
const LEASE_SECONDS: i64 = 90;
/// After so long a lease is renewed.
const RENEW_SECONDS: i64 = 15;
/// Logs that are looked at together.
const PAGE: u64 = 200;
/// The shortest pause between two steps. It is as long as the step before, so that at least half of
/// the time belongs to others.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// How often it is tried to empty SQLite's write-ahead log after a sweep, and the pause between two tries.
const JOURNAL_TRIES: u32 = 100;
const JOURNAL_REST: Duration = Duration::from_millis(50);

/// Erases what is past its retention. Cheap to clone.
#[derive(Clone)]
pub struct RetentionSweeper {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For how many days events are kept where the organization says nothing.
    pub default_days: u32,
    /// How many seconds after the end of one sweep the next one is due.
    pub interval_seconds: u32,
    /// Who measures.
    pub telemetry: Telemetry,
    /// Name of this sweeper, unique among replicas.
    pub owner: String,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Organizations of which events were erased.
    pub organizations: u64,
    /// Events that were erased.
    pub events: u64,
    /// Rows that were deleted: those of erased events, once their leaf hashes are in complete tiles.
    pub deleted_rows: u64,
    /// Whether everything was looked at: the lease was not lost, nothing failed, no shutdown.
    pub is_complete: bool,
}

impl RetentionSweeper {
    /// Works until `shutdown`; the first sweep comes at once, if it is due.
    pub async fn run(self, shutdown: CancellationToken) {
        let interval = Duration::from_secs(self.interval_seconds.into());
        let mut has_erased = false;
        while !shutdown.is_cancelled() {
            let swept = self.sweep_if_due(&shutdown).await;
            has_erased |= matches!(&swept, Ok(Some(swept)) if swept.events > 0);
            match swept {
                Ok(Some(swept)) if swept != (Swept { is_complete: true, ..Swept::default() }) => {
                    let Swept { organizations, events, deleted_rows, is_complete } = swept;
                    info!(organizations, events, deleted_rows, is_complete, "retention swept");
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "cannot sweep for retention"),
            }
            if has_erased {
                has_erased = !self.empty_journal(&shutdown).await;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Sees that what was erased does not stay in SQLite's write-ahead log. False if others were in the way all
    /// the time.
    async fn empty_journal(&self, shutdown: &CancellationToken) -> bool {
        for _ in 0..JOURNAL_TRIES {
            match self.store.empty_journal().await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, "cannot empty the write-ahead log");
                    return false;
                }
            }
            let rest = tokio::time::sleep(JOURNAL_REST);
            if shutdown.run_until_cancelled(rest).await.is_none() {
                return false;
            }
        }
        false
    }

    /// Sweeps under the lease. `None` if another replica does it just now, or did lately.
    pub async fn sweep_if_due(
        &self,
        shutdown: &CancellationToken,
    ) -> Result<Option<Swept>, StoreError> {
        let now = self.clock.now();
        let due = now.plus_seconds(-i64::from(self.interval_seconds));
        let lease = self.lease();
        if !self.store.take_lease(lease, now, due, until(now)).await? {
            return Ok(None);
        }
        let Telemetry { metrics, tracer, .. } = &self.telemetry;
        let (mut span, began) = (tracer.root("sweep for retention"), Instant::now());
        let swept = self.sweep(shutdown).await;
        metrics.swept(swept.is_ok(), began.elapsed());
        if swept.is_err() {
            span.fail();
        }
        drop(span);
        let finished = swept.as_ref().is_ok_and(|swept| swept.is_complete);
        let finished = finished.then(|| self.clock.now());
        self.store.release_lease(lease, finished).await?;
        swept.map(Some)
    }

    fn lease(&self) -> Lease<'_> {
        Lease { name: LEASE, owner: &self.owner }
    }

    /// Looks at every log, in pages. What is wrong with one does not keep the others from their turn.
    async fn sweep(&self, shutdown: &CancellationToken) -> Result<Swept, StoreError> {
        let mut sweep = Sweep { swept: Swept::default(), renewed: self.clock.now() };
        let mut after = String::new();
        loop {
            let rule = self.rule();
            let logs = self.store.aged_logs(&after, rule, PAGE).await?;
            let Some(last) = logs.last() else {
                sweep.swept.is_complete = true;
                return Ok(sweep.swept);
            };
            last.organization.as_str().clone_into(&mut after);
            for log in logs.iter().filter(|log| log.has_work) {
                let erased = self.erase(&log.organization, rule, &mut sweep, shutdown);
                match erased.await {
                    Ok(true) => {}
                    Ok(false) => return Ok(sweep.swept),
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    Err(error) => {
                        error!(organization = %log.organization, %error, "cannot erase from a log");
                    }
                }
            }
            if !self.go_on(&mut sweep, shutdown).await? {
                return Ok(sweep.swept);
            }
        }
    }

    fn rule(&self) -> RetentionRule {
        RetentionRule { now: self.clock.now(), default_days: self.default_days }
    }

    /// Erases what is past its retention from one log. False if the sweep must end.
    async fn erase(
        &self,
        organization: &OrganizationId,
        rule: RetentionRule,
        sweep: &mut Sweep,
        shutdown: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let mut events = 0;
        loop {
            if !self.go_on(sweep, shutdown).await? {
                return Ok(false);
            }
            let begun = Instant::now();
            let erasure = self.store.erase_step(organization, rule).await?;
            events += erasure.events;
            self.telemetry.metrics.erased(erasure.events);
            sweep.count(&erasure, events == erasure.events);
            tell_what_is_wrong(organization, &erasure);
            if !erasure.has_more {
                break;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(begun.elapsed().max(LEAST_PAUSE)) => {}
            }
        }
        if events > 0 {
            info!(%organization, events, "events erased by retention");
        }
        Ok(true)
    }

    /// Whether to go on: nobody wants this process to end, and the lease is still ours.
    async fn go_on(
        &self,
        sweep: &mut Sweep,
        shutdown: &CancellationToken,
    ) -> Result<bool, StoreError> {
        if shutdown.is_cancelled() {
            return Ok(false);
        }
        let now = self.clock.now();
        if now < sweep.renewed.plus_seconds(RENEW_SECONDS) {
            return Ok(true);
        }
        sweep.renewed = now;
        let is_ours = self.store.renew_lease(self.lease(), until(now)).await?;
        if !is_ours {
            warn!("another replica took the sweep for retention over");
        }
        Ok(is_ours)
    }
}

/// A sweep that is under way.
struct Sweep {
    swept: Swept,
    /// When the lease was taken or last renewed.
    renewed: Timestamp,
}

impl Sweep {
    fn count(&mut self, erasure: &Erasure, is_first: bool) {
        self.swept.organizations += u64::from(is_first && erasure.events > 0);
        self.swept.events += erasure.events;
        self.swept.deleted_rows += erasure.deleted_rows;
    }
}

/// Until when a lease that is taken or renewed now is held.
fn until(now: Timestamp) -> Timestamp {
    now.plus_seconds(LEASE_SECONDS)
}

fn tell_what_is_wrong(organization: &OrganizationId, erasure: &Erasure) {
    if let Some(sequence) = erasure.broken_at {
        error!(
            %organization, sequence,
            "an event that retention did not erase is gone: nothing is erased from there on; run \
             `audit-logs verify database`"
        );
    }
    if let Some(sequence) = erasure.unfit_at {
        error!(
            %organization, sequence,
            "a leaf hash is not in its tile: what was erased there leaves its hashes; run \
             `audit-logs verify database`"
        );
    }
}
