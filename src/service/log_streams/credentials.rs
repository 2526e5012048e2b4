//! The secrets of destinations, and where they may be used.

use std::sync::Arc;

use super::{Error, Result};
use crate::{
    domain::{destination::Secrets, log_stream::LogStream},
    forward::{
        self, Egress, Sink,
        vault::{SealError, SecretKeys},
    },
    store::StoredLogStream,
};

/// What a destination is reached with. Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<(SecretKeys, Egress)>);

impl Credentials {
    /// Secrets are encrypted with `keys`; `egress` says which addresses may be dialled.
    pub fn new(keys: SecretKeys, egress: Egress) -> Self {
        Self(Arc::new((keys, egress)))
    }

    fn keys(&self) -> &SecretKeys {
        &self.0.0
    }

    /// Encrypts the secrets of a stream; `None` if there are none.
    pub(super) fn seal(&self, stream: &LogStream, secrets: &Secrets) -> Result<Option<Vec<u8>>> {
        if secrets.is_empty() {
            return Ok(None);
        }
        match self.keys().seal(stream.id.as_str(), secrets) {
            Ok(sealed) => Ok(Some(sealed)),
            Err(SealError::NoKey) => Err(Error::SecretsKeyMissing),
            Err(error) => Err(Error::Internal(error.to_string())),
        }
    }

    /// The secrets of a stream. An error says why they cannot be read.
    pub fn open(&self, stored: &StoredLogStream) -> std::result::Result<Secrets, String> {
        let Some(sealed) = &stored.secrets else { return Ok(Secrets::default()) };
        let opened = self.keys().open(stored.stream.id.as_str(), sealed);
        opened.map_err(|error| error.to_string())
    }

    /// The sealed secrets of the stream with that id anew, if they are not sealed with the current key;
    /// `None` if they are, or cannot be read.
    pub fn resealed(&self, id: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        if !self.keys().is_configured() || self.keys().is_current(sealed) {
            return None;
        }
        let secrets = self.keys().open(id, sealed).ok()?;
        self.keys().seal(id, &secrets).ok()
    }

    /// What sends the events of a stream. An error says why its configuration cannot be used.
    pub fn sink(
        &self,
        stream: &LogStream,
        secrets: &Secrets,
    ) -> std::result::Result<Arc<dyn Sink>, String> {
        forward::open(stream, secrets, &self.0.1)
    }
}
