//! Throws away what is past its time: export files and idempotency keys. Every replica does it;
//! doing it twice does no harm.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    domain::{clock::Clock, export::Export},
    export::files::{Attempts, ExportFiles},
    store::{Store, StoreError},
};

/// How often.
const EVERY: Duration = Duration::from_mins(10);
/// Exports that one step looks at.
const STEP: u64 = 100;
/// After so many failures in a row the export store is taken to be away.
const FAILURES: u32 = 3;
/// After this long no worker is busy any more with an export that has ended.
const ENDED_SECONDS: i64 = 60;

/// Throws away what is past its time.
pub struct Housekeeper {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the export files are.
    pub files: ExportFiles,
    /// For how many seconds export files are kept.
    pub export_retention: i64,
    /// For how many seconds an idempotency key counts.
    pub idempotency_window: i64,
}

impl Housekeeper {
    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.round() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Does everything once. What needs the export store comes last: it may be away.
    pub async fn round(&self) {
        if let Err(error) = self.prune_keys().await {
            warn!(%error, "cannot prune idempotency keys");
        }
        if let Err(error) = self.expire_exports().await {
            warn!(%error, "cannot expire exports");
        }
        if let Err(error) = self.clear_exports().await {
            warn!(%error, "cannot take back what unfinished exports left");
        }
    }

    /// Deletes the files of old exports and makes the exports EXPIRED. The file goes first: a crash
    /// between the two is mended by the next round, and no file is forgotten.
    async fn expire_exports(&self) -> Result<(), StoreError> {
        let until = self.clock.now().plus_seconds(-self.export_retention);
        let (mut after, mut failures) = (None, 0);
        loop {
            let exports = self.store.exports_to_expire(after.as_ref(), until, STEP).await?;
            for export in &exports {
                if self.take_away(export, &mut failures).await {
                    self.store.expire_export(&export.id, self.clock.now()).await?;
                    info!(export = %export.id, "export expired");
                }
            }
            after = exports.into_iter().next_back().map(|export| export.id);
            if after.is_none() || failures >= FAILURES {
                return Ok(());
            }
        }
    }

    /// Takes back what exports left that failed or were called off while their worker died.
    async fn clear_exports(&self) -> Result<(), StoreError> {
        let until = self.clock.now().plus_seconds(-ENDED_SECONDS);
        let (mut after, mut failures) = (None, 0);
        loop {
            let exports = self.store.exports_to_clear(after.as_ref(), until, STEP).await?;
            for export in &exports {
                if self.take_away(export, &mut failures).await {
                    self.store.export_is_cleared(&export.id).await?;
                }
            }
            after = exports.into_iter().next_back().map(|export| export.id);
            if after.is_none() || failures >= FAILURES {
                return Ok(());
            }
        }
    }

    /// Deletes everything of an export, unless the store failed too often in a row: each failure takes as
    /// long as the store is waited for. What is left is tried again in the next round.
    async fn take_away(&self, export: &Export, failures: &mut u32) -> bool {
        if *failures >= FAILURES {
            return false;
        }
        match self.files.clear(export, Attempts::All).await {
            Ok(()) => {
                *failures = 0;
                true
            }
            Err(error) => {
                warn!(export = %export.id, %error, "cannot delete what an export left");
                *failures += 1;
                false
            }
        }
    }

    async fn prune_keys(&self) -> Result<(), StoreError> {
        let until = self.clock.now().plus_seconds(-self.idempotency_window);
        let (mut place, mut deleted) = (None, 0);
        loop {
            let (step, next) = self.store.prune_idempotency_keys(place, until).await?;
            deleted += step;
            if next.is_none() {
                break;
            }
            place = next;
        }
        if deleted > 0 {
            info!(deleted, "idempotency keys pruned");
        }
        Ok(())
    }
}
