//! Takes export jobs. A job is leased, so that one worker of all replicas has it; the lease is renewed
//! while the worker lives, and a dead worker's job is taken over.

use std::{future::pending, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::export_attempt::Attempt;
use crate::{
    domain::{
        clock::Clock,
        export::{Export, ExportProgress, ExportState},
    },
    export::{
        csv::Unreadable,
        files::{Attempts, ExportFiles},
        manifest::{self, Manifest},
        upload::Upload,
    },
    service::{
        error::Error as ServiceError, exports::ExportUpdates, signer::CheckpointSigner, tree::Tree,
    },
    store::{ExportLease, Store, StoreError},
    telemetry::Telemetry,
};

/// A job whose lease was not renewed for this long is taken over.
const LEASE_SECONDS: i64 = 15;
/// How often a lease is renewed and progress is told.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How often to look for jobs that another replica took in or gave up.
const POLL: Duration = Duration::from_secs(1);
/// A job that failed this often is given up.
const FAILURES: u64 = 3;
/// A job that so many workers took, one after the other, without a word at the end is given up: it may be
/// what kills them.
const SILENT_ENDS: u64 = 5;
/// How long a failed job rests before the next attempt.
const REST_SECONDS: i64 = 2;

/// Writes exports, one at a time. A replica has some of them.
#[derive(Clone)]
pub struct ExportWorker {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the files go.
    pub files: ExportFiles,
    /// Whether cells that a spreadsheet would run are prefixed.
    pub formula_guard: bool,
    /// Who signs the checkpoints of manifests.
    pub signer: CheckpointSigner,
    /// Whom to tell.
    pub updates: ExportUpdates,
    /// Who measures.
    pub telemetry: Telemetry,
    /// Name of this worker, unique among those of all replicas.
    pub owner: String,
}

/// Why an export was not written.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("the database failed: {0}")]
    Store(#[from] StoreError),
    #[error("the export store failed: {0}")]
    Files(#[from] std::io::Error),
    #[error(transparent)]
    Encoding(#[from] Unreadable),
    #[error("the manifest cannot be signed: {0}")]
    Signature(String),
    #[error("the encoder ended")]
    EncoderEnded,
    #[error("the checkpoint cannot be signed: {0}")]
    Checkpoint(String),
    #[error("the job was called off, or another worker took it over")]
    LeaseLost,
    #[error("shutting down")]
    Shutdown,
}

impl Failure {
    /// What the caller is told. What a bucket or a database answers may name what is no caller's business.
    fn told(&self) -> String {
        match self {
            Self::Store(_) => "the database failed".to_owned(),
            Self::Files(_) => "the export store failed".to_owned(),
            Self::Checkpoint(_) => "the checkpoint cannot be signed".to_owned(),
            Self::Signature(_) => "the manifest cannot be signed".to_owned(),
            Self::Encoding(_) | Self::EncoderEnded | Self::LeaseLost | Self::Shutdown => {
                self.to_string()
            }
        }
    }

    /// Whether it may come again because of the export itself. A database that is away or busy is so for
    /// all.
    const fn counts(&self) -> bool {
        !matches!(
            self,
            Self::Store(StoreError::Unavailable(_) | StoreError::Conflict(_))
                | Self::LeaseLost
                | Self::Shutdown
        )
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        Self::Files(error.into())
    }
}

impl ExportWorker {
    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let now = self.clock.now();
            let until = now.plus_seconds(LEASE_SECONDS);
            match self.store.lease_export(&self.owner, now, until, SILENT_ENDS).await {
                Ok(ExportLease::Job(export)) => self.work(*export, &shutdown).await,
                Ok(ExportLease::GivenUp(id)) => {
                    error!(export = %id, "an export was given up: its workers ended {SILENT_ENDS} times");
                    self.updates.publish(&id);
                }
                Ok(ExportLease::Nothing) => self.rest(&shutdown).await,
                Err(error) => {
                    warn!(%error, "cannot look for export jobs");
                    self.rest(&shutdown).await;
                }
            }
        }
    }

    async fn rest(&self, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.updates.work() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    /// Brings one job to its end, or gives it back.
    async fn work(&self, export: Export, shutdown: &CancellationToken) {
        let Telemetry { metrics, tracer, .. } = &self.telemetry;
        let _running = metrics.export_begins();
        let (mut span, began) = (tracer.root("write export"), Instant::now());
        let result = self.write_under_lease(&export, shutdown).await;
        metrics.export_ended(export.format.as_str(), result.is_ok(), began.elapsed());
        if result.is_err() {
            span.fail();
        }
        if let Err(error) = self.settle(&export, result).await {
            // The lease will run out and the job be taken up again.
            error!(export = %export.id, %error, "cannot end an export job");
        }
    }

    async fn settle(
        &self,
        export: &Export,
        result: Result<ExportProgress, Failure>,
    ) -> Result<(), StoreError> {
        let (id, now) = (&export.id, self.clock.now());
        let outcome = match result {
            Ok(progress) => Ok(progress),
            Err(Failure::LeaseLost) => return self.clear_lost(export).await,
            Err(Failure::Shutdown) => {
                return self.store.release_export(id, &self.owner, None, now).await;
            }
            Err(failure) if !failure.counts() || export.failures + 1 < FAILURES => {
                warn!(export = %id, error = %failure, attempt = export.attempt, "an export failed");
                let (why, at) = (failure.told(), now.plus_seconds(REST_SECONDS));
                let failure = Some((why.as_str(), failure.counts()));
                return self.store.release_export(id, &self.owner, failure, at).await;
            }
            Err(failure) => {
                error!(export = %id, error = %failure, "an export was given up");
                Err(failure.told())
            }
        };
        let state = if outcome.is_ok() { ExportState::Ready } else { ExportState::Error };
        let progress = outcome.as_ref().copied().unwrap_or(export.progress);
        if self.store.finish_export(id, &self.owner, outcome, now).await? {
            info!(export = %id, state = state.as_str(), rows = progress.rows_written, "export ended");
            self.updates.publish(id);
            return Ok(());
        }
        self.clear_lost(export).await
    }

    /// Takes back what was written for an export that was called off, or by this attempt at one that
    /// another worker took over.
    async fn clear_lost(&self, export: &Export) -> Result<(), StoreError> {
        let now = self.store.find_export(&export.id).await?;
        let cancelled = now.filter(|export| export.state == ExportState::Cancelled);
        let cleared = if let Some(cancelled) = &cancelled {
            info!(export = %export.id, "export cancelled");
            self.files.clear(cancelled, Attempts::All).await
        } else {
            warn!(export = %export.id, "another worker took an export job over");
            self.files.clear(export, Attempts::UpTo(export.attempt)).await
        };
        match cleared {
            Ok(()) if cancelled.is_some() => self.store.export_is_cleared(&export.id).await,
            Ok(()) => Ok(()),
            // Housekeeping tries again, of the other worker's once that has ended.
            Err(error) => {
                warn!(export = %export.id, %error, "cannot take back what a lost attempt wrote");
                Ok(())
            }
        }
    }

    /// Writes the file while renewing the lease.
    async fn write_under_lease(
        &self,
        export: &Export,
        shutdown: &CancellationToken,
    ) -> Result<ExportProgress, Failure> {
        let first = ExportProgress {
            estimated_rows: export.tree_size,
            is_upper_bound: true,
            ..Default::default()
        };
        let (told, seen) = watch::channel(first);
        let attempt = Attempt {
            store: &self.store,
            files: &self.files,
            export,
            owner: &self.owner,
            formula_guard: self.formula_guard,
            told: &told,
            metrics: &self.telemetry.metrics,
        };
        let mut upload = None;
        let result = tokio::select! {
            // An attempt that is dropped leaves only what can be taken back.
            result = self.write(&attempt, &mut upload) => result,
            failure = self.keep_lease(export, seen.clone()) => Err(failure),
            () = shutdown.cancelled() => Err(Failure::Shutdown),
            never = self.estimate(export, &told) => match never {},
        };
        if result.is_err() {
            let renew = async {
                self.keep_lease(export, seen).await;
                pending::<()>().await;
            };
            // To the end, lease or not: what this attempt wrote is nobody else's.
            tokio::select! {
                () = attempt.take_back(upload.as_mut()) => {}
                () = renew => {}
            }
        }
        result
    }

    /// Writes the file and, beside it, the manifest.
    async fn write(
        &self,
        attempt: &Attempt<'_>,
        upload: &mut Option<Upload>,
    ) -> Result<ExportProgress, Failure> {
        let export = attempt.export;
        attempt.prepare().await?;
        let upload = upload.insert(self.files.create(export).await?);
        let (progress, written) = attempt.write(upload).await?;
        let manifest = Manifest::new(export, self.checkpoint(export).await?, written);
        self.files.put_manifest(export, self.signed(export, &manifest)?).await?;
        Ok(progress)
    }

    /// Tells how many events there will be, once that is known. Never returns: writing does not wait
    /// for it.
    async fn estimate(
        &self,
        export: &Export,
        told: &watch::Sender<ExportProgress>,
    ) -> std::convert::Infallible {
        match self.store.estimate_export(export).await {
            Ok(estimate) => told.send_modify(|progress| {
                progress.estimated_rows = estimate.rows.max(progress.rows_written);
                progress.is_upper_bound = estimate.is_upper_bound;
            }),
            Err(error) => warn!(export = %export.id, %error, "cannot estimate an export"),
        }
        pending().await
    }

    /// Renews the lease and tells the progress, until that fails.
    async fn keep_lease(
        &self,
        export: &Export,
        mut progress: watch::Receiver<ExportProgress>,
    ) -> Failure {
        // The first figures are told at once, but the lease does not wait for them.
        let _ = tokio::time::timeout(HEARTBEAT, progress.changed()).await;
        let mut last_success = self.clock.now();
        loop {
            let (now, progress) = (self.clock.now(), *progress.borrow_and_update());
            let until = now.plus_seconds(LEASE_SECONDS);
            let renewed =
                self.store.renew_export_lease(&export.id, &self.owner, progress, now, until).await;
            match renewed {
                Ok(true) => {
                    last_success = now;
                    self.updates.publish(&export.id);
                }
                Ok(false) => return Failure::LeaseLost,
                // A database that is away for a moment is no reason to start again.
                Err(error) if now < last_success.plus_seconds(LEASE_SECONDS) => {
                    warn!(export = %export.id, %error, "cannot renew the lease of an export");
                }
                Err(error) => return Failure::Store(error),
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    /// The manifest with its signature.
    fn signed(&self, export: &Export, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
        let organization = &export.organization_id;
        let manifest = serde_json::to_value(manifest).map_err(std::io::Error::from)?;
        let text = manifest::signed_text(&self.signer.origin(organization), &manifest);
        let text = text.ok_or_else(|| Failure::Signature("no object".to_owned()))?;
        let note = self.signer.sign_text(organization, &text);
        let note = note.map_err(|error| Failure::Signature(error.to_string()))?;
        let signed = manifest::with_signature(manifest, note);
        Ok(serde_json::to_vec_pretty(&signed).map_err(std::io::Error::from)?)
    }

    /// The signed checkpoint of the tree that the export is taken from.
    async fn checkpoint(&self, export: &Export) -> Result<String, Failure> {
        let Export { organization_id, tree_size, .. } = export;
        let root =
            async { Tree::of(&self.store, organization_id).await?.root_at(*tree_size).await };
        let root = match root.await {
            Err(ServiceError::Store(error)) => return Err(error.into()),
            root => root,
        };
        let signed = root.and_then(|root| self.signer.sign(organization_id, *tree_size, root));
        signed.map_err(|error| Failure::Checkpoint(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::DbErr;

    use super::*;

    #[test]
    fn what_is_not_the_jobs_fault_does_not_count() {
        let busy = || DbErr::Custom("postgres://user:secret@host".to_owned());
        let files = std::io::Error::other("https://bucket/path?AWSAccessKeyId=AKIA");
        for (failure, counts, told) in [
            (Failure::Store(StoreError::Unavailable(busy())), false, "the database failed"),
            (Failure::Store(StoreError::Conflict(busy())), false, "the database failed"),
            (Failure::Store(StoreError::Unexpected(busy())), true, "the database failed"),
            (Failure::Files(files), true, "the export store failed"),
            (Failure::Shutdown, false, "shutting down"),
        ] {
            assert_eq!((failure.counts(), failure.told().as_str()), (counts, told));
        }
    }
}
