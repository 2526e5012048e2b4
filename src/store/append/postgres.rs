//! Appending on PostgreSQL.
//!
//! A writer remembers the heads that it moved last, and first tries the whole batch as one statement,
//! which is its own transaction: it takes effect only if no other replica moved a head or stored a key
//! meanwhile, and one round trip is all an idle caller waits for. Otherwise the heads are locked and
//! read in a transaction of several statements, which always gets through.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    Appended, BatchTimes, Failure, PreparedEvent, Written, fixed,
    plan::{Beforehand, CompletedTile, Heads, Known, Plan, TileRow, organizations},
};
use crate::{
    domain::{
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    },
    merkle::Frontier,
    store::{StoreError, connect::COMMIT_IS_DURABLE, from_column, to_column},
};

/// Most heads that a writer remembers; more would only cost memory.
const REMEMBERED_HEADS: usize = 20_000;
/// For so many batches after another replica moved a head, heads are locked at once: replicas that
/// write the same logs would only waste statements otherwise.
const CAREFUL_BATCHES: u32 = 32;

/// A connection that does not answer for so long is given up: what cut it off may never tell. The
/// server itself ends statements earlier or later; locks keep the next attempt correct either way.
const ANSWER: Duration = Duration::from_secs(15);

type Result<T> = std::result::Result<T, Failure>;

/// A connection that appends.
#[derive(Debug)]
pub struct Writer {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    heads: HashMap<OrganizationId, Frontier>,
    careful: u32,
}

impl Writer {
    /// Connects when it is first used.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: None, heads: HashMap::new(), careful: 0 }
    }

    /// Tells the server that nothing more comes.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            // The server also notices when the socket closes.
            let _ = connection.close().await;
        }
    }

    /// One attempt at a batch. `lost_before`: an earlier attempt may have stored it.
    pub async fn append(
        &mut self,
        events: &[PreparedEvent],
        times: BatchTimes,
        lost_before: bool,
    ) -> Result<Written> {
        let attempt = self.try_both_ways(events, times, lost_before);
        let result = match tokio::time::timeout(ANSWER, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Lost(StoreError::no_answer())),
        };
        match &result {
            Ok(written) => self.remember(written),
            Err(failure) => {
                for event in events {
                    self.heads.remove(&event.organization_id);
                }
                if matches!(failure, Failure::Lost(_)) {
                    self.connection = None;
                }
            }
        }
        result
    }

    async fn try_both_ways(
        &mut self,
        events: &[PreparedEvent],
        times: BatchTimes,
        lost_before: bool,
    ) -> Result<Written> {
        let connection = connected(&mut self.connection, &self.options).await?;
        self.careful = self.careful.saturating_sub(1);
        if self.careful == 0
            && !lost_before
            && let Some(heads) = remembered(&self.heads, events)
        {
            match at_once(connection, heads, events, times).await? {
                Some(written) => return Ok(written),
                None => self.careful = CAREFUL_BATCHES,
            }
        }
        locked(connection, events, times, lost_before).await
    }

    fn remember(&mut self, written: &Written) {
        if self.heads.len() + written.trees.len() > REMEMBERED_HEADS {
            self.heads.clear();
        }
        for (organization, growth) in &written.trees {
            self.heads.insert(organization.clone(), growth.after().clone());
        }
    }
}

async fn connected<'a>(
    connection: &'a mut Option<PgConnection>,
    options: &PgConnectOptions,
) -> Result<&'a mut PgConnection> {
    if connection.is_none() {
        let mut fresh = PgConnection::connect_with(options).await?;
        fresh.execute(COMMIT_IS_DURABLE).await?;
        *connection = Some(fresh);
    }
    let gone = || Failure::Refused(StoreError::inconsistent("lane", "connection"));
    connection.as_mut().ok_or_else(gone)
}

