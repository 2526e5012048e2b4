//! Reading whole logs to verify them: everything about one log from one snapshot, so that a service
//! may write meanwhile, in pages of bounded size. Reads values as they are; whether they make sense is
//! for the verifier to say.

use futures::TryStreamExt;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, IsolationLevel, QueryResult, Statement,
    StreamTrait, TransactionTrait, Value,
};

use super::{Engine, Result, Store, StoreError, append::joined, from_column};
use crate::domain::{event::LoggedEvent, ids::OrganizationId};

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Position in the log.
    pub sequence: i64,
    /// Id.
    pub id: String,
    /// Name of the action.
    pub action: String,
    /// Version of its schema.
    pub version: i64,
    /// When it happened, in microseconds since the epoch.
    pub occurred_at: i64,
    /// When it was received, likewise.
    pub created_at: i64,
    /// Id of the actor.
    pub actor_id: String,
    /// Name of the actor.
    pub actor_name: Option<String>,
    /// Types of the targets, for searching.
    pub target_types: String,
    /// Ids of the targets, for searching.
    pub target_ids: String,
    /// The canonical bytes.
    pub payload: Vec<u8>,
    /// The salt.
    pub salt: Vec<u8>,
    /// Hash of the leaf.
    pub leaf_hash: Vec<u8>,
}

impl StoredEvent {
    /// The first column that is not what the event says.
    pub fn differing_column(&self, logged: &LoggedEvent) -> Option<&'static str> {
        let event = &logged.event;
        let targets = || event.targets.iter();
        let agreements = [
            ("id", self.id == logged.id.as_str()),
            ("action", self.action == event.action),
            ("version", self.version == i64::from(event.version)),
            ("occurred_at", self.occurred_at == event.occurred_at.micros()),
            ("created_at", self.created_at == logged.created_at.micros()),
            ("actor_id", self.actor_id == event.actor.id),
            ("actor_name", self.actor_name == event.actor.name),
            ("target_types", self.target_types == joined(targets().map(|target| &*target.kind))),
            ("target_ids", self.target_ids == joined(targets().map(|target| &*target.id))),
        ];
        agreements.into_iter().find(|(_, agrees)| !agrees).map(|(column, _)| column)
    }

    fn read(row: &QueryResult) -> Result<Self> {
        Ok(Self {
            sequence: row.try_get_by_index(0)?,
            id: row.try_get_by_index(1)?,
            action: row.try_get_by_index(2)?,
            version: row.try_get_by_index(3)?,
            occurred_at: row.try_get_by_index(4)?,
            created_at: row.try_get_by_index(5)?,
            actor_id: row.try_get_by_index(6)?,
            actor_name: row.try_get_by_index(7)?,
            target_types: row.try_get_by_index(8)?,
            target_ids: row.try_get_by_index(9)?,
            payload: row.try_get_by_index(10)?,
            salt: row.try_get_by_index(11)?,
            leaf_hash: row.try_get_by_index(12)?,
        })
    }
}

/// A row of `log_heads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// Events in the log.
    pub size: i64,
    /// Peaks of its tree, concatenated.
    pub frontier: Vec<u8>,
}

/// A row of `log_tiles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTile {
    /// Level, from 0.
    pub level: i64,
    /// Position in the level.
    pub index: i64,
    /// The hashes, concatenated.
    pub hashes: Vec<u8>,
    /// The root over them.
    pub root: Vec<u8>,
}

/// A row of `checkpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Minute in which it was made; with the log, its key.
    pub minute: i64,
    /// Size of the tree.
    pub size: i64,
    /// Root of the tree.
    pub root: Vec<u8>,
    /// The signed note.
    pub note: String,
}

/// Payload bytes after which a page of events ends.
const PAGE_BYTES: usize = 4 * 1_024 * 1_024;
/// Rows of a page of events.
const PAGE_EVENTS: i64 = 1_024;
/// Rows of a page of checkpoints.
const PAGE_CHECKPOINTS: i64 = 4_096;
/// Rows that are said to be too many.
const EXTRA_TILES: i64 = 2;

