//! What stands beside the file of an export and says what it is.

use serde::{Deserialize, Serialize};

use crate::domain::{
    export::{Export, ExportCompression},
    filter::EventFilter,
    ids::{ExportId, OrganizationId},
    timestamp::Timestamp,
};

/// The manifest of an export, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Id of the export.
    pub export_id: ExportId,
    /// Whose log.
    pub organization_id: OrganizationId,
    /// How the file is written, `csv` or `json_lines`.
    pub format: String,
    /// How the file is compressed, `none` or `gzip`. Manifests of before there was a choice do not say.
    #[serde(default = "uncompressed")]
    pub compression: String,
    /// Earliest `occurred_at`, inclusive.
    pub range_start: Timestamp,
    /// Latest `occurred_at`, inclusive.
    pub range_end: Timestamp,
    /// Further filters.
    pub filter: EventFilter,
    /// Size of the tree that the export was taken from.
    pub tree_size: u64,
    /// Signed note of the checkpoint of that tree.
    pub checkpoint: String,
    /// Events in the file.
    pub rows: u64,
    /// Bytes of the file as it is stored, compressed if it is.
    pub bytes: u64,
    /// SHA-256 of the same bytes, in hexadecimal.
    pub sha256: String,
    /// Sequence of the first event; with CSV, the lowest.
    pub first_sequence: Option<u64>,
    /// Sequence of the last event; with CSV, the highest.
    pub last_sequence: Option<u64>,
    /// Hashes, in base64, of the subtrees over the leaves after the last event, left to right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// When the export was created.
    pub created_at: Timestamp,
}

fn uncompressed() -> String {
    ExportCompression::None.as_str().to_owned()
}

/// What is known of a file once it is written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Events.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// Lowest and highest sequence.
    pub sequences: Option<(u64, u64)>,
    /// Hashes of the subtrees over the leaves after the last event, in base64.
    pub skipped: Vec<String>,
}

impl Manifest {
    /// The manifest of an export whose file is written, with the signed checkpoint of its tree.
    pub fn new(export: &Export, checkpoint: String, written: Written) -> Self {
        Self {
            export_id: export.id.clone(),
            organization_id: export.organization_id.clone(),
            format: export.format.as_str().to_owned(),
            compression: export.compression.as_str().to_owned(),
            range_start: export.range.start,
            range_end: export.range.end,
            filter: export.filter.clone(),
            tree_size: export.tree_size,
            checkpoint,
            rows: written.rows,
            bytes: written.bytes,
            sha256: written.sha256,
            first_sequence: written.sequences.map(|(first, _)| first),
            last_sequence: written.sequences.map(|(_, last)| last),
            skipped: written.skipped,
            created_at: export.created_at,
        }
    }
}
