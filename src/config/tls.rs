//! Settings of TLS on the listener.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Settings, SettingsError};

/// TLS on the listener. All files are PEM, and are read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The certificate of the server, followed by those between it and a root.
    pub cert: Option<PathBuf>,
    /// Its private key, not encrypted.
    pub key: Option<PathBuf>,
    /// The authorities of clients: with it each must show a certificate (mTLS).
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// Whether connections are encrypted.
    pub const fn is_on(&self) -> bool {
        self.cert.is_some()
    }

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let impossible = |key, why| Err(SettingsError::impossible(key, why));
        match (&self.cert, &self.key, &self.client_ca) {
            (Some(_), None, _) => impossible("tls.key", "it is missing, and tls.cert is set"),
            (None, Some(_), _) => impossible("tls.cert", "it is missing, and tls.key is set"),
            (None, None, Some(_)) => {
                impossible("tls.client_ca", "it needs tls.cert and tls.key beside it")
            }
            _ => Ok(()),
        }
    }
}

impl Settings {
    /// Refuses to serve keys and events in the clear to a network.
    pub fn check_plaintext(&self) -> Result<(), SettingsError> {
        if self.tls.is_on() || self.insecure_plaintext || self.listen.ip().is_loopback() {
            return Ok(());
        }
        let why = format!(
            "{} is no loopback address, and without TLS everybody on the way reads keys and events: set \
             tls.cert and tls.key, or listen on 127.0.0.1, or, where something in front of the service \
             encrypts, set insecure_plaintext (--insecure-plaintext)",
            self.listen
        );
        Err(SettingsError::impossible("listen", &why))
    }
}