/// The heads of the batch's logs, if all are remembered.
fn remembered(
    heads: &HashMap<OrganizationId, Frontier>,
    events: &[PreparedEvent],
) -> Option<Heads> {
    let wanted = organizations(events);
    wanted.into_iter().map(|id| Some((id.clone(), heads.get(id)?.clone()))).collect()
}

/// Tries the batch on top of the remembered heads. `None` if they are out of date, or an event with
/// one of its idempotency keys was stored meanwhile: then nothing was written.
async fn at_once(
    connection: &mut PgConnection,
    heads: Heads,
    events: &[PreparedEvent],
    times: BatchTimes,
) -> Result<Option<Written>> {
    let keys = known_keys(connection, events, times.keys_since).await?;
    let plan = Plan::new(events, Beforehand { heads, keys, ..Beforehand::default() })?;
    match write(connection, &plan, times).await {
        Ok(()) => Ok(Some(Written { appended: plan.appended, trees: plan.trees })),
        Err(error) if is_out_of_date(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether [`write`] found that something was changed by others: the division by zero with which its
/// check fails, or a sequence or key that is taken.
fn is_out_of_date(error: &sqlx::Error) -> bool {
    const DIVISION_BY_ZERO: &str = "22012";
    const UNIQUE_VIOLATION: &str = "23505";
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == DIVISION_BY_ZERO || code == UNIQUE_VIOLATION)
}

/// Writes the batch in a transaction that locks the heads first.
async fn locked(
    connection: &mut PgConnection,
    events: &[PreparedEvent],
    times: BatchTimes,
    lost_before: bool,
) -> Result<Written> {
    let mut transaction = connection.begin().await?;
    match write_locked(&mut transaction, events, times, lost_before).await {
        Ok(written) => {
            transaction.commit().await?;
            Ok(written)
        }
        Err(failure) => {
            // At once: a transaction that is only dropped would keep its locks until the connection
            // is used again.
            transaction.rollback().await?;
            Err(failure)
        }
    }
}

async fn write_locked(
    connection: &mut PgConnection,
    events: &[PreparedEvent],
    times: BatchTimes,
    lost_before: bool,
) -> Result<Written> {
    let heads = lock_heads(connection, &organizations(events)).await?;
    // Read after the locks: what others stored before is seen, and nothing can be added any more.
    let keys = known_keys(connection, events, times.keys_since).await?;
    let ids = if lost_before { known_ids(connection, events).await? } else { Known::new() };
    let plan = Plan::new(events, Beforehand { heads, keys, ids })?;
    write(connection, &plan, times).await?;
    Ok(Written { appended: plan.appended, trees: plan.trees })
}

/// Locks the heads in the order of their organizations' ids, so that transactions wait for each other
/// in a line and never in a circle.
async fn lock_heads(
    connection: &mut PgConnection,
    organizations: &BTreeSet<&OrganizationId>,
) -> Result<Heads> {
    const SQL: &str = "SELECT organization_id, size, frontier FROM log_heads \
                       WHERE organization_id = ANY($1) ORDER BY organization_id FOR UPDATE";
    let ids: Vec<&str> = organizations.iter().map(|id| id.as_str()).collect();
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
    connection: &mut PgConnection,
    events: &[PreparedEvent],
    since: Timestamp,
) -> Result<Known<[u8; 16]>> {
    const SQL: &str = "SELECT e.id, e.sequence, e.leaf_hash, e.created_at, i.organization_id, i.key \
        FROM UNNEST($1::text[], $2::bytea[]) AS wanted (organization_id, key) \
        JOIN idempotency_keys AS i USING (organization_id, key) \
        JOIN events AS e ON e.organization_id = i.organization_id AND e.sequence = i.sequence \
        WHERE i.created_at >= $3";
    let keyed = events.iter().filter_map(|event| {
        Some((event.organization_id.as_str(), event.idempotency_key.as_ref()?.as_bytes()))
    });
    let (organizations, keys): (Vec<&str>, Vec<&[u8; 16]>) = keyed.unzip();
    if keys.is_empty() {
        return Ok(Known::new());
    }
    let query = sqlx::query(SQL).bind(organizations).bind(keys).bind(since.micros());
    let mut known = Known::new();
    for row in query.fetch_all(connection).await? {
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(4)?);
        known.insert((organization, fixed(row.try_get(5)?, "key")?), stored(&row, true)?);
    }
    Ok(known)
}

/// Finds the events that a lost attempt at the same batch stored.
async fn known_ids(
    connection: &mut PgConnection,
    events: &[PreparedEvent],
) -> Result<Known<String>> {
    const SQL: &str = "SELECT e.id, e.sequence, e.leaf_hash, e.created_at, e.organization_id \
        FROM UNNEST($1::text[], $2::text[]) AS wanted (organization_id, id) \
        JOIN events AS e USING (organization_id, id)";
    let wanted = events.iter().map(|event| (event.organization_id.as_str(), event.id.as_str()));
    let (organizations, ids): (Vec<&str>, Vec<&str>) = wanted.unzip();
    let mut known = Known::new();
    for row in sqlx::query(SQL).bind(organizations).bind(ids).fetch_all(connection).await? {
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(4)?);
        let event = stored(&row, false)?;
        known.insert((organization, event.event_id.to_string()), event);
    }
    Ok(known)
}

