//! Receipts, from the JSON form of `auditlogs.v1.Receipt`.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    event::{EventFault, hash_of, leaf_of, read_canonical},
    keys::{Distrust, Signed, TrustedKeys},
};
use crate::{
    domain::ids::{EventId, OrganizationId},
    merkle::{ProofError, TlogProof, TlogProofError, proof::verify_inclusion},
};

/// A receipt as it was read. Nothing in it is to be believed before it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event that it claims to be of.
    pub event_id: EventId,
    /// The position that it claims.
    pub sequence: u64,
    leaf_hash: Vec<u8>,
    salt: Vec<u8>,
    canonical_event: Vec<u8>,
    tlog_proof: String,
}

/// Why a text has no receipts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoReceipt {
    /// The text is no JSON.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// There is JSON, and no receipt in it.
    #[error("there is no receipt in it; ask for one with \"receipt\": true in CreateEvent")]
    Absent,
    /// A member of a receipt is missing or of another type.
    #[error("the member {0} of a receipt is missing or malformed")]
    Member(&'static str),
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The event.
    pub event_id: EventId,
    /// Whose log has it.
    pub organization_id: OrganizationId,
    /// Its position in the log.
    pub sequence: u64,
    /// The tree that it is in.
    pub tree: Signed,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unproven {
    /// Salt, event and leaf hash do not belong together.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// The event is another one than the receipt says.
    #[error("the receipt is of {claimed}, but the event in it is {actual}")]
    OtherEvent {
        /// Id beside the event.
        claimed: EventId,
        /// Id in the event.
        actual: EventId,
    },
    /// The proof is of another leaf than the receipt says.
    #[error("the receipt says sequence {claimed}, but its proof is of {actual}")]
    OtherSequence {
        /// Beside the proof.
        claimed: u64,
        /// In the proof.
        actual: u64,
    },
    /// The proof is none.
    #[error("tlog_proof: {0}")]
    Malformed(#[from] TlogProofError),
    /// The checkpoint is not to be believed, or of another log.
    #[error(transparent)]
    Checkpoint(#[from] Distrust),
    /// The leaf is not at that place of the tree.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

impl Unproven {
    /// Whether the receipt may be sound, only that no key for its log is at hand.
    pub fn lacks_key(&self) -> bool {
        matches!(self, Self::Checkpoint(Distrust::NoKey(_)))
    }
}

/// Reads the receipts in a JSON text, in their order: receipts by themselves or within responses of
/// the service, one or many, in arrays or one after the other. Names of members may be in camelCase
/// or snake_case, bytes in any base64 (proto3 JSON mapping).
pub fn read(text: &str) -> Result<Vec<Receipt>, NoReceipt> {
    let mut receipts = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document.map_err(|error| NoReceipt::Json(error.to_string()))?;
        collect(&document, &mut receipts)?;
    }
    if receipts.is_empty() { Err(NoReceipt::Absent) } else { Ok(receipts) }
}

/// Finds receipts, whatever they are in.
fn collect(value: &Value, receipts: &mut Vec<Receipt>) -> Result<(), NoReceipt> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, receipts)),
        Value::Object(members) if member(members, "tlogProof", "tlog_proof").is_some() => {
            receipts.push(Receipt::from_members(members)?);
            Ok(())
        }
        Value::Object(members) => members.values().try_for_each(|value| collect(value, receipts)),
        _ => Ok(()),
    }
}

fn member<'a>(members: &'a Map<String, Value>, camel: &str, snake: &str) -> Option<&'a Value> {
    members.get(camel).or_else(|| members.get(snake))
}

/// Standard base64, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn bytes(value: Option<&Value>, name: &'static str) -> Result<Vec<u8>, NoReceipt> {
    // A reader of proto3 JSON takes the URL-safe alphabet too.
    let text = value.and_then(Value::as_str).map(|text| text.replace('-', "+").replace('_', "/"));
    text.and_then(|text| BASE64.decode(text).ok()).ok_or(NoReceipt::Member(name))
}

impl Receipt {
    fn from_members(members: &Map<String, Value>) -> Result<Self, NoReceipt> {
        let text = |camel, snake| {
            let value = member(members, camel, snake).and_then(Value::as_str);
            value.map(str::to_owned).ok_or(NoReceipt::Member(snake))
        };
        // 64-bit numbers are strings in proto3 JSON, and a default value may be left out.
        let sequence = match members.get("sequence") {
            None => Some(0),
            Some(Value::String(digits)) => digits.parse().ok(),
            Some(number) => number.as_u64(),
        };
        Ok(Self {
            event_id: EventId::from_stored(text("eventId", "event_id")?),
            sequence: sequence.ok_or(NoReceipt::Member("sequence"))?,
            leaf_hash: bytes(member(members, "leafHash", "leaf_hash"), "leaf_hash")?,
            salt: bytes(members.get("salt"), "salt")?,
            canonical_event: bytes(
                member(members, "canonicalEvent", "canonical_event"),
                "canonical_event",
            )?,
            tlog_proof: text("tlogProof", "tlog_proof")?,
        })
    }

    /// The organization that the event in it names; not to be believed yet.
    pub fn organization(&self) -> Option<OrganizationId> {
        Some(read_canonical(&self.canonical_event).ok()?.organization_id)
    }

    /// Checks everything: that leaf hash, salt and event belong together, that the event is canonical
    /// and the one claimed, that a trusted key signed the checkpoint of its organization's log, and
    /// that the leaf is in that tree.
    pub fn check(&self, keys: &TrustedKeys) -> Result<Proven, Unproven> {
        let leaf = hash_of("the leaf hash", &self.leaf_hash)?;
        if leaf_of(&self.salt, &self.canonical_event)? != leaf {
            return Err(EventFault::WrongHash.into());
        }
        let logged = read_canonical(&self.canonical_event)?;
        if logged.id != self.event_id {
            let (claimed, actual) = (self.event_id.clone(), logged.id);
            return Err(Unproven::OtherEvent { claimed, actual });
        }
        let proof = TlogProof::parse(&self.tlog_proof)?;
        if proof.index != self.sequence {
            let (claimed, actual) = (self.sequence, proof.index);
            return Err(Unproven::OtherSequence { claimed, actual });
        }
        let tree = keys.open(&proof.checkpoint, &logged.organization_id)?;
        let (size, root) = (tree.checkpoint.size, &tree.checkpoint.root);
        verify_inclusion(&leaf, proof.index, size, &proof.hashes, root)?;
        Ok(Proven {
            event_id: logged.id,
            organization_id: logged.organization_id,
            sequence: self.sequence,
            tree,
        })
    }
}
