//! Who signs checkpoints, and under which name.

use std::sync::Arc;

use super::error::{Error, Result};
use crate::{
    domain::ids::OrganizationId,
    merkle::{Checkpoint, Hash, PublicKey, SigningKey, VerifierKey, note},
};

/// Signs the checkpoints of all logs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CheckpointSigner {
    key: Arc<SigningKey>,
    log_name: Arc<str>,
}

impl CheckpointSigner {
    /// Signs with `key`; `log_name` is what every origin starts with.
    pub fn new(key: SigningKey, log_name: &str) -> Self {
        Self { key: Arc::new(key), log_name: log_name.into() }
    }

    /// The origin of an organization's checkpoints, `<log name>/<organization id>`, which is also the
    /// name of the key that signs them (C2SP tlog-checkpoint, section "Signatures").
    pub fn origin(&self, organization: &OrganizationId) -> String {
        format!("{}/{organization}", self.log_name)
    }

    /// The public half of the key.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// What checks this signer's checkpoints of an organization's log.
    pub fn verifier_key(&self, organization: &OrganizationId) -> VerifierKey {
        VerifierKey { name: self.origin(organization), public_key: self.key.public_key() }
    }

    /// Signs the head of a log: the whole note.
    pub fn sign(&self, organization: &OrganizationId, size: u64, root: Hash) -> Result<String> {
        let checkpoint = Checkpoint { origin: self.origin(organization), size, root };
        checkpoint.sign(&self.key).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Signs another text about an organization's log, which must not be one that can be taken for a
    /// checkpoint: the whole note.
    pub fn sign_text(&self, organization: &OrganizationId, text: &str) -> Result<String> {
        note::sign(text, &self.origin(organization), &self.key)
            .map_err(|error| Error::Internal(error.to_string()))
    }
}
