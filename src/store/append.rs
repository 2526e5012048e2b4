//! The one way into the log: a batch of prepared events of any organizations, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement, Value};

use super::{
    Result, Store, StoreError,
    dialect::{ColumnKind, ColumnOfRows, Engine},
    from_column, to_column,
};
use crate::{
    domain::{
        event::Event,
        idempotency::IdempotencyKey,
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    },
    merkle::Salt,
};

/// An event that was validated, made canonical and hashed; all it lacks is its place in the log.
#[derive(Debug, Clone)]
pub struct PreparedEvent {
    /// Whose log takes it. The organization must be registered.
    pub organization_id: OrganizationId,
    /// Id.
    pub id: EventId,
    /// When it was received.
    pub created_at: Timestamp,
    /// What happened; the columns for filtering are taken from it.
    pub event: Event,
    /// The canonical bytes, the one true copy.
    pub payload: Vec<u8>,
    /// Random bytes that make the hash unguessable.
    pub salt: Salt,
    /// Hash of salt and payload.
    pub leaf_hash: [u8; 32],
    /// Key under which a repetition is recognized.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Where an event is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its id; that of the first copy for a duplicate.
    pub event_id: EventId,
    /// Its position.
    pub sequence: u64,
    /// Hash of its leaf.
    pub leaf_hash: [u8; 32],
    /// When it was received.
    pub created_at: Timestamp,
    /// Whether it was there already.
    pub duplicate: bool,
}

type KeyOf<'a> = (&'a OrganizationId, &'a IdempotencyKey);
type Known = HashMap<(OrganizationId, [u8; 16]), Appended>;

/// A transaction that conflicts with another is tried this often.
const ATTEMPTS: u32 = 5;

/// Stands before, between and after the values in the columns for filtering by target. Texts of
/// events have no control characters, so it occurs in no value.
const SEPARATOR: char = '\u{1f}';

/// `value` as it stands in a column for filtering by target.
pub(super) fn separated(value: &str) -> String {
    format!("{SEPARATOR}{value}{SEPARATOR}")
}

fn joined<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from(SEPARATOR);
    for value in values {
        text.push_str(value);
        text.push(SEPARATOR);
    }
    text
}

impl Store {
    /// Puts events at the end of their logs, in the order given, and returns where they are, in the
    /// same order. One transaction: all or none. Locks the heads of the logs in the order of their
    /// organizations' ids, drops duplicates, assigns sequences without gaps, inserts all rows with
    /// one statement, moves the heads. When it returns, the events are durable.
    ///
    /// An idempotency key counts if it was stored at or after `keys_since`.
    pub async fn append(
        &self,
        events: &[PreparedEvent],
        keys_since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Appended>> {
        let mut attempt = 1;
        loop {
            match self.try_append(events, keys_since, now).await {
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn try_append(
        &self,
        events: &[PreparedEvent],
        keys_since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Appended>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = self.begin().await?;
        let mut batch = Batch { engine: self.engine, transaction: &transaction };
        let mut heads = batch.lock_heads(events).await?;
        let mut known = batch.known_keys(events, keys_since).await?;
        let (appended, new) = sequence(events, &mut heads, &mut known)?;
        if !new.is_empty() {
            batch.insert_events(&new).await?;
            batch.insert_keys(&new, now).await?;
            batch.move_heads(&heads, now).await?;
        }
        transaction.commit().await?;
        Ok(appended)
    }
}

/// A new event and its sequence.
type New<'a> = (&'a PreparedEvent, u64);

/// Gives each event its place, or that of the copy which is there already.
fn sequence<'a>(
    events: &'a [PreparedEvent],
    heads: &mut BTreeMap<OrganizationId, u64>,
    known: &mut Known,
) -> Result<(Vec<Appended>, Vec<New<'a>>)> {
    let mut appended = Vec::with_capacity(events.len());
    let mut new = Vec::with_capacity(events.len());
    for event in events {
        let key = event.idempotency_key.map(|k| (event.organization_id.clone(), *k.as_bytes()));
        if let Some(first) = key.as_ref().and_then(|key| known.get(key)) {
            appended.push(Appended { duplicate: true, ..first.clone() });
            continue;
        }
        let head = heads
            .get_mut(&event.organization_id)
            .ok_or(StoreError::inconsistent("log_heads", "organization_id"))?;
        let place = Appended {
            event_id: event.id.clone(),
            sequence: *head,
            leaf_hash: event.leaf_hash,
            created_at: event.created_at,
            duplicate: false,
        };
        new.push((event, *head));
        *head += 1;
        if let Some(key) = key {
            known.insert(key, place.clone());
        }
        appended.push(place);
    }
    Ok((appended, new))
}

struct Batch<'a> {
    engine: Engine,
    transaction: &'a DatabaseTransaction,
}

impl Batch<'_> {
    /// Locks and reads the heads of all logs in the batch.
    async fn lock_heads(
        &mut self,
        events: &[PreparedEvent],
    ) -> Result<BTreeMap<OrganizationId, u64>> {
        let organizations: BTreeSet<&str> =
            events.iter().map(|event| event.organization_id.as_str()).collect();
        let ids = organizations.into_iter().map(Value::from).collect();
        let mut values = Vec::new();
        let rows = self.engine.rows(
            vec![ColumnOfRows { name: "wanted", kind: ColumnKind::Text, values: ids }],
            &mut values,
        );
        let sql = format!(
            "SELECT organization_id, size FROM log_heads \
             WHERE organization_id IN (SELECT wanted FROM {rows}) ORDER BY organization_id{}",
            self.engine.for_update()
        );
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        let mut heads = BTreeMap::new();
        for row in self.transaction.query_all_raw(statement).await? {
            let organization = OrganizationId::from_stored(row.try_get_by_index::<String>(0)?);
            let size = from_column(row.try_get_by_index(1)?, "log_heads", "size")?;
            heads.insert(organization, size);
        }
        Ok(heads)
    }

