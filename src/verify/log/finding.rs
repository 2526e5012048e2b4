//! What is wrong with a log.

use std::fmt;

use serde::Serialize;

/// A way in which a log is not what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An event, or what stands beside it, is not as it was.
    Changed,
    /// An event is gone.
    Missing,
    /// There is an event that was not recorded.
    Inserted,
    /// An event is at the place of another.
    Reordered,
    /// The head of the log does not fit its events.
    Head,
    /// A tile does not fit the events, or is missing, or should not be there.
    Tile,
    /// A checkpoint does not fit the log, or was not signed.
    Checkpoint,
    /// Nobody registered the organization.
    Organization,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Head => "head",
            Self::Tile => "tile",
            Self::Checkpoint => "checkpoint",
            Self::Organization => "organization",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which way.
    pub kind: Kind,
    /// The first sequence of which it is true, or may be.
    pub sequence: Option<u64>,
    /// What exactly.
    pub what: String,
    /// How often the same was found again after that sequence.
    pub more: u64,
}

impl Finding {
    pub(super) fn new(kind: Kind, sequence: Option<u64>, what: String) -> Self {
        Self { kind, sequence, what, more: 0 }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(sequence) = self.sequence {
            write!(f, " at sequence {sequence}")?;
        }
        write!(f, ": {}", self.what)?;
        if self.more > 0 {
            write!(f, " (and {} more like this)", self.more)?;
        }
        Ok(())
    }
}

/// The first finding of a sort, and how many followed.
#[derive(Debug, Clone, Default)]
pub struct First(Option<Finding>);

impl First {
    pub fn note(&mut self, finding: Finding) {
        match &mut self.0 {
            Some(first) => first.more += 1,
            None => self.0 = Some(finding),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn into_finding(self) -> Option<Finding> {
        self.0
    }
}