/// An event that is there: its id, sequence, leaf hash and time, as the first columns of a row.
fn stored(row: &PgRow, duplicate: bool) -> Result<Appended> {
    Ok(Appended {
        event_id: EventId::from_stored(row.try_get::<String, _>(0)?),
        sequence: from_column(row.try_get(1)?, "events", "sequence")?,
        leaf_hash: fixed(row.try_get(2)?, "leaf_hash")?,
        created_at: Timestamp::from_micros(row.try_get(3)?),
        duplicate,
    })
}

/// Inserts the events, their keys and tiles, and moves the heads, in one statement. The statement
/// fails, and changes nothing, if a head is not where the plan saw it, or a key that counts is there.
const WRITE: &str = "\
    WITH new_events AS ( \
        INSERT INTO events (organization_id, sequence, id, action, version, occurred_at, created_at, \
            actor_id, actor_name, target_types, target_ids, payload, salt, leaf_hash) \
        SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], \
            $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], \
            $12::bytea[], $13::bytea[], $14::bytea[])), \
    new_keys AS ( \
        INSERT INTO idempotency_keys (organization_id, key, sequence, created_at) \
        SELECT *, $15::bigint FROM UNNEST($16::text[], $17::bytea[], $18::bigint[]) \
        ON CONFLICT (organization_id, key) DO UPDATE \
            SET sequence = excluded.sequence, created_at = excluded.created_at \
            WHERE idempotency_keys.created_at < $19 \
        RETURNING 1), \
    new_tiles AS ( \
        INSERT INTO log_tiles (organization_id, level, tile, hashes, root) \
        SELECT * FROM UNNEST($20::text[], $21::bigint[], $22::bigint[], $23::bytea[], $24::bytea[])), \
    moved AS ( \
        UPDATE log_heads AS head SET size = after.size, frontier = after.frontier, updated_at = $15 \
        FROM UNNEST($25::text[], $26::bigint[], $27::bigint[], $28::bytea[]) \
            AS after (organization_id, was, size, frontier) \
        WHERE head.organization_id = after.organization_id AND head.size = after.was \
        RETURNING 1) \
    SELECT 1 / ((SELECT count(*) FROM moved) = $29 \
        AND (SELECT count(*) FROM new_keys) = $30)::int";

