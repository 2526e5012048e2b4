//! The log's hashing, after RFC 6962, and the texts and files that prove it, after C2SP. Pure.
//!
//! - [`tree`] keeps the right edge of a tree, [`growth`] says what a batch of leaves does to it,
//!   [`rebuild`] builds one anew;
//! - [`proof`] names the nodes of a proof and checks proofs (RFC 9162);
//! - [`tile`] is where nodes are kept (C2SP tlog-tiles);
//! - [`note`], [`checkpoint`] and [`tlog_proof`] are the signed texts (C2SP signed-note,
//!   tlog-checkpoint and tlog-proof).

pub mod checkpoint;
mod encoding;
pub mod growth;
pub mod key;
pub mod note;
pub mod proof;
pub mod rebuild;
pub mod tile;
pub mod tlog_proof;
pub mod tree;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use growth::Growth;
pub use key::{KeyError, PublicKey, SigningKey, VerifierKey, is_key_name};
pub use note::{Note, NoteError};
pub use proof::{NodeId, ProofError};
pub use tile::{TILE_HEIGHT, TILE_WIDTH, TileId, TileResource};
pub use tlog_proof::{TlogProof, TlogProofError};
pub use tree::Frontier;

use sha2::{Digest, Sha256};

/// A SHA-256 hash: of a leaf, of a node, or of a whole tree.
pub type Hash = [u8; 32];

/// Salt of one event: random bytes that are deleted with it, so that the hash that remains cannot
/// be guessed.
pub type Salt = [u8; 16];

/// Hash of a leaf: SHA-256(0x00 || salt || canonical event) (RFC 6962, section 2.1, with
/// `salt || canonical event` as the leaf's data).
pub fn leaf_hash(salt: &Salt, canonical_event: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(salt);
    hash.update(canonical_event);
    hash.finalize().into()
}

/// Hash of an inner node: SHA-256(0x01 || left || right) (RFC 6962, section 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut data = [0x01; 65];
    data[1..33].copy_from_slice(left);
    data[33..].copy_from_slice(right);
    Sha256::digest(data).into()
}

/// Root of the tree without leaves: SHA-256 of nothing (RFC 6962, section 2.1).
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}
