//! The tree of a log after a batch, shared by all who asked for a receipt from it.

use std::sync::OnceLock;

use crate::{
    domain::ids::OrganizationId,
    merkle::Growth,
    service::{error::Result, signer::CheckpointSigner},
};

/// The tree of a log after a batch. It is signed once, by whoever asks first, on that caller's task:
/// signing does not hold up the lane, and a batch that nobody wants a receipt from is not signed.
#[derive(Debug)]
pub struct TreeHead {
    organization: OrganizationId,
    growth: Growth,
    checkpoint: OnceLock<String>,
}

impl TreeHead {
    /// What a batch did to a log.
    pub fn new(organization: OrganizationId, growth: Growth) -> Self {
        Self { organization, growth, checkpoint: OnceLock::new() }
    }

    /// The tree before and after the batch, with proofs for its events.
    pub fn growth(&self) -> &Growth {
        &self.growth
    }

    /// The signed checkpoint of the tree after the batch.
    pub fn checkpoint(&self, signer: &CheckpointSigner) -> Result<&str> {
        if let Some(checkpoint) = self.checkpoint.get() {
            return Ok(checkpoint);
        }
        let (size, root) = (self.growth.after().size(), self.growth.root());
        let note = signer.sign(&self.organization, size, root)?;
        // Ed25519 signatures are deterministic: should two callers sign at once, both say the same.
        Ok(self.checkpoint.get_or_init(|| note))
    }
}
