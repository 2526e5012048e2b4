//! Throws away what is past its time: export files and idempotency keys. Every replica does it;
//! doing it twice does no harm.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    domain::clock::Clock,
    export::files::ExportFiles,
    store::{Store, StoreError},
};

/// How often.
const EVERY: Duration = Duration::from_mins(10);
/// Exports that one step looks at.
const STEP: u64 = 100;
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

    /// Does everything once.
    pub async fn round(&self) {
        if let Err(error) = self.expire_exports().await {
            warn!(%error, "cannot expire exports");
        }
        if let Err(error) = self.clear_exports().await {
            warn!(%error, "cannot take back what unfinished exports left");
        }
        if let Err(error) = self.prune_keys().await {
            warn!(%error, "cannot prune idempotency keys");
        }
    }

    /// Deletes the files of old exports and makes the exports EXPIRED. The file goes first: a crash
    /// between the two is mended by the next round, and no file is forgotten.
    async fn expire_exports(&self) -> Result<(), StoreError> {
        let until = self.clock.now().plus_seconds(-self.export_retention);
        loop {
            let ids = self.store.exports_to_expire(until, STEP).await?;
            let mut expired = 0;
            for id in &ids {
                if let Err(error) = self.files.delete(id).await {
                    warn!(export = %id, %error, "cannot delete an export's file");
                    continue;
                }
                self.store.expire_export(id, self.clock.now()).await?;
                expired += 1;
                info!(export = %id, "export expired");
            }
            // What cannot be deleted is tried again in the next round.
            if expired == 0 {
                return Ok(());
            }
        }
    }

    /// Takes back what exports left that failed or were called off while their worker died.
    async fn clear_exports(&self) -> Result<(), StoreError> {
        let until = self.clock.now().plus_seconds(-ENDED_SECONDS);
        for export in self.store.exports_to_clear(until, STEP).await? {
            if let Err(error) = self.files.clear(&export, export.remains.as_ref()).await {
                warn!(export = %export.id, %error, "cannot take back an unfinished export");
                continue;
            }
            self.store.export_is_cleared(&export.id).await?;
        }
        Ok(())
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
