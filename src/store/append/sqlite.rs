//! Appending on SQLite: every batch is written in one go by a thread that may wait for the disk.
//!
//! This is the one place of the service that uses rusqlite: it runs its statements where it is called,
//! while sqlx hands each one to a thread of its own, which for a small batch takes longer than SQLite
//! itself does. Both share one SQLite library.

use std::{path::PathBuf, time::Duration};

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params, types::ValueRef};
use sqlx::SqlitePool;

use super::{
    Appended, BatchTimes, Failure, OF_KNOWN_KEY, PreparedEvent, Written,
    plan::{Beforehand, CompletedTile, Heads, Known, New, Plan, organizations},
};
use crate::{
    domain::{ids::EventId, timestamp::Timestamp},
    store::{StoreError, fixed, from_column, to_column, tree::frontier},
};

type Result<T> = std::result::Result<T, Failure>;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);
/// What the connection is told: to be durable, to keep the pages that every batch needs, and to let
/// more of them come together before they are copied from the write-ahead log into the file. What moves to
/// another page when that splits must not stay on the old one either: retention could not erase it there.
const PRAGMAS: &str = "PRAGMA synchronous = FULL; \
                       PRAGMA secure_delete = ON; \
                       PRAGMA cache_size = -32768; \
                       PRAGMA wal_autocheckpoint = 4000;";

/// Appends over a connection of its own.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    /// Its one connection is the turn to write: who holds it writes, the others of this process wait in
    /// line. SQLite's own lock would let the lucky one through.
    turn: SqlitePool,
    connection: Option<Connection>,
}

impl Writer {
    /// Writes to the file of `turn`, when that pool's one connection is free.
    pub fn new(turn: SqlitePool) -> Self {
        let path = turn.connect_options().get_filename().to_path_buf();
        Self { path, turn, connection: None }
    }

    /// One attempt at a batch. `lost_before`: an earlier attempt may have stored it.
    pub async fn append(
        &mut self,
        events: &mut Vec<PreparedEvent>,
        times: BatchTimes,
        lost_before: bool,
    ) -> Result<Written> {
        let _turn = self.turn.acquire().await?;
        let (connection, path) = (self.connection.take(), self.path.clone());
        let batch = std::mem::take(events);
        let work = tokio::task::spawn_blocking(move || {
            let mut connection = match connection.map_or_else(|| open(&path), Ok) {
                Ok(connection) => connection,
                Err(error) => return (None, batch, Err(error)),
            };
            let result = write(&mut connection, &batch, times, lost_before);
            // After some errors SQLite has rolled back by itself, after others nothing can be said:
            // then a new connection is the safe way to go on.
            let sound = result.is_ok() || connection.is_autocommit();
            (sound.then_some(connection), batch, result)
        });
        // The thread panicked; whether before or after its commit is open.
        let broken = |_| StoreError::no_answer();
        let (connection, batch, result) = work.await.map_err(broken)?;
        self.connection = connection;
        *events = batch;
        result
    }
}

fn open(path: &PathBuf) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(PRAGMAS)?;
    Ok(connection)
}

fn write(
    connection: &mut Connection,
    events: &[PreparedEvent],
    times: BatchTimes,
    lost_before: bool,
) -> Result<Written> {
    // Takes the write lock at once: nothing that is read below can change before the commit.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let beforehand = Beforehand {
        heads: read_heads(&transaction, events)?,
        keys: known_keys(&transaction, events, times.keys_since)?,
        ids: if lost_before { known_ids(&transaction, events)? } else { Known::new() },
    };
    let plan = Plan::new(events, beforehand)?;
    insert_events(&transaction, &plan.new)?;
    insert_keys(&transaction, &plan.new, times.now)?;
    insert_tiles(&transaction, &plan)?;
    move_heads(&transaction, &plan, times.now)?;
    transaction.commit()?;
    Ok(Written { appended: plan.appended, trees: plan.trees })
}

fn read_heads(connection: &Connection, events: &[PreparedEvent]) -> Result<Heads> {
    const SQL: &str = "SELECT size, frontier FROM log_heads WHERE organization_id = ?";
    let mut statement = connection.prepare_cached(SQL)?;
    let mut heads = Heads::new();
    for organization in organizations(events) {
        let head = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, bytes(row, 1)?));
        let Some((size, peaks)) = statement.query_row([organization.as_str()], head).optional()?
        else {
            continue;
        };
        heads.insert(organization.clone(), frontier(size, &peaks)?);
    }
    Ok(heads)
}

/// Bytes, also where the schema's default stored an empty text.
fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(column)?.as_bytes()?.to_vec())
}

/// Finds the events whose idempotency keys are known already.
fn known_keys(
    connection: &Connection,
    events: &[PreparedEvent],
    since: Timestamp,
) -> Result<Known<[u8; 16]>> {
    const FROM: &str = "FROM idempotency_keys AS i LEFT JOIN events AS e \
        ON e.organization_id = i.organization_id AND e.sequence = i.sequence \
        WHERE i.organization_id = ? AND i.key = ? AND i.created_at >= ?";
    let mut statement = connection.prepare_cached(&format!("SELECT {OF_KNOWN_KEY} {FROM}"))?;
    let mut known = Known::new();
    for event in events {
        let Some(key) = &event.idempotency_key else { continue };
        let wanted = params![event.organization_id.as_str(), key.as_bytes(), since.micros()];
        // Without a leaf hash the event is gone, and not by retention: then nothing is known of it.
        let known_event = |row: &Row<'_>| match row.get_ref(2)? {
            ValueRef::Null => Ok(None),
            _ => StoredEvent::of(row).map(Some),
        };
        if let Some(row) = statement.query_row(wanted, known_event).optional()?.flatten() {
            let key = (event.organization_id.clone(), *key.as_bytes());
            known.insert(key, row.appended(true)?);
        }
    }
    Ok(known)
}

