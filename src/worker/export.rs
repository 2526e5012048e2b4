//! Writes exports. A job is leased, so that one worker of all replicas has it; the lease is renewed
//! while the worker lives, and a dead worker's job is taken over.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::export_file::ExportFile;
use crate::{
    domain::{
        clock::Clock,
        export::{Export, ExportFormat, ExportProgress, ExportState},
    },
    export::{csv::CsvError, files::ExportFiles, manifest::Manifest},
    service::{
        error::Error as ServiceError, exports::ExportUpdates, signer::CheckpointSigner, tree::Tree,
    },
    store::{Store, StoreError},
};

/// A job whose lease was not renewed for this long is taken over.
const LEASE_SECONDS: i64 = 15;
/// How often a lease is renewed and progress is told.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How often to look for jobs that another replica took in or gave up.
const POLL: Duration = Duration::from_secs(1);
/// A job that failed this often is given up.
const ATTEMPTS: u64 = 3;
/// How long a failed job rests before the next attempt.
const REST_SECONDS: i64 = 2;

/// Writes exports, one at a time.
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
    /// Name of this worker, unique among replicas.
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
    Encoding(#[from] CsvError),
    #[error("the checkpoint cannot be signed: {0}")]
    Checkpoint(String),
    #[error("another worker took the job over")]
    LeaseLost,
    #[error("shutting down")]
    Shutdown,
}

impl ExportWorker {
    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let now = self.clock.now();
            let until = now.plus_seconds(LEASE_SECONDS);
            match self.store.lease_export(&self.owner, now, until).await {
                Ok(Some(export)) => self.work(export, &shutdown).await,
                Ok(None) => self.rest(&shutdown).await,
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
        let result = self.write_under_lease(&export, shutdown).await;
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
        let (outcome, state) = match result {
            Ok(progress) => (Ok(progress), ExportState::Ready),
            Err(Failure::LeaseLost) => {
                warn!(export = %id, "another worker took an export job over");
                return Ok(());
            }
            // Not the job's fault: the attempt does not count.
            Err(Failure::Shutdown) => {
                let attempts = export.attempt.saturating_sub(1);
                return self.store.release_export(id, &self.owner, attempts, now).await;
            }
            Err(failure) if export.attempt < ATTEMPTS => {
                warn!(export = %id, error = %failure, attempt = export.attempt, "an export failed");
                let at = now.plus_seconds(REST_SECONDS);
                return self.store.release_export(id, &self.owner, export.attempt, at).await;
            }
            Err(failure) => {
                error!(export = %id, error = %failure, "an export was given up");
                (Err(failure.to_string()), ExportState::Error)
            }
        };
        if self.store.finish_export(id, &self.owner, outcome.clone(), now).await? {
            let progress = outcome.as_ref().copied().unwrap_or(export.progress);
            info!(export = %id, state = state.as_str(), rows = progress.rows_written, "export ended");
            self.updates.publish(id);
        }
        Ok(())
    }

    /// Writes the file while renewing the lease.
    async fn write_under_lease(
        &self,
        export: &Export,
        shutdown: &CancellationToken,
    ) -> Result<ExportProgress, Failure> {
        let (progress, seen) = watch::channel(ExportProgress::default());
        // When one of the others wins, the file is dropped unfinished and never becomes visible.
        tokio::select! {
            result = self.write(export, &progress) => result,
            failure = self.keep_lease(export, seen) => Err(failure),
            () = shutdown.cancelled() => Err(Failure::Shutdown),
        }
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

    async fn write(
        &self,
        export: &Export,
        progress: &watch::Sender<ExportProgress>,
    ) -> Result<ExportProgress, Failure> {
        let estimated_rows = self.store.count_export_rows(export).await?;
        let writer = self.files.create(export);
        let mut file = ExportFile::new(&self.store, export, writer, estimated_rows, progress);
        let result = match export.format {
            ExportFormat::Csv => file.write_csv(self.formula_guard).await,
            ExportFormat::JsonLines => file.write_json_lines().await,
        };
        if let Err(failure) = result {
            file.abort().await;
            return Err(failure);
        }
        let (progress, written) = file.finish().await?;
        let manifest = Manifest::new(export, self.checkpoint(export).await?, written);
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from)?;
        self.files.put_manifest(export, manifest).await.map_err(std::io::Error::from)?;
        Ok(progress)
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
