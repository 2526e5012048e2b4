//! `audit-logs verify`: checks what the service says, without the service.

mod database;
mod export;
mod export_report;
mod keys;
mod progress;
mod receipt;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::{config::Settings, telemetry};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check receipts, as CreateEvent gives them
    Receipt(receipt::Arguments),
    /// Check a JSON Lines export, line by line
    Export(export::Arguments),
    /// Check every log of the database, event by event
    Database(database::Arguments),
}

/// How a check ended. The numbers are exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Verified = 0,
    /// Nothing can be said.
    Unchecked = 2,
    /// What was checked is not what was recorded. It outweighs what could not be checked.
    Tampered = 1,
}

/// Checks, prints what was found, and gives the exit code. What stands in the way of a check is
/// printed too.
pub async fn run(settings: Result<Settings>, command: Command) -> ExitCode {
    let checked = match settings {
        Ok(settings) => command.run(&settings).await,
        Err(error) => Err(error),
    };
    let verdict = checked.unwrap_or_else(|error| {
        eprintln!("error: could not check: {error:#}");
        Verdict::Unchecked
    });
    ExitCode::from(verdict as u8)
}

impl Command {
    async fn run(self, settings: &Settings) -> Result<Verdict> {
        telemetry::init(settings.log_format, "warn");
        match self {
            Self::Receipt(arguments) => receipt::run(settings, &arguments),
            Self::Export(arguments) => export::run(settings, &arguments).await,
            Self::Database(arguments) => database::run(settings, &arguments).await,
        }
    }
}

impl Verdict {
    /// The worse of two.
    fn and(self, other: Self) -> Self {
        let weight = |verdict| match verdict {
            Self::Verified => 0,
            Self::Unchecked => 1,
            Self::Tampered => 2,
        };
        if weight(self) >= weight(other) { self } else { other }
    }
}

/// The text of a file; `-` is standard input.
fn read_text(path: &Path) -> Result<String> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.with_context(|| format!("cannot read {}", path.display()))
}
