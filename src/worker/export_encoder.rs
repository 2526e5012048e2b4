//! Encodes the events of an export, on a thread of its own: no call waits behind a piece of it.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::export::Failure;
use crate::{
    domain::export::{Export, ExportCompression, ExportFormat},
    export::{
        csv::CsvEncoder,
        json_lines::{Line, write_line},
        manifest::Written,
    },
    merkle::{Hash, proof::range_nodes},
    store::ExportRows,
};

/// What is added to an event, at most and by far: room that is taken beforehand.
const OVERHEAD: usize = 128;

/// Some events, and the hashes of what was left out before each, one after the other.
pub(super) struct Proved {
    pub rows: ExportRows,
    pub skipped: Vec<Hash>,
}

/// A piece of the file.
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    /// Events in it.
    pub rows: u64,
}

/// Writes the format of an export, compresses and hashes it.
pub(super) struct Encoder {
    format: ExportFormat,
    csv: CsvEncoder,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// First leaf that is not covered yet.
    next: u64,
    hash: Sha256,
    written: Written,
}

impl Encoder {
    pub fn new(export: &Export, csv: CsvEncoder) -> Self {
        let gzip = match export.compression {
            ExportCompression::None => None,
            // The file has neither a name nor a time: the same events make the same bytes.
            ExportCompression::Gzip => Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let (hash, written) = (Sha256::new(), Written::default());
        Self { format: export.format, csv, gzip, next: 0, hash, written }
    }

    /// Encodes what comes, until nothing more does.
    pub fn run(
        mut self,
        mut proved: mpsc::Receiver<Proved>,
        encoded: &mpsc::Sender<Encoded>,
    ) -> Result<Written, Failure> {
        let mut text = Vec::new();
        if self.format == ExportFormat::Csv {
            self.csv.header(&mut text);
        }
        let mut rows = 0;
        loop {
            let next = proved.blocking_recv();
            if let Some(next) = &next {
                self.encode(next, &mut text)?;
                rows = next.rows.iter().len() as u64;
            }
            let is_last = next.is_none();
            let bytes = self.compress(std::mem::take(&mut text), is_last)?;
            self.hash.update(&bytes);
            self.written.bytes += bytes.len() as u64;
            self.written.rows += rows;
            let piece = Encoded { bytes, rows: std::mem::take(&mut rows) };
            if encoded.blocking_send(piece).is_err() || is_last {
                break;
            }
        }
        self.written.sha256 = hex::encode(self.hash.finalize());
        Ok(self.written)
    }

    fn encode(&mut self, proved: &Proved, text: &mut Vec<u8>) -> Result<(), Failure> {
        let rows = proved.rows.iter();
        text.reserve(proved.rows.bytes() + proved.rows.bytes() / 8 + rows.len() * OVERHEAD);
        let mut skipped = &*proved.skipped;
        for row in rows {
            let sequence = row.sequence;
            match self.format {
                ExportFormat::Csv => self.csv.row(text, sequence, row.payload)?,
                ExportFormat::JsonLines => {
                    let nodes = if self.next < sequence {
                        range_nodes(self.next, sequence).len()
                    } else {
                        0
                    };
                    let (before, rest) = skipped.split_at(nodes.min(skipped.len()));
                    skipped = rest;
                    self.next = sequence + 1;
                    let (event, salt, leaf_hash) = (row.payload, row.salt, row.leaf_hash);
                    write_line(text, &Line { sequence, event, salt, leaf_hash, skipped: before });
                }
            }
            let (first, last) = self.written.sequences.unwrap_or((sequence, sequence));
            self.written.sequences = Some((first.min(sequence), last.max(sequence)));
        }
        Ok(())
    }

    fn compress(&mut self, text: Vec<u8>, is_last: bool) -> io::Result<Vec<u8>> {
        let Some(gzip) = &mut self.gzip else { return Ok(text) };
        gzip.write_all(&text)?;
        if is_last {
            gzip.try_finish()?;
        }
        Ok(std::mem::take(gzip.get_mut()))
    }
}
