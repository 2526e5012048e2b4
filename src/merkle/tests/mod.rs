//! Tests of the module against published vectors and other implementations.

use super::*;

/// From `printf '\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1{}' | sha256sum`.
#[test]
fn leaf_hash_is_the_documented_one() {
    let expected = "8fd4774446fdaa8869afd10052c1fd1bd3c6b9eb6581b3f3f6022630c6dfb1fd";
    assert_eq!(hex::encode(leaf_hash(&[1; 16], b"{}")), expected);
}
