//! Export jobs.

use super::{
    filter::{EventFilter, ExportRange},
    ids::{EnvironmentId, ExportId, OrganizationId},
    timestamp::Timestamp,
};

/// Where an export is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportState {
    /// Waiting for a worker, or being written.
    Pending,
    /// Complete.
    Ready,
    /// Given up.
    Error,
    /// Purged.
    Expired,
    /// Called off before it was complete.
    Cancelled,
}

impl ExportState {
    /// The name that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Error => "error",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Ready, Self::Error, Self::Expired, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// How the file of an export is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// For people and spreadsheets.
    #[default]
    Csv,
    /// For programs: every line can be proved.
    JsonLines,
}

impl ExportFormat {
    /// The name that is stored, and that manifests have.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "json_lines",
        }
    }

    /// The format with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Csv, Self::JsonLines].into_iter().find(|format| format.as_str() == name)
    }

    /// What the name of a file ends with.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }
}

/// How the file of an export is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExportCompression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
}

impl ExportCompression {
    /// The name that is stored, and that manifests have.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }

    /// The compression with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip].into_iter().find(|known| known.as_str() == name)
    }
}

/// How far an export has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Events written.
    pub rows_written: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Events that there will be, as far as is known; never fewer than were written. 0 until a worker
    /// has begun.
    pub estimated_rows: u64,
    /// Whether there may be fewer than that.
    pub is_upper_bound: bool,
}

/// What an attempt that did not end may have left in the export store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// Number of the attempt.
    pub attempt: u64,
    /// The bucket's name of its upload in parts, if there was one.
    pub upload: Option<String>,
}

/// A job that writes a range of a log to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Id.
    pub id: ExportId,
    /// Environment of the key that created it.
    pub environment_id: EnvironmentId,
    /// Whose log.
    pub organization_id: OrganizationId,
    /// State.
    pub state: ExportState,
    /// How the file is written.
    pub format: ExportFormat,
    /// How the file is compressed.
    pub compression: ExportCompression,
    /// Size of the log when the export was created; only events below it are exported.
    pub tree_size: u64,
    /// Time range.
    pub range: ExportRange,
    /// Further filters.
    pub filter: EventFilter,
    /// Progress.
    pub progress: ExportProgress,
    /// Why it was given up.
    pub error: Option<String>,
    /// Secret that signs its download links. One per export: nothing is shared between replicas but
    /// the row, and no link outlives it.
    pub download_secret: Vec<u8>,
    /// How often a worker took it. Each attempt writes a file of its own, so that a worker that was
    /// given up cannot touch what its successor wrote.
    pub attempt: u64,
    /// How many attempts failed for a reason that may be the export's own.
    pub failures: u64,
    /// What must be taken back before the next attempt, or once the export has ended.
    pub remains: Option<Remains>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When state or progress last changed.
    pub updated_at: Timestamp,
}

impl Export {
    /// What the name of the file ends with.
    pub fn extension(&self) -> String {
        let format = self.format.extension();
        match self.compression {
            ExportCompression::None => format.to_owned(),
            ExportCompression::Gzip => format!("{format}.gz"),
        }
    }

    /// Media type of the file.
    pub const fn content_type(&self) -> &'static str {
        match (self.compression, self.format) {
            (ExportCompression::Gzip, _) => "application/gzip",
            (ExportCompression::None, ExportFormat::Csv) => "text/csv; charset=utf-8",
            (ExportCompression::None, ExportFormat::JsonLines) => "application/jsonl",
        }
    }
}