    /// Finds the events whose idempotency keys are known already.
    async fn known_keys(&mut self, events: &[PreparedEvent], since: Timestamp) -> Result<Known> {
        let keys: Vec<KeyOf<'_>> = events
            .iter()
            .filter_map(|event| Some((&event.organization_id, event.idempotency_key.as_ref()?)))
            .collect();
        if keys.is_empty() {
            return Ok(Known::new());
        }
        let organizations = keys.iter().map(|(id, _)| Value::from(id.as_str())).collect();
        let hashes = keys.iter().map(|(_, key)| Value::from(key.as_bytes().to_vec())).collect();
        let mut values = Vec::new();
        let rows = self.engine.rows(
            vec![
                ColumnOfRows { name: "o", kind: ColumnKind::Text, values: organizations },
                ColumnOfRows { name: "k", kind: ColumnKind::Bytes, values: hashes },
            ],
            &mut values,
        );
        values.push(since.micros().into());
        let since = self.engine.placeholder(values.len());
        let sql = format!(
            "SELECT i.organization_id, i.key, e.id, e.sequence, e.leaf_hash, e.created_at \
             FROM {rows} \
             JOIN idempotency_keys AS i ON i.organization_id = rows.o AND i.key = rows.k \
             JOIN events AS e ON e.organization_id = i.organization_id AND e.sequence = i.sequence \
             WHERE i.created_at >= {since}"
        );
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        let mut known = Known::new();
        for row in self.transaction.query_all_raw(statement).await? {
            let organization = OrganizationId::from_stored(row.try_get_by_index::<String>(0)?);
            let key: Vec<u8> = row.try_get_by_index(1)?;
            let first = Appended {
                event_id: EventId::from_stored(row.try_get_by_index::<String>(2)?),
                sequence: from_column(row.try_get_by_index(3)?, "events", "sequence")?,
                leaf_hash: fixed(row.try_get_by_index(4)?, "leaf_hash")?,
                created_at: Timestamp::from_micros(row.try_get_by_index(5)?),
                duplicate: true,
            };
            known.insert((organization, fixed(key, "key")?), first);
        }
        Ok(known)
    }

