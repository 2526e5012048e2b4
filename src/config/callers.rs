//! Settings about those who call.

use serde::{Deserialize, Serialize};

/// The system log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemLogSettings {
    /// Whether reads of events and downloads of exports are recorded. Changes always are.
    pub reads: bool,
}

impl Default for SystemLogSettings {
    fn default() -> Self {
        Self { reads: true }
    }
}
