//! Appending on SQLite: the turn of the one connection that writes, for each batch.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::json;
use sqlx::{Connection as _, Row, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{
    Appended, BatchTimes, Failure, PreparedEvent, Written, fixed,
    plan::{Beforehand, CompletedTile, Heads, Known, New, Plan, organizations},
};
use crate::{
    domain::{
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    },
    merkle::Frontier,
    store::{StoreError, from_column, to_column},
};

type Result<T> = std::result::Result<T, Failure>;

/// Appends over the pool of the one connection that writes, so that it takes its turn with the other
/// writes of this process. The pool throws away a connection that lost count of its transaction.
#[derive(Debug)]
pub struct Writer {
    pool: SqlitePool,
}

impl Writer {
    /// Writes over the connection of `pool`.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// One attempt at a batch. `lost_before`: an earlier attempt may have stored it.
    pub async fn append(
        &mut self,
        events: &[PreparedEvent],
        times: BatchTimes,
        lost_before: bool,
    ) -> Result<Written> {
        let mut connection = self.pool.acquire().await?;
        // Takes the write lock at once: nothing that is read below can change before the commit.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let heads = read_heads(&mut transaction, &organizations(events)).await?;
        let keys = known_keys(&mut transaction, events, times.keys_since).await?;
        let ids =
            if lost_before { known_ids(&mut transaction, events).await? } else { Known::new() };
        let plan = Plan::new(events, Beforehand { heads, keys, ids })?;
        if !plan.new.is_empty() {
            insert_events(&mut transaction, &plan.new).await?;
            insert_keys(&mut transaction, &plan.new, times.now).await?;
            insert_tiles(&mut transaction, &plan).await?;
            move_heads(&mut transaction, &plan, times.now).await?;
        }
        transaction.commit().await?;
        Ok(Written { appended: plan.appended, trees: plan.trees })
    }
}

async fn read_heads(
    connection: &mut SqliteConnection,
    organizations: &BTreeSet<&OrganizationId>,
) -> Result<Heads> {
    const SQL: &str = "SELECT organization_id, size, frontier FROM log_heads \
                       WHERE organization_id IN (SELECT value FROM json_each(?))";
    let ids = json!(organizations).to_string();
    let mut heads = Heads::new();
    for row in sqlx::query(SQL).bind(ids).fetch_all(connection).await? {
        let size = from_column(row.try_get(1)?, "log_heads", "size")?;
        let frontier = Frontier::from_bytes(size, row.try_get(2)?)
            .ok_or(StoreError::inconsistent("log_heads", "frontier"))?;
        heads.insert(OrganizationId::from_stored(row.try_get::<String, _>(0)?), frontier);
    }
    Ok(heads)
}

/// Finds the events whose idempotency keys are known already.
async fn known_keys(
    connection: &mut SqliteConnection,
    events: &[PreparedEvent],
    since: Timestamp,
) -> Result<Known<[u8; 16]>> {
    const SQL: &str = "SELECT e.id, e.sequence, e.leaf_hash, e.created_at, i.organization_id, i.key \
        FROM json_each(?) AS wanted \
        JOIN idempotency_keys AS i \
            ON i.organization_id = wanted.value ->> 0 AND i.key = unhex(wanted.value ->> 1) \
        JOIN events AS e ON e.organization_id = i.organization_id AND e.sequence = i.sequence \
        WHERE i.created_at >= ?";
    let keyed = events.iter().filter_map(|event| {
        let key = hex::encode(event.idempotency_key.as_ref()?.as_bytes());
        Some(json!([event.organization_id, key]))
    });
    let keyed: Vec<_> = keyed.collect();
    let mut known = Known::new();
    if keyed.is_empty() {
        return Ok(known);
    }
    let query = sqlx::query(SQL).bind(json!(keyed).to_string()).bind(since.micros());
    for row in query.fetch_all(connection).await? {
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(4)?);
        known.insert((organization, fixed(row.try_get(5)?, "key")?), stored(&row, true)?);
    }
    Ok(known)
}

/// Finds the events that a lost attempt at the same batch stored.
async fn known_ids(
    connection: &mut SqliteConnection,
    events: &[PreparedEvent],
) -> Result<Known<String>> {
    const SQL: &str = "SELECT e.id, e.sequence, e.leaf_hash, e.created_at, e.organization_id \
        FROM json_each(?) AS wanted \
        JOIN events AS e ON e.organization_id = wanted.value ->> 0 AND e.id = wanted.value ->> 1";
    let wanted: Vec<_> = events.iter().map(|event| (&event.organization_id, &event.id)).collect();
    let mut known = Known::new();
    for row in sqlx::query(SQL).bind(json!(wanted).to_string()).fetch_all(connection).await? {
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(4)?);
        let event = stored(&row, false)?;
        known.insert((organization, event.event_id.to_string()), event);
    }
    Ok(known)
}

/// An event that is there: its id, sequence, leaf hash and time, as the first columns of a row.
fn stored(row: &SqliteRow, duplicate: bool) -> Result<Appended> {
    Ok(Appended {
        event_id: EventId::from_stored(row.try_get::<String, _>(0)?),
        sequence: from_column(row.try_get(1)?, "events", "sequence")?,
        leaf_hash: fixed(row.try_get(2)?, "leaf_hash")?,
        created_at: Timestamp::from_micros(row.try_get(3)?),
        duplicate,
    })
}

