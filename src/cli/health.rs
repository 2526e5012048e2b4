//! `audit-logs health`.

use anyhow::{Result, bail};
use clap::Args;

use super::server::ServerArguments;
use crate::client::is_serving;

const AFTER_HELP: &str = "\
Asks grpc.health.v1.Health, without a key. Exit code 0 if the answer is SERVING; otherwise 1, and why on
standard error.

Examples:
  audit-logs health
  audit-logs health --server http://10.0.0.7:50051 --service auditlogs.v1.AuditLogs
  audit-logs health --server https://127.0.0.1:50051 --server-name logs.example.com";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// The name in the service's certificate, if it is not that in the URL
    #[arg(long, value_name = "NAME", env = "AUDIT_LOGS_SERVER_NAME")]
    server_name: Option<String>,
    /// One of its gRPC services, such as auditlogs.v1.AuditLogs [default: all]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { server, server_name, service } = arguments;
    // An empty variable is an absent one, as in compose files.
    let name = server_name.as_deref().filter(|name| !name.is_empty());
    if !is_serving(&server.server, &service, &server.trust.read()?, name).await? {
        bail!("{} does not take calls now", server.server);
    }
    println!("SERVING");
    Ok(())
}
