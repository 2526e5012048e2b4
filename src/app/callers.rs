//! What the settings say about those who call.

use anyhow::{Context, Result};

use crate::{config::Settings, transport::origin::TrustedProxies};

/// The proxies whose word about a client's address is taken.
pub fn trusted_proxies(settings: &Settings) -> Result<TrustedProxies> {
    TrustedProxies::parse(&settings.trusted_proxies)
        .map_err(anyhow::Error::msg)
        .context("the setting trusted_proxies cannot be used")
}
