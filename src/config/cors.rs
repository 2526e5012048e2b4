//! Settings for browsers.

use serde::{Deserialize, Serialize};

use super::SettingsError;

/// Whether a text is what browsers send as `Origin` (RFC 6454, section 7), or stands for all.
fn is_origin(text: &str) -> bool {
    text == "*"
        || reqwest::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}

/// Browsers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorsSettings {
    /// Origins whose pages may call gRPC-Web and REST, separated by commas; `*` for all, empty for
    /// none.
    pub allowed_origins: String,
}

impl CorsSettings {
    /// The origins one by one.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.allowed_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty())
    }

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        if !self.origins().all(is_origin) {
            let why = "every origin must be * or like https://example.com, without a path";
            return Err(SettingsError::impossible("cors.allowed_origins", why));
        }
        Ok(())
    }
}
