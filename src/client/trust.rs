//! How a client knows a TLS server, and is known to it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::tls;

/// How a client knows a TLS server, and is known to it. By default it trusts the authorities of this host
/// and shows no certificate.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    ca_certificates: String,
    /// A certificate with those above it, and its private key.
    identity: Option<(String, String)>,
}

impl Trust {
    /// Reads PEM files: further authorities, and a certificate with its private key, which a server that
    /// wants mTLS asks for. An error names the file.
    pub fn read(
        ca_certificates: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Self> {
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            (None, None) => None,
            _ => bail!("a client certificate and its key go together"),
        };
        let ca_certificates = ca_certificates.map(read).transpose()?.unwrap_or_default();
        Ok(Self { ca_certificates, identity })
    }

    /// For gRPC.
    pub(super) fn of_channel(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new().with_native_roots();
        if !self.ca_certificates.is_empty() {
            config = config.ca_certificate(Certificate::from_pem(&self.ca_certificates));
        }
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        config
    }

    /// For downloads.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes it")]
    pub(super) fn http_client(&self) -> Result<reqwest::Client> {
        if self.ca_certificates.is_empty() && self.identity.is_none() {
            return Ok(reqwest::Client::new());
        }
        let identity = self.identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        let config = tls::client_config_as(&self.ca_certificates, identity);
        let config = config.map_err(anyhow::Error::msg)?;
        Ok(reqwest::Client::builder().tls_backend_preconfigured(config).build()?)
    }
}
