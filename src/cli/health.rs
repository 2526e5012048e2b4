//! `audit-logs health`.

use anyhow::{Result, bail};
use clap::Args;

use crate::client::is_serving;

const AFTER_HELP: &str = "\
Asks grpc.health.v1.Health, without a key. Exit code 0 if the answer is SERVING; otherwise 1, and why on
standard error.

Examples:
  audit-logs health
  audit-logs health --server http://10.0.0.7:50051 --service auditlogs.v1.AuditLogs";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The service
    #[arg(long, env = "AUDIT_LOGS_SERVER", default_value = "http://127.0.0.1:50051")]
    server: String,
    /// One of its gRPC services, such as auditlogs.v1.AuditLogs [default: all]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    if !is_serving(&arguments.server, &arguments.service).await? {
        bail!("{} does not take calls now", arguments.server);
    }
    println!("SERVING");
    Ok(())
}
