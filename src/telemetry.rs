//! The log of the process.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to standard error: text on a terminal, JSON otherwise, unless `format` says.
/// `RUST_LOG` selects what is logged; `default_filter` applies where it is not set.
pub fn init(format: LogFormat, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default_filter.into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let json = match format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // Fails only where a log was started already, which then goes on.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
