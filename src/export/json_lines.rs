//! JSON Lines: one event per line, with what proves it.

use std::io::Write;

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

/// Bytes that base64 takes for a hash.
const HASH_BASE64: usize = 44;

/// Appends a line to `out`. The event stands there byte by byte as it was hashed.
pub fn write_line(out: &mut Vec<u8>, line: &Line<'_>) {
    // Writing into a vector does not fail.
    let _ = write!(out, "{{\"sequence\":{},\"event\":", line.sequence);
    out.extend_from_slice(line.event);
    out.extend_from_slice(b",\"salt\":\"");
    base64(out, line.salt);
    out.extend_from_slice(b"\",\"leaf_hash\":\"");
    base64(out, line.leaf_hash);
    out.push(b'"');
    for (index, hash) in line.skipped.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"skipped\":[\"" } else { b",\"" });
        base64(out, hash);
        out.push(b'"');
    }
    out.extend_from_slice(if line.skipped.is_empty() { b"}\n" } else { b"]}\n" });
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut buffer = [0; HASH_BASE64];
    // Only what is longer than a hash has no room there.
    match STANDARD.encode_slice(bytes, &mut buffer) {
        Ok(length) => out.extend_from_slice(&buffer[..length]),
        Err(_) => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_documented() {
        let (event, salt) = (b"{\"a\":1}".as_slice(), [7; 16]);
        let line =
            |skipped| Line { sequence: 12, event, salt: &salt, leaf_hash: &[0; 32], skipped };
        let text = |skipped| {
            let mut out = Vec::new();
            write_line(&mut out, &line(skipped));
            String::from_utf8(out).unwrap()
        };
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let start = format!(
            "{{\"sequence\":12,\"event\":{{\"a\":1}},\"salt\":\"BwcHBwcHBwcHBwcHBwcHBw==\",\
             \"leaf_hash\":\"{zeros}\""
        );
        assert_eq!(text(&[]), format!("{start}}}\n"));
        let skipped = format!("{start},\"skipped\":[\"{zeros}\",\"{zeros}\"]}}\n");
        assert_eq!(text(&[[0; 32], [0; 32]]), skipped);
    }
}
