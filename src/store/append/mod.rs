//! The one way into the log: a batch of prepared events of any organizations, in one transaction,
//! over a connection of its own.

mod plan;
mod postgres;
mod sqlite;

use std::{collections::BTreeMap, time::Duration};

use sqlx::{SqlitePool, postgres::PgConnectOptions};
use tokio::time::Instant;

use super::{Result, StoreError, pool::Losses};
use crate::{
    domain::{
        event::Event,
        idempotency::IdempotencyKey,
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    },
    merkle::{Growth, Hash, Salt},
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
    /// The columns for filtering.
    pub columns: EventColumns,
    /// The canonical bytes, the one true copy.
    pub payload: Vec<u8>,
    /// Random bytes that make the hash unguessable.
    pub salt: Salt,
    /// Hash of salt and payload.
    pub leaf_hash: Hash,
    /// Key under which a repetition is recognized.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// What of an event stands in columns of its own, so that it can be filtered by.
#[derive(Debug, Clone)]
pub struct EventColumns {
    action: String,
    version: u32,
    occurred_at: Timestamp,
    actor_id: String,
    actor_name: Option<String>,
    target_types: String,
    target_ids: String,
}

/// Where an event is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its id; that of the first copy for a duplicate. Empty if that copy was erased since.
    pub event_id: EventId,
    /// Its position.
    pub sequence: u64,
    /// Hash of its leaf.
    pub leaf_hash: Hash,
    /// When it was received.
    pub created_at: Timestamp,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// A batch that is durable.
#[derive(Debug, Default)]
pub struct Written {
    /// Where each event is, in the order of the batch.
    pub appended: Vec<Appended>,
    /// What the batch did to the tree of each log that grew. A log whose events were found to be
    /// stored already, by an attempt whose answer was lost, is not here.
    pub trees: BTreeMap<OrganizationId, Growth>,
}

/// When a batch is written, and which idempotency keys count.
#[derive(Debug, Clone, Copy)]
pub struct BatchTimes {
    /// Now.
    pub now: Timestamp,
    /// An idempotency key counts if it was stored at or after this.
    pub keys_since: Timestamp,
}

/// A transaction that conflicts with another is tried this often.
const ATTEMPTS: u32 = 5;
/// Pauses after a lost connection: the first, doubled each time, at most the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(320));

/// Puts events at the end of their logs.
#[derive(Debug)]
pub struct LogWriter {
    connection: Connection,
}

#[derive(Debug)]
enum Connection {
    Sqlite(sqlite::Writer),
    Postgres(Box<postgres::Writer>),
}

/// Why an attempt at a batch failed, and so what may be done about it. Nothing of it is stored,
/// unless the connection was lost.
#[derive(Debug)]
enum Failure {
    /// Another transaction was in the way.
    Conflict(StoreError),
    /// The connection was lost: the batch may be stored or not.
    Lost(StoreError),
    /// Trying again would not help.
    Refused(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => Self::Conflict(error),
            error if error.lost_connection() => Self::Lost(error),
            error => Self::Refused(error),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl LogWriter {
    /// Appends to the file of the pool, in turn with the other users of its one connection.
    pub(super) fn sqlite(turn: SqlitePool) -> Self {
        Self { connection: Connection::Sqlite(sqlite::Writer::new(turn)) }
    }

    /// Appends over a connection of its own, made when it is first used.
    pub(super) fn postgres(options: PgConnectOptions, losses: Losses) -> Self {
        Self { connection: Connection::Postgres(Box::new(postgres::Writer::new(options, losses))) }
    }

    /// Puts events at the end of their logs, in the order given, and returns where they are, in the
    /// same order. One transaction: all or none. Drops duplicates, assigns sequences without gaps,
    /// grows the trees, inserts all rows, moves the heads, which nobody else moves meanwhile. When it
    /// returns, the events are durable.
    ///
    /// Conflicts with other transactions are tried again. When the connection is lost, the batch is
    /// tried again on a new one for as long as `patience`, with growing pauses; events that the lost
    /// attempt did store are found by their ids. If it fails with
    /// [`StoreError::Unavailable`] all the same, the batch may be stored or not.
    ///
    /// The events are there again when it returns; on the way they may be lent to another thread.
    pub async fn append(
        &mut self,
        events: &mut Vec<PreparedEvent>,
        times: BatchTimes,
        patience: Duration,
    ) -> Result<Written> {
        let (mut conflicts, mut lost_before) = (0, false);
        let (begun, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            let attempt = match &mut self.connection {
                Connection::Sqlite(writer) => writer.append(events, times, lost_before).await,
                Connection::Postgres(writer) => writer.append(events, times, lost_before).await,
            };
            match attempt {
                Ok(written) => return Ok(written),
                Err(Failure::Refused(error)) if lost_before => return Err(error.leaves_open()),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::Conflict(error)) => {
                    conflicts += 1;
                    if conflicts == ATTEMPTS {
                        return Err(error);
                    }
                }
                Err(Failure::Lost(error)) => {
                    lost_before = true;
                    if begun.elapsed() + pause > patience {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Gives the connection back.
    pub async fn close(self) {
        if let Connection::Postgres(writer) = self.connection {
            writer.close().await;
        }
    }
}

/// Stands before, between and after the values in the columns for filtering by target. Texts of
/// events have no control characters, so it occurs in no value.
const SEPARATOR: char = '\u{1f}';

/// `value` as it stands in a column for filtering by target.
pub(super) fn separated(value: &str) -> String {
    joined([value].into_iter())
}

/// The values as they stand in one such column.
pub(super) fn joined<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from(SEPARATOR);
    for value in values {
        text.push_str(value);
        text.push(SEPARATOR);
    }
    text
}

impl EventColumns {
    /// What of an event can be filtered by. The rest of it is given up here, on the task that made
    /// it, and not in the lane.
    pub fn of(event: Event) -> Self {
        let target_types = joined(event.targets.iter().map(|target| target.kind.as_str()));
        let target_ids = joined(event.targets.iter().map(|target| target.id.as_str()));
        Self {
            action: event.action,
            version: event.version,
            occurred_at: event.occurred_at,
            actor_id: event.actor.id,
            actor_name: event.actor.name,
            target_types,
            target_ids,
        }
    }
}

/// Columns by which an idempotency key `i` tells of its event `e`, which may be erased since: then there
/// is no id, the key's time is that of the event, and the leaf hash is in the tombstone or in the tile.
const OF_KNOWN_KEY: &str = "\
    CASE WHEN LENGTH(e.salt) > 0 THEN e.id ELSE '' END, \
    i.sequence, \
    COALESCE(e.leaf_hash, (SELECT SUBSTR(t.hashes, CAST(i.sequence % 256 * 32 + 1 AS INTEGER), 32) \
        FROM log_tiles AS t WHERE t.organization_id = i.organization_id \
        AND t.level = 0 AND t.tile = i.sequence / 256)), \
    CASE WHEN LENGTH(e.salt) > 0 THEN e.created_at ELSE i.created_at END";
