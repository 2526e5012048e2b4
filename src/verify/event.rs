//! The canonical form of one event, and what must agree with it.

use thiserror::Error;

use crate::{
    domain::{canonical::canonical_json, event::LoggedEvent, ids::OrganizationId},
    merkle::{Hash, Salt, leaf_hash},
    store::StoredEvent,
};

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventFault {
    /// A hash or a salt has another length.
    #[error("{what} has {actual} bytes instead of {expected}")]
    WrongLength {
        /// Of what.
        what: &'static str,
        /// Bytes that there are.
        actual: usize,
        /// Bytes that there should be.
        expected: usize,
    },
    /// Salt and bytes do not belong to the leaf hash.
    #[error("salt and event do not hash to the leaf hash")]
    WrongHash,
    /// The bytes are no event.
    #[error("the event cannot be read: {0}")]
    Unreadable(String),
    /// The bytes are an event, written in another way than RFC 8785's.
    #[error("the event is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// The event belongs to another log.
    #[error("the event is of the organization {0}")]
    OtherOrganization(OrganizationId),
    /// A column differs from the one in it.
    #[error("the column {0} is not what the event says")]
    Differs(&'static str),
    /// Some of the event is erased and some is not.
    #[error("the event is half erased: {0}")]
    HalfErased(&'static str),
}

/// Reads the canonical bytes of an event: RFC 8785 JSON of exactly the members that an event has.
pub fn read_canonical(bytes: &[u8]) -> Result<LoggedEvent, EventFault> {
    let unreadable = |error: serde_json::Error| EventFault::Unreadable(error.to_string());
    let logged: LoggedEvent = serde_json::from_slice(bytes).map_err(unreadable)?;
    // In the general way, not in the one that wrote it: then neither vouches for itself.
    if canonical_json(&logged).map_err(unreadable)? == bytes {
        Ok(logged)
    } else {
        Err(EventFault::NotCanonical)
    }
}

/// Hash of the leaf that salt and canonical bytes make.
pub fn leaf_of(salt: &[u8], canonical_event: &[u8]) -> Result<Hash, EventFault> {
    let salt: &Salt =
        salt.try_into().map_err(|_| wrong_length("the salt", salt, size_of::<Salt>()))?;
    Ok(leaf_hash(salt, canonical_event))
}

/// The bytes of a hash.
pub fn hash_of(what: &'static str, bytes: &[u8]) -> Result<Hash, EventFault> {
    bytes.try_into().map_err(|_| wrong_length(what, bytes, size_of::<Hash>()))
}

fn wrong_length(what: &'static str, bytes: &[u8], expected: usize) -> EventFault {
    EventFault::WrongLength { what, actual: bytes.len(), expected }
}

/// A row of `events` that was checked by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedEvent {
    /// Its position.
    pub sequence: i64,
    /// The leaf that it is in the tree. If the row does not have one, that of its salt and payload, if
    /// it has those.
    pub leaf: Option<Hash>,
    /// Whether the row is that of an erased event: the leaf hash is all that is left.
    pub erased: bool,
    /// What is wrong with it.
    pub fault: Option<EventFault>,
}

impl CheckedEvent {
    /// Checks a row of an organization's log by itself: that salt and payload make its leaf hash, that
    /// the payload is canonical and of that organization, and that the searchable columns agree with
    /// it.
    pub fn new(organization: &OrganizationId, row: &StoredEvent) -> Self {
        let stored = hash_of("the leaf hash", &row.leaf_hash);
        let leaf = stored.clone().or_else(|_| leaf_of(&row.salt, &row.payload)).ok();
        let erased = row.payload.is_empty() && row.salt.is_empty();
        let checked = stored.and_then(|leaf| {
            if erased { check_erased(row) } else { check_whole(organization, row, leaf) }
        });
        Self { sequence: row.sequence, leaf, erased, fault: checked.err() }
    }
}

fn check_whole(
    organization: &OrganizationId,
    row: &StoredEvent,
    leaf: Hash,
) -> Result<(), EventFault> {
    if row.payload.is_empty() {
        return Err(EventFault::HalfErased("the salt is still there"));
    }
    if row.salt.is_empty() {
        return Err(EventFault::HalfErased("the payload is still there"));
    }
    if leaf_of(&row.salt, &row.payload)? != leaf {
        return Err(EventFault::WrongHash);
    }
    let logged = read_canonical(&row.payload)?;
    if logged.organization_id != *organization {
        return Err(EventFault::OtherOrganization(logged.organization_id));
    }
    row.differing_column(&logged).map_or(Ok(()), |column| Err(EventFault::Differs(column)))
}

fn check_erased(row: &StoredEvent) -> Result<(), EventFault> {
    let searchable = [&row.action, &row.actor_id, &row.target_types, &row.target_ids];
    if row.actor_name.is_some() || searchable.iter().any(|column| !column.is_empty()) {
        return Err(EventFault::HalfErased("searchable columns are still there"));
    }
    Ok(())
}
