//! Receipts: what proves an event later, without the service.

use super::{
    error::{Error, Result},
    lanes::Placed,
    signer::CheckpointSigner,
};
use crate::{
    domain::ids::EventId,
    merkle::{Hash, Salt, TlogProof},
    store::PreparedEvent,
};

/// Proves that an event is in its organization's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event.
    pub event_id: EventId,
    /// Its position, which is the index of its leaf.
    pub sequence: u64,
    /// Hash of its leaf.
    pub leaf_hash: Hash,
    /// Salt of the hash.
    pub salt: Salt,
    /// The canonical bytes.
    pub canonical_event: Vec<u8>,
    /// Signed checkpoint and proof of inclusion in it (C2SP tlog-proof).
    pub tlog_proof: String,
}

/// What a receipt needs of an event that is handed over to be written.
#[derive(Debug, Clone)]
pub struct Contents {
    salt: Salt,
    canonical_event: Vec<u8>,
}

impl Contents {
    /// Copies it.
    pub fn of(event: &PreparedEvent) -> Self {
        Self { salt: event.salt, canonical_event: event.payload.clone() }
    }
}

/// The receipt of an event that was just stored, from what its batch left in memory. `None` if it was
/// stored before: then that has to be read.
pub fn fresh(
    signer: &CheckpointSigner,
    placed: &Placed,
    contents: Contents,
) -> Result<Option<Receipt>> {
    let appended = &placed.appended;
    let Some(tree) = placed.tree.as_ref().filter(|_| !appended.duplicate) else { return Ok(None) };
    let proof = tree.growth().inclusion_proof(appended.sequence);
    let hashes = proof.ok_or_else(|| Error::Internal("a new event is not in its tree".into()))?;
    let checkpoint = tree.checkpoint(signer)?.to_owned();
    let tlog_proof = TlogProof { extra: None, index: appended.sequence, hashes, checkpoint };
    Ok(Some(Receipt {
        event_id: appended.event_id.clone(),
        sequence: appended.sequence,
        leaf_hash: appended.leaf_hash,
        salt: contents.salt,
        canonical_event: contents.canonical_event,
        tlog_proof: tlog_proof.to_string(),
    }))
}
