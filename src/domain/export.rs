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
}

impl ExportState {
    /// The name that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Error => "error",
            Self::Expired => "expired",
        }
    }

    /// The state with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Ready, Self::Error, Self::Expired]
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

/// How far an export has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Events written.
    pub rows_written: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Events in the time range; 0 until counted.
    pub estimated_rows: u64,
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
    /// When it was created.
    pub created_at: Timestamp,
    /// When state or progress last changed.
    pub updated_at: Timestamp,
}
