//! Settings of log streams.

use serde::{Deserialize, Serialize};

use super::{Secret, SettingsError};

const MOST_DELIVERIES: u32 = 256;

/// Log streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogStreamSettings {
    /// Private networks that destinations may be in: CIDRs separated by commas, `*` for all, empty for
    /// none.
    pub allowed_networks: String,
    /// Whether URLs of destinations may begin with `http://`.
    pub allow_http: bool,
    /// How many batches a replica has on their way at once; streams whose last try failed have a
    /// quarter as many of their own.
    pub deliveries: u32,
}

impl Default for LogStreamSettings {
    fn default() -> Self {
        Self { allowed_networks: String::new(), allow_http: false, deliveries: 32 }
    }
}

impl LogStreamSettings {
    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        if !(1..=MOST_DELIVERIES).contains(&self.deliveries) {
            return Err(SettingsError::impossible("log_streams.deliveries", "it must be 1 to 256"));
        }
        Ok(())
    }
}

/// The keys that encrypt the secrets of destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretSettings {
    /// 32 bytes in base64. Without it a destination that has secrets is refused.
    pub key: Option<Secret>,
    /// Earlier keys, separated by commas: what they encrypted is read, and encrypted anew.
    pub previous_keys: Option<Secret>,
}