/// The statements that insert 1, 2, 4, ... 64 events. Few lengths are prepared once each; a statement
/// of just the right length would be parsed anew for every batch.
static INSERTS: LazyLock<[String; 7]> = LazyLock::new(|| {
    std::array::from_fn(|power| {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; 1 << power].join(", ");
        format!(
            "INSERT INTO events (organization_id, sequence, id, action, version, occurred_at, \
             created_at, actor_id, actor_name, target_types, target_ids, payload, salt, leaf_hash) \
             VALUES {rows}"
        )
    })
});

async fn insert_events(connection: &mut SqliteConnection, new: &[New<'_>]) -> Result<()> {
    let mut rest = new;
    for (power, sql) in INSERTS.iter().enumerate().rev() {
        while let Some((rows, after)) = rest.split_at_checked(1 << power) {
            rest = after;
            let mut query = sqlx::query(sql.as_str());
            for (event, sequence) in rows {
                query = bind_event(query, event, *sequence);
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_event<'q>(query: Query<'q>, event: &'q PreparedEvent, sequence: u64) -> Query<'q> {
    let columns = &event.columns;
    query
        .bind(event.organization_id.as_str())
        .bind(to_column(sequence))
        .bind(event.id.as_str())
        .bind(columns.action.as_str())
        .bind(i64::from(columns.version))
        .bind(columns.occurred_at.micros())
        .bind(event.created_at.micros())
        .bind(columns.actor_id.as_str())
        .bind(columns.actor_name.as_deref())
        .bind(columns.target_types.as_str())
        .bind(columns.target_ids.as_str())
        .bind(event.payload.as_slice())
        .bind(event.salt.as_slice())
        .bind(event.leaf_hash.as_slice())
}

/// Stores the keys; one that is there but too old to count is taken over.
async fn insert_keys(
    connection: &mut SqliteConnection,
    new: &[New<'_>],
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "INSERT INTO idempotency_keys (organization_id, key, sequence, created_at) \
        SELECT value ->> 0, unhex(value ->> 1), value ->> 2, ? FROM json_each(?) WHERE true \
        ON CONFLICT (organization_id, key) DO UPDATE \
            SET sequence = excluded.sequence, created_at = excluded.created_at";
    let keyed = new.iter().filter_map(|(event, sequence)| {
        let key = hex::encode(event.idempotency_key.as_ref()?.as_bytes());
        Some(json!([event.organization_id, key, to_column(*sequence)]))
    });
    let keyed: Vec<_> = keyed.collect();
    if !keyed.is_empty() {
        let query = sqlx::query(SQL).bind(now.micros()).bind(json!(keyed).to_string());
        query.execute(connection).await?;
    }
    Ok(())
}

/// Stores the tiles that became full.
async fn insert_tiles(connection: &mut SqliteConnection, plan: &Plan<'_>) -> Result<()> {
    const SQL: &str = "INSERT INTO log_tiles (organization_id, level, tile, hashes, root) \
                       VALUES (?, ?, ?, ?, ?)";
    for tile in plan.completed_tiles() {
        let earlier = earlier_hashes(connection, tile).await?;
        let Some(row) = tile.row(&earlier) else { continue };
        let query = sqlx::query(SQL)
            .bind(row.organization.as_str())
            .bind(i64::from(row.tile.level))
            .bind(to_column(row.tile.index))
            .bind(row.hashes)
            .bind(row.root.as_slice());
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn earlier_hashes(
    connection: &mut SqliteConnection,
    tile: CompletedTile<'_>,
) -> Result<Vec<Vec<u8>>> {
    const LEAVES: &str = "SELECT leaf_hash FROM events \
        WHERE organization_id = ? AND sequence >= ? AND sequence < ? ORDER BY sequence";
    const ROOTS: &str = "SELECT root FROM log_tiles \
        WHERE organization_id = ? AND tile >= ? AND tile < ? AND level = ? ORDER BY tile";
    let range = tile.earlier();
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let below = tile.tile.level.checked_sub(1);
    let query = sqlx::query_scalar(if below.is_some() { ROOTS } else { LEAVES })
        .bind(tile.organization.as_str())
        .bind(to_column(range.start))
        .bind(to_column(range.end));
    Ok(match below {
        Some(level) => query.bind(i64::from(level)).fetch_all(connection).await?,
        None => query.fetch_all(connection).await?,
    })
}

async fn move_heads(
    connection: &mut SqliteConnection,
    plan: &Plan<'_>,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "UPDATE log_heads \
        SET size = after.value ->> 1, frontier = unhex(after.value ->> 2), updated_at = ? \
        FROM json_each(?) AS after WHERE organization_id = after.value ->> 0";
    let after = plan.trees.iter().map(|(organization, growth)| {
        let after = growth.after();
        json!([organization, to_column(after.size()), hex::encode(after.to_bytes())])
    });
    let after = json!(after.collect::<Vec<_>>()).to_string();
    sqlx::query(SQL).bind(now.micros()).bind(after).execute(connection).await?;
    Ok(())
}
