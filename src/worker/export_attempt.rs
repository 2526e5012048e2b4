//! One attempt at an export: events are read, proved, encoded and uploaded, each by itself and all at
//! the same time, with a few pieces between them.

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::{
    export::Failure,
    export_encoder::{Encoded, Encoder, Proved},
};
use crate::{
    domain::export::{Export, ExportFormat, ExportProgress, Remains},
    export::{
        csv::CsvEncoder,
        files::{Attempts, ExportFiles},
        manifest::Written,
        upload::Upload,
    },
    merkle::{Hash, proof::range_nodes},
    store::{ExportOrder, ExportRows, Store, StoreError},
    telemetry::Metrics,
};

/// Pieces of about a megabyte that may wait for the next step.
const WAITING: usize = 1;
/// Ranges of leaves that were left out whose hashes are looked for at once: the tiles that have them
/// are held in memory.
const GAPS: usize = 256;

/// One attempt at an export.
pub(super) struct Attempt<'a> {
    pub store: &'a Store,
    pub files: &'a ExportFiles,
    pub export: &'a Export,
    pub owner: &'a str,
    pub formula_guard: bool,
    pub told: &'a watch::Sender<ExportProgress>,
    pub metrics: &'a Metrics,
}

impl Attempt<'_> {
    /// Takes back what earlier attempts left, and notes that this one may leave something.
    pub async fn prepare(&self) -> Result<(), Failure> {
        let Export { attempt, remains, .. } = self.export;
        if *attempt > 1 || remains.is_some() {
            // Whether the job is still ours.
            self.note(remains.as_ref()).await?;
            self.files.clear(self.export, Attempts::UpTo(*attempt)).await?;
        }
        self.note(Some(&Remains { attempt: *attempt, upload: None })).await
    }

    async fn note(&self, remains: Option<&Remains>) -> Result<(), Failure> {
        let noted = self.store.note_export_remains(&self.export.id, self.owner, remains);
        if noted.await? { Ok(()) } else { Err(Failure::LeaseLost) }
    }

    /// Writes the file, whole.
    pub async fn write(&self, upload: &mut Upload) -> Result<(ExportProgress, Written), Failure> {
        let (read, rows) = mpsc::channel(WAITING);
        let (proved, to_encode) = mpsc::channel(WAITING);
        let (encoded, to_upload) = mpsc::channel(WAITING);
        let order = match self.export.format {
            ExportFormat::Csv => ExportOrder::Time,
            ExportFormat::JsonLines => ExportOrder::Sequence,
        };
        let csv = CsvEncoder { formula_guard: self.formula_guard };
        let work = Encoder::new(self.export, csv);
        let work = tokio::task::spawn_blocking(move || work.run(to_encode, &encoded));
        let ((), last_skipped, written, progress) = tokio::try_join!(
            async {
                let read = read;
                Ok(self.store.read_export(self.export, order, &read).await?)
            },
            self.prove(order, rows, proved),
            async { work.await.map_err(|_| Failure::EncoderEnded)? },
            self.upload(to_upload, upload),
        )?;
        upload.finish().await?;
        let progress = ExportProgress {
            estimated_rows: progress.rows_written,
            is_upper_bound: false,
            ..progress
        };
        let skipped = last_skipped.iter().map(|hash| STANDARD.encode(hash)).collect();
        Ok((progress, Written { skipped, ..written }))
    }

    /// Looks for the hashes of what the export leaves out. Returns those after its last event.
    async fn prove(
        &self,
        order: ExportOrder,
        mut rows: mpsc::Receiver<ExportRows>,
        proved: mpsc::Sender<Proved>,
    ) -> Result<Vec<Hash>, Failure> {
        let mut next = 0;
        while let Some(rows) = rows.recv().await {
            let mut skipped = Vec::new();
            if order == ExportOrder::Sequence {
                let gaps = rows.iter().filter_map(|row| {
                    let gap = (next, row.sequence);
                    next = row.sequence + 1;
                    (gap.0 < gap.1).then_some(gap)
                });
                let gaps: Vec<_> = gaps.collect();
                for gaps in gaps.chunks(GAPS) {
                    skipped.extend(self.skipped(gaps).await?);
                }
            }
            if proved.send(Proved { rows, skipped }).await.is_err() {
                // The encoder says why.
                return Ok(Vec::new());
            }
        }
        match order {
            ExportOrder::Time => Ok(Vec::new()),
            ExportOrder::Sequence => Ok(self.skipped(&[(next, self.export.tree_size)]).await?),
        }
    }

    /// Hashes of the maximal perfect subtrees over each of some ranges of leaves, one after the other.
    async fn skipped(&self, ranges: &[(u64, u64)]) -> Result<Vec<Hash>, StoreError> {
        let nodes = ranges.iter().flat_map(|(start, end)| range_nodes(*start, *end));
        let nodes: Vec<_> = nodes.collect();
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let Export { organization_id, tree_size, .. } = self.export;
        self.store.tree_nodes(organization_id, *tree_size, &nodes).await
    }

    async fn upload(
        &self,
        mut encoded: mpsc::Receiver<Encoded>,
        upload: &mut Upload,
    ) -> Result<ExportProgress, Failure> {
        while let Some(Encoded { bytes, rows }) = encoded.recv().await {
            if let Some(name) = upload.begin_parts(bytes.len()).await? {
                let attempt = self.export.attempt;
                self.note(Some(&Remains { attempt, upload: Some(name) })).await?;
            }
            let length = bytes.len() as u64;
            upload.write(bytes).await?;
            self.metrics.exported(rows, length);
            self.told.send_modify(|progress| {
                progress.rows_written += rows;
                progress.bytes_written += length;
                progress.estimated_rows = progress.estimated_rows.max(progress.rows_written);
            });
        }
        Ok(*self.told.borrow())
    }

    /// Takes back what this attempt wrote, as far as that can be done; the rest is done before the next
    /// attempt or by housekeeping.
    pub async fn take_back(&self, upload: Option<&mut Upload>) {
        let id = &self.export.id;
        // What this attempt found is taken back, or noted still.
        let Some(upload) = upload else { return };
        if let Err(error) = upload.abort().await {
            warn!(export = %id, %error, "cannot abort an upload");
            return;
        }
        let ours = Export { remains: None, ..self.export.clone() };
        if let Err(error) = self.files.clear(&ours, Attempts::UpTo(ours.attempt)).await {
            warn!(export = %id, %error, "cannot delete an unfinished export");
            return;
        }
        if let Err(error) = self.store.note_export_remains(id, self.owner, None).await {
            warn!(export = %id, %error, "cannot note that an unfinished export is gone");
        }
    }
}
