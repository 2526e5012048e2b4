//! JSON Lines: one event per line, with what proves it.

use base64::{Engine, engine::general_purpose::STANDARD};

/// An event with what its leaf is made of.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Position in the log.
    pub sequence: u64,
    /// The canonical bytes.
    pub event: &'a [u8],
    /// Salt of the leaf.
    pub salt: &'a [u8],
    /// Hash of the leaf.
    pub leaf_hash: &'a [u8; 32],
    /// Hashes of the subtrees over the leaves that were left out before it.
    pub skipped: &'a [[u8; 32]],
}

/// Appends a line to `out`. The event stands there byte by byte as it was hashed.
pub fn write_line(out: &mut Vec<u8>, line: &Line<'_>) {
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    out.extend(format!("{{\"sequence\":{},\"event\":", line.sequence).bytes());
    out.extend(line.event);
    let (salt, leaf_hash) = (encode(line.salt), encode(line.leaf_hash));
    out.extend(format!(",\"salt\":\"{salt}\",\"leaf_hash\":\"{leaf_hash}\"").bytes());
    if !line.skipped.is_empty() {
        let skipped: Vec<_> =
            line.skipped.iter().map(|hash| format!("\"{}\"", encode(hash))).collect();
        out.extend(format!(",\"skipped\":[{}]", skipped.join(",")).bytes());
    }
    out.extend(b"}\n");
}
