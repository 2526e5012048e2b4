//! From an event that may be recorded to what a lane writes.

use rand::RngExt;

use super::error::{Error, Result};
use crate::{
    domain::{
        canonical::canonical_event,
        event::{Event, LoggedEvent},
        idempotency::IdempotencyKey,
        ids::{EventId, OrganizationId},
        limits,
        timestamp::Timestamp,
        violation::{Reason, Violation},
    },
    merkle,
    store::{EventColumns, PreparedEvent},
};

/// Gives the event its id, makes it canonical and hashes it. Fails if it is too large.
pub(super) fn prepared(
    organization_id: OrganizationId,
    event: Event,
    created_at: Timestamp,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<PreparedEvent> {
    let (id, salt) = {
        let mut random = rand::rng();
        (EventId::generate(created_at, &mut random), random.random())
    };
    let logged = LoggedEvent { id, organization_id, created_at, event };
    let payload = canonical_event(&logged).map_err(|error| Error::Internal(error.to_string()))?;
    if payload.len() > limits::EVENT_BYTES {
        let description = format!("an event must have at most {} bytes", limits::EVENT_BYTES);
        return Err(vec![Violation::new("event", Reason::TooLarge, description)].into());
    }
    let LoggedEvent { id, organization_id, event, .. } = logged;
    let leaf_hash = merkle::leaf_hash(&salt, &payload);
    Ok(PreparedEvent {
        organization_id,
        id,
        created_at,
        columns: EventColumns::of(event),
        payload,
        salt,
        leaf_hash,
        idempotency_key,
    })
}
