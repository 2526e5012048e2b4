//! Erasing the events of a log that are past their retention, from its beginning, in short steps.
//!
//! A step is one transaction: the rows and how far the log is erased change together, so a crash leaves
//! nothing half done. It locks the log's row of `log_retention`, as a legal hold does, and never its
//! head: writers do not wait for it.

use std::ops::Range;

use sea_orm::{ConnectionTrait, EntityTrait, QueryResult, QuerySelect, Set, Statement, Value};

use super::{
    Result, Store, StoreError,
    entity::{log_head, log_retention},
    from_column,
    pool::Transaction,
    to_column,
};
use crate::{
    domain::{
        ids::OrganizationId,
        retention::{Candidate, Erased, Prefix, Step, cutoff, expired_prefix},
        timestamp::Timestamp,
    },
    merkle::{Hash, TILE_WIDTH},
};

/// Events that one step erases at most.
const STEP_EVENTS: u64 = 768;
/// Bytes of a hash in a tile.
const HASH_BYTES: usize = size_of::<Hash>();

/// What is past its retention.
#[derive(Debug, Clone, Copy)]
pub struct RetentionRule {
    /// Now.
    pub now: Timestamp,
    /// For how many days events are kept where the organization says nothing.
    pub default_days: u32,
}

/// A log, and whether there is anything to erase in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgedLog {
    /// Whose log.
    pub organization: OrganizationId,
    /// Whether its first event is past its retention, or it has tombstones that are not needed any
    /// more; and it is not held.
    pub has_work: bool,
}

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Events that it erased.
    pub events: u64,
    /// Rows that it deleted, of these events and earlier tombstones.
    pub deleted_rows: u64,
    /// Whether there may be more to erase.
    pub has_more: bool,
    /// The sequence at which a row is gone or blank that retention did not erase: nothing from there
    /// on is erased.
    pub broken_at: Option<u64>,
    /// The sequence of the first leaf hash that is not in its tile: rows of such a tile stay as
    /// tombstones, so that it can still be told that they do not fit.
    pub unfit_at: Option<u64>,
}

/// A row that may go.
struct Row {
    sequence: u64,
    received: Timestamp,
    is_tombstone: bool,
    leaf_hash: Vec<u8>,
}

impl Store {
    /// The next logs, at most `limit`, after that of `after` in the order of ids; those of deleted
    /// organizations too. Looks at one event of each.
    pub async fn aged_logs(
        &self,
        after: &str,
        rule: RetentionRule,
        limit: u64,
    ) -> Result<Vec<AgedLog>> {
        const SQL: &str = "SELECT o.id, o.retention_days, COALESCE(r.erased_below, 0), \
            COALESCE(r.deleted_below, 0), r.held_at, COALESCE(h.size, 0), \
            (SELECT e.created_at FROM events AS e WHERE e.organization_id = o.id \
                AND e.sequence >= COALESCE(r.erased_below, 0) ORDER BY e.sequence LIMIT 1) \
            FROM organizations AS o \
            LEFT JOIN log_retention AS r ON r.organization_id = o.id \
            LEFT JOIN log_heads AS h ON h.organization_id = o.id \
            WHERE o.id > $1 ORDER BY o.id LIMIT $2";
        let values: [Value; 2] = [after.into(), to_column(limit).into()];
        let statement = Statement::from_sql_and_values(self.engine.backend(), SQL, values);
        let rows = self.scanner().query_all_raw(statement).await?;
        rows.iter().map(|row| aged_log(row, rule)).collect()
    }

    /// Erases the next events of a log that are past its retention, at most 768, and deletes the
    /// tombstones whose tile is complete by now. Does nothing if the log is held.
    pub async fn erase_step(
        &self,
        organization: &OrganizationId,
        rule: RetentionRule,
    ) -> Result<Erasure> {
        let transaction = self.begin().await?;
        let step = Erasing { store: self, transaction: &transaction, organization };
        let erasure = step.run(rule).await?;
        transaction.commit().await?;
        Ok(erasure)
    }
}

fn aged_log(row: &QueryResult, rule: RetentionRule) -> Result<AgedLog> {
    let days = days(row.try_get_by_index(1)?, rule)?;
    let erased = erased(row.try_get_by_index(2)?, row.try_get_by_index(3)?)?;
    let held: Option<i64> = row.try_get_by_index(4)?;
    let tiled = tiled(row.try_get_by_index(5)?)?;
    let oldest: Option<i64> = row.try_get_by_index(6)?;
    let is_old = oldest.is_some_and(|at| Timestamp::from_micros(at) < cutoff(rule.now, days));
    let has_tombstones = !erased.advance(erased.below, tiled).delete.is_empty();
    Ok(AgedLog {
        organization: OrganizationId::from_stored(row.try_get_by_index::<String>(0)?),
        has_work: held.is_none() && (is_old || has_tombstones),
    })
}