    async fn insert_events(&mut self, new: &[New<'_>]) -> Result<()> {
        let statement = self.engine.insert_rows("events", event_columns(new), "");
        self.transaction.execute_raw(statement).await?;
        Ok(())
    }

    /// Stores the keys; one that is there but too old to count is taken over.
    async fn insert_keys(&mut self, new: &[New<'_>], now: Timestamp) -> Result<()> {
        let keyed: Vec<_> = new
            .iter()
            .filter_map(|(event, sequence)| Some((event, event.idempotency_key?, *sequence)))
            .collect();
        if keyed.is_empty() {
            return Ok(());
        }
        let column = |name, kind, values| ColumnOfRows { name, kind, values };
        let organizations = keyed.iter().map(|(e, ..)| e.organization_id.as_str().into()).collect();
        let keys = keyed.iter().map(|(_, key, _)| key.as_bytes().to_vec().into()).collect();
        let sequences = keyed.iter().map(|(.., sequence)| to_column(*sequence).into()).collect();
        let columns = vec![
            column("organization_id", ColumnKind::Text, organizations),
            column("key", ColumnKind::Bytes, keys),
            column("sequence", ColumnKind::Integer, sequences),
            column("created_at", ColumnKind::Integer, vec![now.micros().into(); keyed.len()]),
        ];
        let take_over = " ON CONFLICT (organization_id, key) DO UPDATE \
                         SET sequence = excluded.sequence, created_at = excluded.created_at";
        let statement = self.engine.insert_rows("idempotency_keys", columns, take_over);
        self.transaction.execute_raw(statement).await?;
        Ok(())
    }

    async fn move_heads(
        &mut self,
        heads: &BTreeMap<OrganizationId, u64>,
        now: Timestamp,
    ) -> Result<()> {
        let mut values = vec![Value::from(now.micros())];
        let updated_at = self.engine.placeholder(1);
        let ids = heads.keys().map(|id| id.as_str().into()).collect();
        let sizes = heads.values().map(|size| to_column(*size).into()).collect();
        let columns = vec![
            ColumnOfRows { name: "o", kind: ColumnKind::Text, values: ids },
            ColumnOfRows { name: "s", kind: ColumnKind::Integer, values: sizes },
        ];
        let rows = self.engine.rows(columns, &mut values);
        let sql = format!(
            "UPDATE log_heads SET size = rows.s, updated_at = {updated_at} \
             FROM {rows} WHERE organization_id = rows.o"
        );
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        self.transaction.execute_raw(statement).await?;
        Ok(())
    }
}

fn event_columns(new: &[New<'_>]) -> Vec<ColumnOfRows> {
    fn column(
        name: &'static str,
        kind: ColumnKind,
        new: &[New<'_>],
        value: impl Fn(&PreparedEvent) -> Value,
    ) -> ColumnOfRows {
        ColumnOfRows { name, kind, values: new.iter().map(|(event, _)| value(event)).collect() }
    }
    use ColumnKind::{Bytes, Integer, OptionalText, Text};
    let sequences = new.iter().map(|(_, sequence)| to_column(*sequence).into()).collect();
    let types = |e: &PreparedEvent| joined(e.event.targets.iter().map(|t| t.kind.as_str()));
    let ids = |e: &PreparedEvent| joined(e.event.targets.iter().map(|t| t.id.as_str()));
    let actor_name = |e: &PreparedEvent| e.event.actor.name.clone().unwrap_or_default();
    vec![
        ColumnOfRows { name: "sequence", kind: Integer, values: sequences },
        column("organization_id", Text, new, |e| e.organization_id.as_str().into()),
        column("id", Text, new, |e| e.id.as_str().into()),
        column("action", Text, new, |e| e.event.action.as_str().into()),
        column("version", Integer, new, |e| i64::from(e.event.version).into()),
        column("occurred_at", Integer, new, |e| e.event.occurred_at.micros().into()),
        column("created_at", Integer, new, |e| e.created_at.micros().into()),
        column("actor_id", Text, new, |e| e.event.actor.id.as_str().into()),
        column("actor_name", OptionalText, new, |e| actor_name(e).into()),
        column("target_types", Text, new, |e| types(e).into()),
        column("target_ids", Text, new, |e| ids(e).into()),
        column("payload", Bytes, new, |e| e.payload.clone().into()),
        column("salt", Bytes, new, |e| e.salt.to_vec().into()),
        column("leaf_hash", Bytes, new, |e| e.leaf_hash.to_vec().into()),
    ]
}

/// Bytes of a fixed length, as they were stored.
pub(super) fn fixed<const N: usize>(bytes: Vec<u8>, column: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| StoreError::inconsistent("events", column))
}
