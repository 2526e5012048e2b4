//! `audit-logs man`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_mangen::{Man, generate_to};

use super::Cli;

const AFTER_HELP: &str = "\
Examples:
  audit-logs man | man --local-file -
  audit-logs man --output /usr/local/share/man/man1";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Directory for a page of every command, audit-logs-serve.1 and so on; it is made if need be
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    // Without a page of `help` for each command.
    let command = Cli::command().disable_help_subcommand(true);
    let Some(directory) = &arguments.output else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return super::print(&page);
    };
    let unwritable = || format!("cannot write manual pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(unwritable)?;
    generate_to(command, directory).with_context(unwritable)
}