/// One step, within its transaction.
struct Erasing<'a> {
    store: &'a Store,
    transaction: &'a Transaction,
    organization: &'a OrganizationId,
}

impl Erasing<'_> {
    async fn run(&self, rule: RetentionRule) -> Result<Erasure> {
        let Some(before) = self.lock().await? else { return Ok(Erasure::default()) };
        let cutoff = cutoff(rule.now, self.days(rule).await?);
        // Before the rows: a leaf of a tile that is complete now is not read by a writer any more.
        let head = log_head::scoped(self.organization).one(self.transaction).await?;
        let size = head.map_or(0, |head| head.size);
        let (size, tiled) = (from_column(size, "log_heads", "size")?, tiled(size)?);
        let rows = self.rows(before).await?;
        let candidates = rows.iter().filter(|row| row.sequence >= before.below);
        let last = size.min(before.below + STEP_EVENTS);
        let Prefix { end, is_broken } =
            expired_prefix(candidates.map(Row::candidate), before.below, last, cutoff);
        let step = before.advance(end, tiled);
        let mut erasure = Erasure {
            events: step.after.below - before.below,
            has_more: end - before.below == STEP_EVENTS,
            broken_at: is_broken.then_some(end),
            ..Erasure::default()
        };
        self.apply(before, &step, &rows, &mut erasure).await?;
        Ok(erasure)
    }

    /// How far the log is erased, locked until the end of the transaction; `None` if it is held.
    async fn lock(&self) -> Result<Option<Erased>> {
        let row = log_retention::ActiveModel {
            organization_id: Set(self.organization.as_str().to_owned()),
            erased_below: Set(0),
            deleted_below: Set(0),
            held_at: Set(None),
            hold_reason: Set(None),
        };
        log_retention::Entity::insert(row)
            .on_conflict_do_nothing_on([log_retention::Column::OrganizationId])
            .exec_without_returning(self.transaction)
            .await?;
        let row = log_retention::scoped(self.organization).lock_exclusive();
        let row = row.one(self.transaction).await?;
        let row = row.ok_or(StoreError::inconsistent("log_retention", "organization_id"))?;
        if row.held_at.is_some() {
            return Ok(None);
        }
        erased(row.erased_below, row.deleted_below).map(Some)
    }

    /// For how many days the organization's events are kept, as of now.
    async fn days(&self, rule: RetentionRule) -> Result<u32> {
        const SQL: &str = "SELECT retention_days FROM organizations WHERE id = $1";
        let row = self.transaction.query_one_raw(self.statement(SQL, [])).await?;
        let row = row.ok_or(StoreError::inconsistent("organizations", "id"))?;
        days(row.try_get_by_index(0)?, rule)
    }

    /// The tombstones, and the rows that this step may erase.
    async fn rows(&self, erased: Erased) -> Result<Vec<Row>> {
        const SQL: &str = "SELECT sequence, created_at, CAST(LENGTH(salt) AS BIGINT), leaf_hash \
            FROM events WHERE organization_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3";
        let limit = erased.tombstones().min(TILE_WIDTH) + STEP_EVENTS;
        let values = [erased.deleted_below, limit].map(|value| to_column(value).into());
        let rows = self.transaction.query_all_raw(self.statement(SQL, values)).await?;
        rows.iter().map(Row::read).collect()
    }

    async fn apply(
        &self,
        before: Erased,
        step: &Step,
        rows: &[Row],
        erasure: &mut Erasure,
    ) -> Result<()> {
        let tiles = self.tiles(&step.delete).await?;
        let mut delete: Vec<Range<u64>> = Vec::new();
        let mut bury = vec![step.bury.clone()];
        for (range, hashes) in in_tiles(&step.delete).zip(tiles) {
            let unfit = unfit(rows, &range, hashes.as_deref());
            match (unfit, delete.last_mut()) {
                (Some(at), _) => {
                    erasure.unfit_at.get_or_insert(at);
                    bury.push(range.start.max(before.below)..range.end);
                }
                (None, Some(last)) if last.end == range.start => last.end = range.end,
                (None, _) => delete.push(range),
            }
        }
        for range in delete {
            erasure.deleted_rows += self.delete(&range).await?;
        }
        for range in bury {
            self.bury(&range).await?;
        }
        self.note(step.after).await
    }

    /// The hashes of each complete tile that has some of these leaves, in order; `None` for one that
    /// is not there.
    async fn tiles(&self, leaves: &Range<u64>) -> Result<Vec<Option<Vec<u8>>>> {
        const SQL: &str = "SELECT tile, hashes FROM log_tiles WHERE organization_id = $1 \
            AND level = 0 AND tile >= $2 AND tile < $3";
        if leaves.is_empty() {
            return Ok(Vec::new());
        }
        let first = leaves.start / TILE_WIDTH;
        let count = leaves.end.div_ceil(TILE_WIDTH) - first;
        let mut tiles = vec![None; usize::try_from(count).unwrap_or(0)];
        let values = [first, first + count].map(|tile| to_column(tile).into());
        for row in self.transaction.query_all_raw(self.statement(SQL, values)).await? {
            let tile = from_column(row.try_get_by_index(0)?, "log_tiles", "tile")? - first;
            if let Some(place) = usize::try_from(tile).ok().and_then(|at| tiles.get_mut(at)) {
                *place = Some(row.try_get_by_index(1)?);
            }
        }
        Ok(tiles)
    }

    async fn delete(&self, range: &Range<u64>) -> Result<u64> {
        const SQL: &str =
            "DELETE FROM events WHERE organization_id = $1 AND sequence >= $2 AND sequence < $3";
        self.change(SQL, range, []).await
    }

    /// Leaves of these rows nothing but their leaf hashes. The id is unique and that of no event.
    async fn bury(&self, range: &Range<u64>) -> Result<u64> {
        const SQL: &str = "UPDATE events SET \
            id = 'erased ' || organization_id || ' ' || CAST(sequence AS TEXT), \
            action = '', version = 0, occurred_at = 0, created_at = 0, actor_id = '', \
            actor_name = NULL, target_types = '', target_ids = '', payload = $4, salt = $4 \
            WHERE organization_id = $1 AND sequence >= $2 AND sequence < $3";
        if range.is_empty() {
            return Ok(0);
        }
        self.change(SQL, range, [Vec::<u8>::new().into()]).await
    }

    async fn note(&self, after: Erased) -> Result<()> {
        const SQL: &str = "UPDATE log_retention SET erased_below = $2, deleted_below = $3 \
            WHERE organization_id = $1";
        let values = [after.below, after.deleted_below].map(|value| to_column(value).into());
        self.transaction.execute_raw(self.statement(SQL, values)).await?;
        Ok(())
    }

    async fn change(
        &self,
        sql: &str,
        range: &Range<u64>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64> {
        let bounds = [range.start, range.end].map(|at| to_column(at).into());
        let statement = self.statement(sql, bounds.into_iter().chain(values));
        Ok(self.transaction.execute_raw(statement).await?.rows_affected())
    }

    fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        let organization = Value::from(self.organization.as_str());
        let values = std::iter::once(organization).chain(values);
        Statement::from_sql_and_values(self.store.engine.backend(), sql, values)
    }
}