/// Everything about one log, as it was at one moment.
pub struct LogSnapshot {
    transaction: DatabaseTransaction,
    engine: Engine,
    organization: String,
}

impl Store {
    /// Logs that have a head, and the sum of their sizes.
    pub async fn count_logs(&self) -> Result<(u64, u64)> {
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM log_heads";
        let statement = Statement::from_string(self.engine.backend(), sql);
        let Some(row) = self.reader().query_one_raw(statement).await? else { return Ok((0, 0)) };
        let count =
            |index| row.try_get_by_index(index).map(|count: i64| count.max(0).unsigned_abs());
        Ok((count(0)?, count(1)?))
    }

    /// The first organization after `after`, in the order of ids, of which any table of logs knows.
    pub async fn next_log(&self, after: &str) -> Result<Option<OrganizationId>> {
        const SQL: &str = "SELECT MIN(id) FROM ( \
            SELECT MIN(id) AS id FROM organizations WHERE id > $1 \
            UNION ALL SELECT MIN(organization_id) FROM log_heads WHERE organization_id > $1 \
            UNION ALL SELECT MIN(organization_id) FROM events WHERE organization_id > $1 \
            UNION ALL SELECT MIN(organization_id) FROM log_tiles WHERE organization_id > $1 \
            UNION ALL SELECT MIN(organization_id) FROM checkpoints WHERE organization_id > $1 \
            UNION ALL SELECT MIN(organization_id) FROM log_retention WHERE organization_id > $1 \
            ) AS next";
        let values = [Value::from(after)];
        let statement = Statement::from_sql_and_values(self.engine.backend(), SQL, values);
        let row = self.reader().query_one_raw(statement).await?;
        let id: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        Ok(id.map(OrganizationId::from_stored))
    }

    /// Whether any table of logs knows of an organization.
    pub async fn has_log(&self, organization: &OrganizationId) -> Result<bool> {
        const SQL: &str = "SELECT 1 WHERE EXISTS (SELECT 1 FROM organizations WHERE id = $1) \
            OR EXISTS (SELECT 1 FROM log_heads WHERE organization_id = $1) \
            OR EXISTS (SELECT 1 FROM events WHERE organization_id = $1) \
            OR EXISTS (SELECT 1 FROM log_tiles WHERE organization_id = $1) \
            OR EXISTS (SELECT 1 FROM checkpoints WHERE organization_id = $1) \
            OR EXISTS (SELECT 1 FROM log_retention WHERE organization_id = $1)";
        let values = [Value::from(organization.as_str())];
        let statement = Statement::from_sql_and_values(self.engine.backend(), SQL, values);
        Ok(self.reader().query_one_raw(statement).await?.is_some())
    }

    /// Everything about an organization's log, as it is now.
    pub async fn log_snapshot(&self, organization: &OrganizationId) -> Result<LogSnapshot> {
        let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
        let transaction = if self.engine.snapshot_needs_isolation() {
            self.scanner().current().begin_with_config(Some(isolation), Some(access)).await?
        } else {
            self.scanner().current().begin().await?
        };
        let organization = organization.to_string();
        Ok(LogSnapshot { transaction, engine: self.engine, organization })
    }
}

