//! `audit-logs backup`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::{config::Settings, signing_key, store::back_up, telemetry};

const AFTER_HELP: &str = "\
The copy is the database as it was at one moment; the service goes on meanwhile. To restore, stop the
service and put the copy where the database was, without the files beside it that end in -wal and -shm.
Check a copy like the database itself:
  audit-logs verify database --database-url sqlite://copy.db --since checkpoint

PostgreSQL has its own tools: docs/backup.md tells how.

Example:
  audit-logs backup --output /backups/audit-logs-2026-11-21.db";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

pub async fn run(settings: &Settings, arguments: Arguments) -> Result<()> {
    telemetry::init(settings.log_format, "warn");
    let output = arguments.output;
    let bytes = back_up(&settings.database_url(), &output).await;
    let bytes = bytes.context("cannot back up the database")?;
    println!("Copied the database to {}, {bytes} bytes.", output.display());
    println!("Not in it, and to be kept too:");
    println!("  {}, which signs checkpoints", signing_key::path(settings).display());
    if settings.secrets.key.is_some() {
        println!("  secrets.key, which decrypts the secrets of log streams, where the copy is not");
    }
    println!("  the files of exports in {}, unless they are made again", settings.export_url()?);
    Ok(())
}