impl Row {
    fn read(row: &QueryResult) -> Result<Self> {
        let salt: i64 = row.try_get_by_index(2)?;
        Ok(Self {
            sequence: from_column(row.try_get_by_index(0)?, "events", "sequence")?,
            received: Timestamp::from_micros(row.try_get_by_index(1)?),
            is_tombstone: salt == 0,
            leaf_hash: row.try_get_by_index(3)?,
        })
    }

    fn candidate(&self) -> Candidate {
        let Self { sequence, received, is_tombstone, .. } = *self;
        Candidate { sequence, received, is_tombstone }
    }
}

/// The parts of a range that are in one tile each.
fn in_tiles(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = *range;
    let tiles = start / TILE_WIDTH..end.div_ceil(TILE_WIDTH);
    let tiles = if start < end { tiles } else { 0..0 };
    tiles.map(move |tile| (tile * TILE_WIDTH).max(start)..((tile + 1) * TILE_WIDTH).min(end))
}

/// The first of the rows in `range` whose leaf hash is not the one that their tile has.
fn unfit(rows: &[Row], range: &Range<u64>, tile: Option<&[u8]>) -> Option<u64> {
    let Some(hashes) = tile else { return Some(range.start) };
    let differs = |row: &&Row| {
        let place = usize::try_from(row.sequence % TILE_WIDTH).unwrap_or(0) * HASH_BYTES;
        hashes.get(place..place + HASH_BYTES) != Some(&*row.leaf_hash)
    };
    let mut rows = rows.iter().filter(|row| range.contains(&row.sequence));
    rows.find(differs).map(|row| row.sequence)
}

fn days(own: Option<i64>, rule: RetentionRule) -> Result<u32> {
    let own = own.map(u32::try_from).transpose();
    let own = own.map_err(|_| StoreError::inconsistent("organizations", "retention_days"))?;
    Ok(own.unwrap_or(rule.default_days))
}

fn erased(below: i64, deleted_below: i64) -> Result<Erased> {
    let below = from_column(below, "log_retention", "erased_below")?;
    let deleted_below = from_column(deleted_below, "log_retention", "deleted_below")?;
    if deleted_below > below {
        return Err(StoreError::inconsistent("log_retention", "deleted_below"));
    }
    Ok(Erased { below, deleted_below })
}

/// Leaves in complete tiles of a log of that size.
fn tiled(size: i64) -> Result<u64> {
    let size = from_column(size, "log_heads", "size")?;
    Ok(size - size % TILE_WIDTH)
}
