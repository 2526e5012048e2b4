//! Rows as the peers store them: the columns of the service's own tables, filled as it fills them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::{Result, anyhow};
use rand::RngExt;

use super::sample::Sample;
use crate::{
    domain::{
        canonical::{canonical_event, canonical_sent_event},
        clock::{Clock, SystemClock},
        event::LoggedEvent,
        idempotency::IdempotencyKey,
        ids::{EnvironmentId, EventId, OrganizationId},
        schema_check::TargetRule,
    },
    merkle,
};

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// 64-bit integer.
    Integer,
    /// Bytes.
    Bytes,
}

/// A column that a peer fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: Kind,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// Text.
    Text(&'a str),
    /// 64-bit integer.
    Integer(i64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A row of one of the service's tables, by column.
pub trait Table {
    /// The value in a column; `None` if the peers know no such column.
    fn known(&self, column: &str) -> Option<Cell<'_>>;

    /// The value in a column. One that the schema got later and that cannot be NULL has the zero of
    /// its type.
    fn cell(&self, column: &Column) -> Cell<'_> {
        self.known(&column.name).unwrap_or(match column.kind {
            Kind::Text => Cell::Text(""),
            Kind::Integer => Cell::Integer(0),
            Kind::Bytes => Cell::Bytes(b""),
        })
    }
}

/// A row of `events`, and its idempotency key.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// Whose log.
    pub organization_id: String,
    /// Position in the log.
    pub sequence: i64,
    /// Key under which a repetition is recognized.
    pub key: Option<[u8; 16]>,
    id: String,
    action: String,
    occurred_at: i64,
    created_at: i64,
    actor_id: String,
    actor_name: String,
    target_types: String,
    target_ids: String,
    payload: Vec<u8>,
    salt: [u8; 16],
    leaf_hash: [u8; 32],
}

impl Table for Event {
    fn known(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "organization_id" => Cell::Text(&self.organization_id),
            "sequence" => Cell::Integer(self.sequence),
            "id" => Cell::Text(&self.id),
            "action" => Cell::Text(&self.action),
            "version" => Cell::Integer(1),
            "occurred_at" => Cell::Integer(self.occurred_at),
            "created_at" => Cell::Integer(self.created_at),
            "actor_id" => Cell::Text(&self.actor_id),
            "actor_name" if self.actor_name.is_empty() => Cell::Null,
            "actor_name" => Cell::Text(&self.actor_name),
            "target_types" => Cell::Text(&self.target_types),
            "target_ids" => Cell::Text(&self.target_ids),
            "payload" => Cell::Bytes(&self.payload),
            "salt" => Cell::Bytes(&self.salt),
            "leaf_hash" => Cell::Bytes(&self.leaf_hash),
            _ => return None,
        })
    }
}

/// The row of `idempotency_keys` that belongs to an event.
pub struct KeyOf<'a>(pub &'a Event);

impl Table for KeyOf<'_> {
    fn known(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "organization_id" => Cell::Text(&self.0.organization_id),
            "key" => self.0.key.as_ref().map_or(Cell::Null, |key| Cell::Bytes(key)),
            "sequence" => Cell::Integer(self.0.sequence),
            "created_at" => Cell::Integer(self.0.created_at),
            _ => return None,
        })
    }
}

/// The row of `log_heads` of an empty log.
pub struct EmptyHead<'a>(pub &'a str);

impl Table for EmptyHead<'_> {
    fn known(&self, column: &str) -> Option<Cell<'_>> {
        (column == "organization_id").then_some(Cell::Text(self.0))
    }
}

/// Names that [`Table::known`] knows of the three tables; other columns are left out if they may be.
pub const KNOWN: [&str; 17] = [
    "organization_id",
    "sequence",
    "id",
    "action",
    "version",
    "occurred_at",
    "created_at",
    "actor_id",
    "actor_name",
    "target_types",
    "target_ids",
    "payload",
    "salt",
    "leaf_hash",
    "key",
    "size",
    "updated_at",
];

