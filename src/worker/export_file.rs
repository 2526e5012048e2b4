//! The file of an export while it is written, in either format.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt, sync::watch};

use super::export::Failure;
use crate::{
    domain::{
        export::{Export, ExportProgress},
        timestamp::Timestamp,
    },
    export::{
        csv::CsvEncoder,
        json_lines::{Line, write_line},
        manifest::Written,
    },
    merkle::{Hash, proof::range_nodes},
    store::{ProvableRow, Store},
};

/// Encoded bytes that are held back before they go to the file.
const CHUNK_BYTES: usize = 256 * 1_024;

/// A file that is being written.
pub struct ExportFile<'a> {
    store: &'a Store,
    export: &'a Export,
    writer: BufWriter,
    progress: ExportProgress,
    told: &'a watch::Sender<ExportProgress>,
    hash: Sha256,
    written: Written,
}

impl<'a> ExportFile<'a> {
    pub fn new(
        store: &'a Store,
        export: &'a Export,
        writer: BufWriter,
        estimated_rows: u64,
        told: &'a watch::Sender<ExportProgress>,
    ) -> Self {
        let progress = ExportProgress { estimated_rows, ..Default::default() };
        told.send_replace(progress);
        let (hash, written) = (Sha256::new(), Written::default());
        Self { store, export, writer, progress, told, hash, written }
    }

    /// Writes CSV, by time.
    pub async fn write_csv(&mut self, formula_guard: bool) -> Result<(), Failure> {
        let mut encoder = CsvEncoder::new(formula_guard);
        encoder.header()?;
        let mut buffered = 0;
        let mut last: Option<(Timestamp, u64)> = None;
        loop {
            let before = last;
            let rows = self.store.read_export_rows(self.export, last).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await? {
                last = Some((row.occurred_at, row.sequence));
                encoder.row(row.sequence, &row.payload)?;
                self.count(row.sequence);
                buffered += row.payload.len();
                if buffered >= CHUNK_BYTES {
                    buffered = 0;
                    self.put(encoder.take()?).await?;
                }
            }
            self.told.send_replace(self.progress);
            if last == before {
                return self.put(encoder.take()?).await;
            }
        }
    }

    /// Writes JSON Lines, by sequence, with what proves them.
    pub async fn write_json_lines(&mut self) -> Result<(), Failure> {
        let mut next = 0;
        loop {
            let rows = self.store.read_provable_rows(self.export, next).await?;
            if rows.is_empty() {
                let skipped =
                    skipped(self.store, self.export, &[(next, self.export.tree_size)]).await?;
                self.written.skipped = skipped.iter().map(|hash| STANDARD.encode(hash)).collect();
                return Ok(());
            }
            let encoded = self.encode(next, &rows).await?;
            self.put(encoded).await?;
            next = rows.last().map_or(next, |row| row.sequence + 1);
            self.told.send_replace(self.progress);
        }
    }

    /// The lines of some rows, of which the leaf `next` is the first that is not written yet.
    async fn encode(&mut self, mut next: u64, rows: &[ProvableRow]) -> Result<Vec<u8>, Failure> {
        let gaps = rows.iter().map(|row| {
            let gap = (next, row.sequence);
            next = row.sequence + 1;
            gap
        });
        let gaps: Vec<(u64, u64)> = gaps.collect();
        // All gaps at once: neighbouring ones share the tiles that have their hashes.
        let hashes = skipped(self.store, self.export, &gaps).await?;
        let (mut hashes, mut encoded) = (&*hashes, Vec::new());
        for (row, (start, end)) in rows.iter().zip(gaps) {
            let (skipped, rest) = hashes.split_at(range_nodes(start, end).len().min(hashes.len()));
            hashes = rest;
            let ProvableRow { sequence, payload, salt, leaf_hash } = row;
            let (event, sequence) = (payload.as_slice(), *sequence);
            write_line(&mut encoded, &Line { sequence, event, salt, leaf_hash, skipped });
            self.count(sequence);
        }
        Ok(encoded)
    }

    fn count(&mut self, sequence: u64) {
        self.progress.rows_written += 1;
        let (first, last) = self.written.sequences.unwrap_or((sequence, sequence));
        self.written.sequences = Some((first.min(sequence), last.max(sequence)));
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.progress.bytes_written += bytes.len() as u64;
        self.hash.update(&bytes);
        Ok(self.writer.put(bytes.into()).await.map_err(std::io::Error::from)?)
    }

    /// Makes the file visible, and says what is in it.
    pub async fn finish(mut self) -> Result<(ExportProgress, Written), Failure> {
        self.writer.shutdown().await?;
        let written = Written {
            rows: self.progress.rows_written,
            bytes: self.progress.bytes_written,
            sha256: hex::encode(self.hash.finalize()),
            ..self.written
        };
        Ok((self.progress, written))
    }

    /// Takes back the parts that a bucket may hold already.
    pub async fn abort(mut self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(export = %self.export.id, %error, "cannot abort an upload");
        }
    }
}

/// Hashes of the maximal perfect subtrees over each of some ranges of leaves, one after the other.
async fn skipped(
    store: &Store,
    export: &Export,
    ranges: &[(u64, u64)],
) -> Result<Vec<Hash>, Failure> {
    let nodes = ranges.iter().flat_map(|(start, end)| range_nodes(*start, *end));
    let nodes: Vec<_> = nodes.collect();
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(store.tree_nodes(&export.organization_id, export.tree_size, &nodes).await?)
}