async fn write(
    connection: &mut PgConnection,
    plan: &Plan<'_>,
    times: BatchTimes,
) -> std::result::Result<(), sqlx::Error> {
    if plan.new.is_empty() {
        return Ok(());
    }
    let tiles = complete(connection, plan).await?;
    let (new, trees) = (&plan.new, &plan.trees);
    macro_rules! column {
        (|$event:ident| $value:expr) => {
            new.iter().map(|($event, _)| $value).collect::<Vec<_>>()
        };
    }
    let keyed: Vec<_> = new
        .iter()
        .filter_map(|(event, sequence)| Some((*event, event.idempotency_key.as_ref()?, *sequence)))
        .collect();
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    sqlx::query(AssertSqlSafe(WRITE))
        .bind(column!(|event| event.organization_id.as_str()))
        .bind(new.iter().map(|(_, sequence)| to_column(*sequence)).collect::<Vec<_>>())
        .bind(column!(|event| event.id.as_str()))
        .bind(column!(|event| event.columns.action.as_str()))
        .bind(column!(|event| i64::from(event.columns.version)))
        .bind(column!(|event| event.columns.occurred_at.micros()))
        .bind(column!(|event| event.created_at.micros()))
        .bind(column!(|event| event.columns.actor_id.as_str()))
        .bind(column!(|event| event.columns.actor_name.as_deref()))
        .bind(column!(|event| event.columns.target_types.as_str()))
        .bind(column!(|event| event.columns.target_ids.as_str()))
        .bind(column!(|event| event.payload.as_slice()))
        .bind(column!(|event| event.salt.as_slice()))
        .bind(column!(|event| event.leaf_hash.as_slice()))
        .bind(times.now.micros())
        .bind(keyed.iter().map(|(event, ..)| event.organization_id.as_str()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(_, key, _)| key.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(.., sequence)| to_column(*sequence)).collect::<Vec<_>>())
        .bind(times.keys_since.micros())
        .bind(tiles.iter().map(|row| row.organization.as_str()).collect::<Vec<_>>())
        .bind(tiles.iter().map(|row| i64::from(row.tile.level)).collect::<Vec<_>>())
        .bind(tiles.iter().map(|row| to_column(row.tile.index)).collect::<Vec<_>>())
        .bind(tiles.iter().map(|row| row.hashes.as_slice()).collect::<Vec<_>>())
        .bind(tiles.iter().map(|row| row.root.as_slice()).collect::<Vec<_>>())
        .bind(trees.keys().map(OrganizationId::as_str).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| to_column(tree.before().size())).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| to_column(tree.after().size())).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| tree.after().to_bytes()).collect::<Vec<_>>())
        .bind(count(trees.len()))
        .bind(count(keyed.len()))
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// The rows of the tiles that became full.
async fn complete(
    connection: &mut PgConnection,
    plan: &Plan<'_>,
) -> std::result::Result<Vec<TileRow>, sqlx::Error> {
    let mut rows = Vec::new();
    for tile in plan.completed_tiles() {
        let earlier = earlier_hashes(connection, tile).await?;
        rows.extend(tile.row(&earlier));
    }
    Ok(rows)
}

async fn earlier_hashes(
    connection: &mut PgConnection,
    tile: CompletedTile<'_>,
) -> std::result::Result<Vec<Vec<u8>>, sqlx::Error> {
    const LEAVES: &str = "SELECT leaf_hash FROM events WHERE organization_id = $1 \
        AND sequence >= $2 AND sequence < $3 ORDER BY sequence";
    const ROOTS: &str = "SELECT root FROM log_tiles WHERE organization_id = $1 \
        AND tile >= $2 AND tile < $3 AND level = $4 ORDER BY tile";
    let range = tile.earlier();
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let below = tile.tile.level.checked_sub(1);
    let query = sqlx::query_scalar(if below.is_some() { ROOTS } else { LEAVES })
        .bind(tile.organization.as_str())
        .bind(to_column(range.start))
        .bind(to_column(range.end));
    match below {
        Some(level) => query.bind(i64::from(level)).fetch_all(connection).await,
        None => query.fetch_all(connection).await,
    }
}
