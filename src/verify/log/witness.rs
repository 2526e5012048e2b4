//! Checkpoints as witnesses of what a log was.

use super::{Finding, Kind};
use crate::{domain::ids::OrganizationId, merkle::Hash, store::CheckpointRow, verify::TrustedKeys};

/// What a believed checkpoint says of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Events that the log had.
    pub size: u64,
    /// Root of its tree.
    pub root: Hash,
    /// Which checkpoint, in words.
    pub name: String,
}

/// The witness that a row of `checkpoints` is, if a trusted key signed it and its columns say what
/// the note says.
pub fn witness_of(
    row: &CheckpointRow,
    organization: &OrganizationId,
    keys: &TrustedKeys,
) -> Result<Witness, Finding> {
    let wrong = |what: String| {
        let sequence = u64::try_from(row.size).unwrap_or(0);
        let what = format!("the stored checkpoint of {} events: {what}", row.size);
        Finding::new(Kind::Checkpoint, Some(sequence), what)
    };
    let signed = keys.open(&row.note, organization).map_err(|error| wrong(error.to_string()))?;
    let (size, root) = (signed.checkpoint.size, signed.checkpoint.root);
    if u64::try_from(row.size) != Ok(size) || row.root != root {
        return Err(wrong("size and root beside the signed note are not those in it".to_owned()));
    }
    Ok(Witness { size, root, name: format!("the stored checkpoint of {size} events") })
}
