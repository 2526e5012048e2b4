//! The command line: one file per subcommand.

mod backup;
mod bench;
mod completions;
mod demo;
mod export;
mod health;
mod keys;
mod man;
mod migrate;
mod serve;
mod server;
mod tail;
mod times;
mod verify;

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::config::{Flags, Settings, load};

/// A self-hosted audit-log service: who did what to which resource, when, from where.
#[derive(Debug, Parser)]
#[command(
    name = "audit-logs",
    version,
    after_help = "Start here:\n  audit-logs demo          put sample events in, get a CSV out\n  \
                  audit-logs serve         run the service; prints the first API key once\n\n\
                  Settings come from flags, then AUDIT_LOGS_* variables, then audit-logs.toml."
)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Arguments),
    /// Bring the database's schema up to date
    Migrate,
    /// Make, list and revoke API keys, directly in the database
    #[command(subcommand)]
    Keys(keys::Command),
    /// Export events of a running service to a file: CSV or JSON Lines
    Export(export::Arguments),
    /// Watch the events of a running service as they come
    Tail(tail::Arguments),
    /// Check receipts and logs against their Merkle trees, without the service
    #[command(subcommand)]
    Verify(verify::Command),
    /// Copy the SQLite database of a running service to a file
    Backup(backup::Arguments),
    /// Ask a running service whether it takes calls
    Health(health::Arguments),
    /// Put CloudTrail records in, get a CSV out: the whole service in one go
    Demo(demo::Arguments),
    /// Measure the service beside what the database and the wire allow
    Bench(bench::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
    /// Print the manual page, or write those of all commands
    Man(man::Arguments),
}

/// Runs a command and gives the exit code of one that did what it was asked to do.
pub async fn run(cli: Cli) -> Result<ExitCode> {
    let settings = || settings(&cli.flags);
    match cli.command {
        Command::Serve(arguments) => serve::run(settings()?, arguments).await,
        Command::Migrate => migrate::run(&settings()?).await,
        Command::Keys(command) => keys::run(&settings()?, command).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Tail(arguments) => tail::run(arguments).await,
        Command::Verify(command) => return Ok(verify::run(settings(), command).await),
        Command::Backup(arguments) => backup::run(&settings()?, arguments).await,
        Command::Health(arguments) => health::run(arguments).await,
        Command::Demo(arguments) => demo::run(settings()?, &cli.flags, arguments).await,
        Command::Bench(arguments) => bench::run(&cli.flags, arguments).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn settings(flags: &Flags) -> Result<Settings> {
    load(flags, std::env::vars()).context("the settings cannot be used")
}

/// Prints what was made. Who reads it may have seen enough, such as `head`.
fn print(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
