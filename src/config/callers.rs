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

/// API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// How many unknown or revoked keys may be sent from one address (IPv6: one /64) a minute; 0 for no
    /// limit.
    pub refused_per_minute: u32,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self { refused_per_minute: 60 }
    }
}
