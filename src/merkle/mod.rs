//! The log's hashing, after RFC 6962. Pure.

use sha2::{Digest, Sha256};

/// Salt of one event: random bytes that are deleted with it, so that the hash that remains cannot
/// be guessed.
pub type Salt = [u8; 16];

/// Hash of a leaf: SHA-256(0x00 || salt || canonical event) (RFC 6962, section 2.1, with
/// `salt || canonical event` as the leaf's data).
pub fn leaf_hash(salt: &Salt, canonical_event: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(salt);
    hash.update(canonical_event);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `printf '\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1{}' | sha256sum`.
    #[test]
    fn leaf_hash_is_the_documented_one() {
        let expected = "8fd4774446fdaa8869afd10052c1fd1bd3c6b9eb6581b3f3f6022630c6dfb1fd";
        assert_eq!(hex::encode(leaf_hash(&[1; 16], b"{}")), expected);
    }
}
