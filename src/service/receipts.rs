//! Receipts: what proves an event later, without the service.

use super::{
    error::{Error, Result},
    lanes::Placed,
    signer::CheckpointSigner,
};
use crate::{
    domain::ids::EventId,
    merkle::{Hash, TlogProof},
    store::{LeafData, PreparedEvent},
};

/// Proves that an event is in its organization's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event; `None` if it was erased.
    pub event_id: Option<EventId>,
    /// Its position, which is the index of its leaf.
    pub sequence: u64,
    /// Hash of its leaf.
    pub leaf_hash: Hash,
    /// What the hash is of; `None` if it was erased.
    pub data: Option<LeafData>,
    /// Signed checkpoint and proof of inclusion in it (C2SP tlog-proof).
    pub tlog_proof: String,
}

/// Copies what a receipt needs of an event that is handed over to be written.
pub fn contents(event: &PreparedEvent) -> LeafData {
    LeafData { salt: event.salt, canonical_event: event.payload.clone() }
}

/// Whether an event was stored just now, so that its tree is in memory.
pub fn is_fresh(placed: &Placed) -> bool {
    placed.tree.is_some() && !placed.appended.duplicate
}

/// The receipt of an event that was just stored, from what its batch left in memory. `None` if it was
/// stored before: then that has to be read.
pub fn fresh(
    signer: &CheckpointSigner,
    placed: &Placed,
    contents: LeafData,
) -> Result<Option<Receipt>> {
    let appended = &placed.appended;
    let Some(tree) = placed.tree.as_ref().filter(|_| is_fresh(placed)) else { return Ok(None) };
    let proof = tree.growth().inclusion_proof(appended.sequence);
    let hashes = proof.ok_or_else(|| Error::Internal("a new event is not in its tree".into()))?;
    let checkpoint = tree.checkpoint(signer)?.to_owned();
    let tlog_proof = TlogProof { extra: None, index: appended.sequence, hashes, checkpoint };
    Ok(Some(Receipt {
        event_id: Some(appended.event_id.clone()),
        sequence: appended.sequence,
        leaf_hash: appended.leaf_hash,
        data: Some(contents),
        tlog_proof: tlog_proof.to_string(),
    }))
}
