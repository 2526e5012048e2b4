//! Writes exports. A job is leased, so that one worker of all replicas has it; the lease is renewed
//! while the worker lives, and a dead worker's job is taken over.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use thiserror::Error;
use tokio::{io::AsyncWriteExt, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    domain::{
        clock::Clock,
        export::{Export, ExportProgress, ExportState},
        timestamp::Timestamp,
    },
    export::{
        csv::{CsvEncoder, CsvError},
        files::ExportFiles,
    },
    service::exports::ExportUpdates,
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
/// Encoded bytes that are held back before they go to the file.
const CHUNK_BYTES: usize = 256 * 1_024;

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
    /// Whom to tell.
    pub updates: ExportUpdates,
    /// Name of this worker, unique among replicas.
    pub owner: String,
}

/// Why an export was not written.
#[derive(Debug, Error)]
enum Failure {
    #[error("the database failed: {0}")]
    Store(#[from] StoreError),
    #[error("the export store failed: {0}")]
    Files(#[from] std::io::Error),
    #[error(transparent)]
    Encoding(#[from] CsvError),
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
        let mut file = ExportFile {
            writer: self.files.create(export),
            encoder: CsvEncoder::new(self.formula_guard),
            buffered: 0,
            progress: ExportProgress { estimated_rows, ..Default::default() },
        };
        progress.send_replace(file.progress);
        let result = self.write_rows(export, &mut file, progress).await;
        match result {
            Ok(()) => {
                file.flush().await?;
                file.writer.shutdown().await?;
                Ok(file.progress)
            }
            Err(failure) => {
                // Takes back the parts that a bucket may hold already.
                if let Err(error) = file.writer.abort().await {
                    warn!(export = %export.id, %error, "cannot abort an upload");
                }
                Err(failure)
            }
        }
    }

    async fn write_rows(
        &self,
        export: &Export,
        file: &mut ExportFile,
        progress: &watch::Sender<ExportProgress>,
    ) -> Result<(), Failure> {
        file.encoder.header()?;
        let mut last: Option<(Timestamp, u64)> = None;
        loop {
            let before = last;
            let rows = self.store.read_export_rows(export, last).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await? {
                last = Some((row.occurred_at, row.sequence));
                file.encoder.row(row.sequence, &row.payload)?;
                file.progress.rows_written += 1;
                file.buffered += row.payload.len();
                if file.buffered >= CHUNK_BYTES {
                    file.flush().await?;
                }
            }
            progress.send_replace(file.progress);
            if last == before {
                return Ok(());
            }
        }
    }
}

/// A file that is being written.
struct ExportFile {
    writer: BufWriter,
    encoder: CsvEncoder,
    /// Payload bytes encoded since the last flush.
    buffered: usize,
    progress: ExportProgress,
}

impl ExportFile {
    async fn flush(&mut self) -> Result<(), Failure> {
        let bytes = self.encoder.take()?;
        self.progress.bytes_written += bytes.len() as u64;
        self.buffered = 0;
        Ok(self.writer.put(bytes.into()).await.map_err(std::io::Error::from)?)
    }
}
