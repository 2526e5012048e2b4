//! Which service a command calls, and how.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::client::Trust;

/// The service, as every command that calls one takes it.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// The service
    #[arg(long, env = "AUDIT_LOGS_SERVER", default_value = "http://127.0.0.1:50051")]
    pub server: String,
    #[command(flatten)]
    pub trust: TrustArguments,
}

/// How the service is known, and the caller to it.
#[derive(Debug, Args)]
pub struct TrustArguments {
    /// Authorities to trust beside those of this host, PEM, if the service has TLS
    #[arg(long, value_name = "FILE", env = "AUDIT_LOGS_CA_CERTIFICATE")]
    ca_certificate: Option<PathBuf>,
    /// Certificate to show, PEM, if the service wants one (mTLS)
    #[arg(long, value_name = "FILE", env = "AUDIT_LOGS_CLIENT_CERTIFICATE")]
    client_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", env = "AUDIT_LOGS_CLIENT_KEY")]
    client_key: Option<PathBuf>,
}

impl TrustArguments {
    /// Reads the files.
    pub fn read(&self) -> Result<Trust> {
        // An empty variable is an absent one, as in compose files.
        let named =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        Trust::read(
            named(&self.ca_certificate).as_deref(),
            named(&self.client_certificate).as_deref(),
            named(&self.client_key).as_deref(),
        )
    }
}