/// Makes the rows of one table of a peer.
pub struct Rows {
    sample: Arc<Sample>,
    sequences: Vec<AtomicI64>,
    ready: Event,
}

impl Rows {
    /// For an empty table.
    pub fn new(sample: Arc<Sample>) -> Result<Self> {
        let sequences = sample.organizations().iter().map(|_| AtomicI64::new(0)).collect();
        let mut rows = Self { sample, sequences, ready: Event::default() };
        rows.ready = rows.validated(1, false)?;
        Ok(rows)
    }

    /// A row with everything but its sequence, made with the work that the service does: limits,
    /// schema, canonical form, hashes. It belongs to one of the first `organizations`.
    pub fn validated(&self, organizations: usize, keyed: bool) -> Result<Event> {
        let (_, organization_id) = self.sample.any_organization(organizations);
        let now = SystemClock.now();
        let event = self.sample.draft().validate(now).map_err(|found| anyhow!("{found:?}"))?;
        let found = self.sample.schema().check(&event, TargetRule::Contains);
        anyhow::ensure!(found.is_empty(), "{found:?}");
        let organization = OrganizationId::from_stored(organization_id);
        let key = if keyed {
            let supplied = format!("{:032x}", rand::rng().random::<u128>());
            let environment = EnvironmentId::from_stored("environment_01JQ4X7Z6E5M2K9T8V3B1N0CDA");
            let sent = canonical_sent_event(&event)?;
            let key = IdempotencyKey::derive(&environment, &organization, &supplied, &sent);
            Some(*key.as_bytes())
        } else {
            None
        };
        let mut random = rand::rng();
        let (id, salt) = (EventId::generate(now, &mut random), random.random());
        let logged = LoggedEvent { id, organization_id: organization, created_at: now, event };
        let payload = canonical_event(&logged)?;
        let LoggedEvent { id, event, .. } = logged;
        let joined = |parts: Vec<&str>| format!("\u{1f}{}\u{1f}", parts.join("\u{1f}"));
        Ok(Event {
            organization_id: organization_id.to_owned(),
            sequence: 0,
            key,
            id: id.to_string(),
            occurred_at: event.occurred_at.micros(),
            created_at: now.micros(),
            target_types: joined(event.targets.iter().map(|t| t.kind.as_str()).collect()),
            target_ids: joined(event.targets.iter().map(|t| t.id.as_str()).collect()),
            action: event.action,
            actor_id: event.actor.id,
            actor_name: event.actor.name.unwrap_or_default(),
            leaf_hash: merkle::leaf_hash(&salt, &payload),
            payload,
            salt,
        })
    }

    /// A row that only has to be stored: its place is taken from a counter, its payload is the same
    /// as that of all others.
    pub fn ready(&self, organizations: usize) -> Event {
        let (number, organization_id) = self.sample.any_organization(organizations);
        let now = SystemClock.now();
        let mut random = rand::rng();
        Event {
            organization_id: organization_id.to_owned(),
            sequence: self.sequences[number].fetch_add(1, Ordering::Relaxed),
            id: EventId::generate(now, &mut random).to_string(),
            occurred_at: now.micros(),
            created_at: now.micros(),
            salt: random.random(),
            leaf_hash: random.random(),
            ..self.ready.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_size_of_a_usual_event_and_places_without_gaps() {
        let rows = Rows::new(Arc::new(Sample::new(2).unwrap())).unwrap();
        let payload = rows.validated(2, true).unwrap().payload.len();
        assert!((550..850).contains(&payload), "{payload}");
        let sequences = [0, 1, 2].map(|_| rows.ready(1).sequence);
        assert_eq!(sequences, [0, 1, 2]);
    }

    #[test]
    fn columns_of_a_later_schema_are_filled() {
        let column = Column { name: "frontier".into(), kind: Kind::Bytes };
        assert_eq!(EmptyHead("o").cell(&column), Cell::Bytes(b""));
        let size = Column { name: "size".into(), kind: Kind::Integer };
        assert_eq!(EmptyHead("o").cell(&size), Cell::Integer(0));
    }
}
