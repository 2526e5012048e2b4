//! What stands beside the file of an export and says what it is.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::{
    canonical::canonical_json,
    export::{Export, ExportCompression},
    filter::EventFilter,
    ids::{ExportId, OrganizationId},
    timestamp::Timestamp,
};

/// The manifest of an export, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Id of the export.
    pub export_id: ExportId,
    /// Whose log.
    pub organization_id: OrganizationId,
    /// How the file is written, `csv` or `json_lines`.
    pub format: String,
    /// How the file is compressed, `none` or `gzip`. Manifests of before there was a choice do not say.
    #[serde(default = "uncompressed")]
    pub compression: String,
    /// Earliest `occurred_at`, inclusive.
    pub range_start: Timestamp,
    /// Latest `occurred_at`, inclusive.
    pub range_end: Timestamp,
    /// Further filters.
    pub filter: EventFilter,
    /// Size of the tree that the export was taken from.
    pub tree_size: u64,
    /// Signed note of the checkpoint of that tree.
    pub checkpoint: String,
    /// Events in the file.
    pub rows: u64,
    /// Bytes of the file as it is stored, compressed if it is.
    pub bytes: u64,
    /// SHA-256 of the same bytes, in hexadecimal.
    pub sha256: String,
    /// Sequence of the first event; with CSV, the lowest.
    pub first_sequence: Option<u64>,
    /// Sequence of the last event; with CSV, the highest.
    pub last_sequence: Option<u64>,
    /// Hashes, in base64, of the subtrees over the leaves after the last event, left to right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// When the export was created.
    pub created_at: Timestamp,
}

/// First line of what is signed: no checkpoint starts like that, nor has an origin as its second line.
const SIGNED_AS: &str = "auditlogs.v1 export manifest";
/// The member that has the signature.
const SIGNATURE: &str = "signature";

/// The text whose signed note (C2SP signed-note) is the member `signature` of a manifest: a line that says
/// what it is, the origin of the log's checkpoints, and the base64 of the SHA-256 of the manifest's RFC 8785
/// form without that member. Every other member counts, also those that this program does not know. `None`
/// if the manifest is no JSON object.
pub fn signed_text(origin: &str, manifest: &Value) -> Option<String> {
    let mut unsigned = manifest.as_object()?.clone();
    unsigned.remove(SIGNATURE);
    let bytes = canonical_json(&unsigned).ok()?;
    let digest = STANDARD.encode(Sha256::digest(bytes));
    Some(format!("{SIGNED_AS}\n{origin}\n{digest}\n"))
}

/// The origin in a text that [`signed_text`] made.
pub fn signed_origin(text: &str) -> Option<&str> {
    text.strip_prefix(SIGNED_AS)?.strip_prefix('\n')?.lines().next()
}

/// The signed note in a manifest; manifests of before they were signed have none.
pub fn signature(manifest: &Value) -> Option<&str> {
    manifest.get(SIGNATURE)?.as_str()
}

/// The manifest with its signed note, as it is written.
pub fn with_signature(mut manifest: Value, note: String) -> Value {
    manifest[SIGNATURE] = note.into();
    manifest
}

fn uncompressed() -> String {
    ExportCompression::None.as_str().to_owned()
}

/// What is known of a file once it is written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Events.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// Lowest and highest sequence.
    pub sequences: Option<(u64, u64)>,
    /// Hashes of the subtrees over the leaves after the last event, in base64.
    pub skipped: Vec<String>,
}

impl Manifest {
    /// The manifest of an export whose file is written, with the signed checkpoint of its tree.
    pub fn new(export: &Export, checkpoint: String, written: Written) -> Self {
        Self {
            export_id: export.id.clone(),
            organization_id: export.organization_id.clone(),
            format: export.format.as_str().to_owned(),
            compression: export.compression.as_str().to_owned(),
            range_start: export.range.start,
            range_end: export.range.end,
            filter: export.filter.clone(),
            tree_size: export.tree_size,
            checkpoint,
            rows: written.rows,
            bytes: written.bytes,
            sha256: written.sha256,
            first_sequence: written.sequences.map(|(first, _)| first),
            last_sequence: written.sequences.map(|(_, last)| last),
            skipped: written.skipped,
            created_at: export.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_that_is_signed_is_as_documented() {
        // sha256({"a":1,"b":[]})
        let text = "auditlogs.v1 export manifest\naudit-logs/acme\n\
                    +H5Amem+XnUJTgpPRtPcGKnDdCkxSlokkPt40x5+Fww=\n";
        for manifest in [json!({"b": [], "a": 1}), json!({"signature": "x", "a": 1, "b": []})] {
            let signed = signed_text("audit-logs/acme", &manifest).unwrap();
            assert_eq!((signed.as_str(), signed_origin(text)), (text, Some("audit-logs/acme")));
        }
        assert_eq!(signed_text("audit-logs/acme", &json!([])), None);
        assert_eq!(signed_origin("audit-logs/acme\n7\n"), None);
    }
}
