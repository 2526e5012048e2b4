//! `audit-logs completions`.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;

const AFTER_HELP: &str = "\
Examples:
  audit-logs completions bash > /etc/bash_completion.d/audit-logs
  audit-logs completions zsh > /usr/local/share/zsh/site-functions/_audit-logs
  audit-logs completions fish > ~/.config/fish/completions/audit-logs.fish";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut Cli::command(), "audit-logs", &mut script);
    super::print(&script)
}