/// Finds the events that a lost attempt at the same batch stored.
fn known_ids(connection: &Connection, events: &[PreparedEvent]) -> Result<Known<String>> {
    const SQL: &str = "SELECT id, sequence, leaf_hash, created_at FROM events \
                       WHERE organization_id = ? AND id = ?";
    let mut statement = connection.prepare_cached(SQL)?;
    let mut known = Known::new();
    for event in events {
        let wanted = params![event.organization_id.as_str(), event.id.as_str()];
        if let Some(row) = statement.query_row(wanted, StoredEvent::of).optional()? {
            let key = (event.organization_id.clone(), event.id.to_string());
            known.insert(key, row.appended(false)?);
        }
    }
    Ok(known)
}

/// The columns of an event that is there.
struct StoredEvent {
    id: String,
    sequence: i64,
    leaf_hash: Vec<u8>,
    created_at: i64,
}

impl StoredEvent {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (id, sequence) = (row.get(0)?, row.get(1)?);
        Ok(Self { id, sequence, leaf_hash: row.get(2)?, created_at: row.get(3)? })
    }

    fn appended(self, duplicate: bool) -> Result<Appended> {
        Ok(Appended {
            event_id: EventId::from_stored(self.id),
            sequence: from_column(self.sequence, "events", "sequence")?,
            leaf_hash: fixed(&self.leaf_hash, "events", "leaf_hash")?,
            created_at: Timestamp::from_micros(self.created_at),
            duplicate,
        })
    }
}

fn insert_events(connection: &Connection, new: &[New<'_>]) -> Result<()> {
    const SQL: &str = "INSERT INTO events (organization_id, sequence, id, action, version, \
        occurred_at, created_at, actor_id, actor_name, target_types, target_ids, payload, salt, \
        leaf_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut statement = connection.prepare_cached(SQL)?;
    for (event, sequence) in new {
        let columns = &event.columns;
        statement.execute(params![
            event.organization_id.as_str(),
            to_column(*sequence),
            event.id.as_str(),
            columns.action,
            columns.version,
            columns.occurred_at.micros(),
            event.created_at.micros(),
            columns.actor_id,
            columns.actor_name,
            columns.target_types,
            columns.target_ids,
            event.payload,
            event.salt,
            event.leaf_hash,
        ])?;
    }
    Ok(())
}

/// Stores the keys; one that is there but too old to count is taken over.
fn insert_keys(connection: &Connection, new: &[New<'_>], now: Timestamp) -> Result<()> {
    const SQL: &str = "INSERT INTO idempotency_keys (organization_id, key, sequence, created_at) \
        VALUES (?, ?, ?, ?) ON CONFLICT (organization_id, key) DO UPDATE \
        SET sequence = excluded.sequence, created_at = excluded.created_at";
    let mut statement = connection.prepare_cached(SQL)?;
    for (event, sequence) in new {
        let Some(key) = &event.idempotency_key else { continue };
        let organization = event.organization_id.as_str();
        let row = params![organization, key.as_bytes(), to_column(*sequence), now.micros()];
        statement.execute(row)?;
    }
    Ok(())
}

/// Stores the tiles that became full.
fn insert_tiles(connection: &Connection, plan: &Plan<'_>) -> Result<()> {
    const SQL: &str = "INSERT INTO log_tiles (organization_id, level, tile, hashes, root) \
                       VALUES (?, ?, ?, ?, ?)";
    for tile in plan.completed_tiles() {
        let Some(row) = tile.row(&earlier_hashes(connection, tile)?) else { continue };
        let (level, index) = (row.tile.level, to_column(row.tile.index));
        let row = params![row.organization.as_str(), level, index, row.hashes, row.root];
        connection.prepare_cached(SQL)?.execute(row)?;
    }
    Ok(())
}

/// The hashes in a tile that were there before the batch.
fn earlier_hashes(connection: &Connection, tile: CompletedTile<'_>) -> Result<Vec<Vec<u8>>> {
    const LEAVES: &str = "SELECT leaf_hash FROM events \
        WHERE organization_id = ? AND sequence >= ? AND sequence < ? ORDER BY sequence";
    const ROOTS: &str = "SELECT root FROM log_tiles \
        WHERE organization_id = ? AND tile >= ? AND tile < ? AND level = ? ORDER BY tile";
    let (organization, range) = (tile.organization.as_str(), tile.earlier());
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let (start, end) = (to_column(range.start), to_column(range.end));
    let hash = |row: &Row<'_>| row.get(0);
    let hashes = match tile.tile.level.checked_sub(1) {
        None => connection
            .prepare_cached(LEAVES)?
            .query_map(params![organization, start, end], hash)?
            .collect::<rusqlite::Result<_>>()?,
        Some(level) => connection
            .prepare_cached(ROOTS)?
            .query_map(params![organization, start, end, level], hash)?
            .collect::<rusqlite::Result<_>>()?,
    };
    Ok(hashes)
}

fn move_heads(connection: &Connection, plan: &Plan<'_>, now: Timestamp) -> Result<()> {
    const SQL: &str = "UPDATE log_heads SET size = ?, frontier = ?, updated_at = ? \
                       WHERE organization_id = ?";
    let mut statement = connection.prepare_cached(SQL)?;
    for (organization, growth) in &plan.trees {
        let (size, frontier) = (to_column(growth.after().size()), growth.after().to_bytes());
        statement.execute(params![size, frontier, now.micros(), organization.as_str()])?;
    }
    Ok(())
}