impl LogSnapshot {
    fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        let organization = Value::from(self.organization.as_str());
        let values = std::iter::once(organization).chain(values);
        Statement::from_sql_and_values(self.engine.backend(), sql, values)
    }

    /// Whether the organization is registered, and the head of its log.
    pub async fn head(&self) -> Result<(bool, Option<StoredHead>)> {
        const SQL: &str = "SELECT size, frontier FROM log_heads WHERE organization_id = $1";
        const REGISTERED: &str = "SELECT 1 FROM organizations WHERE id = $1";
        let row = self.transaction.query_one_raw(self.statement(SQL, [])).await?;
        let head = row.map(|row| {
            let (size, frontier) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            Ok::<_, StoreError>(StoredHead { size, frontier })
        });
        let registered = self.transaction.query_one_raw(self.statement(REGISTERED, [])).await?;
        Ok((registered.is_some(), head.transpose()?))
    }

    /// The first sequence that retention has not erased, as it is stored; 0 if it never erased any.
    pub async fn erased_below(&self) -> Result<i64> {
        const SQL: &str = "SELECT erased_below FROM log_retention WHERE organization_id = $1";
        let row = self.transaction.query_one_raw(self.statement(SQL, [])).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
    }

    /// How many tiles of leaves there are.
    pub async fn complete_tiles(&self) -> Result<u64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM log_tiles \
            WHERE organization_id = $1 AND level = 0";
        let row = self.transaction.query_one_raw(self.statement(SQL, [])).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        from_column(count, "log_tiles", "level")
    }

    /// The events from the sequence `from` on, in order: at most 1,024, fewer if they are large. Empty
    /// after the last.
    pub async fn events(&self, from: i64) -> Result<Vec<StoredEvent>> {
        const SQL: &str = "SELECT sequence, id, action, version, occurred_at, created_at, actor_id, \
            actor_name, target_types, target_ids, payload, salt, leaf_hash FROM events \
            WHERE organization_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3";
        let statement = self.statement(SQL, [from.into(), PAGE_EVENTS.into()]);
        let mut rows = self.transaction.stream_raw(statement).await?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let unreadable = |_| StoreError::inconsistent("events", "of some row");
            let event = StoredEvent::read(&row).map_err(unreadable)?;
            bytes += event.payload.len();
            events.push(event);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        Ok(events)
    }

    /// The complete tiles of a level from `first` to before `end`, in order.
    pub async fn tiles(&self, level: u8, first: u64, end: u64) -> Result<Vec<StoredTile>> {
        const SQL: &str = "SELECT level, tile, hashes, root FROM log_tiles \
            WHERE organization_id = $1 AND level = $2 AND tile >= $3 AND tile < $4 ORDER BY tile";
        let values = [i64::from(level), super::to_column(first), super::to_column(end)];
        let statement = self.statement(SQL, values.map(Value::from));
        let rows = self.transaction.query_all_raw(statement).await?;
        rows.iter().map(tile).collect()
    }

    /// Some tiles that a log of `size` events does not have.
    pub async fn extra_tiles(&self, size: u64) -> Result<Vec<StoredTile>> {
        const LEVELS: i64 = 7;
        let complete = (0..LEVELS)
            .map(|level| format!("(level = {level} AND tile >= {})", size >> (8 * (level + 1))));
        let beyond: Vec<String> = complete.collect();
        let sql = format!(
            "SELECT level, tile, hashes, root FROM log_tiles WHERE organization_id = $1 \
             AND (level < 0 OR level >= {LEVELS} OR tile < 0 OR {}) \
             ORDER BY level, tile LIMIT {EXTRA_TILES}",
            beyond.join(" OR ")
        );
        let rows = self.transaction.query_all_raw(self.statement(&sql, [])).await?;
        rows.iter().map(tile).collect()
    }

    /// The checkpoints after the one with that size and minute, by size, at most 4,096.
    pub async fn checkpoints(&self, after: (i64, i64)) -> Result<Vec<CheckpointRow>> {
        const SQL: &str = "SELECT minute, size, root, note FROM checkpoints \
            WHERE organization_id = $1 AND (size, minute) > ($2, $3) \
            ORDER BY size, minute LIMIT $4";
        let values = [after.0, after.1, PAGE_CHECKPOINTS].map(Value::from);
        let rows = self.transaction.query_all_raw(self.statement(SQL, values)).await?;
        let read = |row: &QueryResult| {
            Ok(CheckpointRow {
                minute: row.try_get_by_index(0)?,
                size: row.try_get_by_index(1)?,
                root: row.try_get_by_index(2)?,
                note: row.try_get_by_index(3)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Lets the snapshot go.
    pub async fn close(self) -> Result<()> {
        Ok(self.transaction.rollback().await?)
    }
}

fn tile(row: &QueryResult) -> Result<StoredTile> {
    Ok(StoredTile {
        level: row.try_get_by_index(0)?,
        index: row.try_get_by_index(1)?,
        hashes: row.try_get_by_index(2)?,
        root: row.try_get_by_index(3)?,
    })
}
