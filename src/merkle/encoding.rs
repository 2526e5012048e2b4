//! How C2SP texts write numbers and bytes: in exactly one way each, so that two parsers never see
//! different things in one text.

use super::Hash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Standard base64 with padding (RFC 4648, section 4).
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes of standard base64; `None` unless it is what [`to_base64`] writes.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Hash in base64; `None` unless it is what [`to_base64`] writes for 32 bytes.
pub(super) fn hash_from_base64(text: &str) -> Option<Hash> {
    from_base64(text)?.try_into().ok()
}

/// ASCII decimal without sign or leading zeros; `None` for any other text and above 64 bits.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    // The standard library also takes "+7" and "007".
    (number.to_string() == text).then_some(number)
}
