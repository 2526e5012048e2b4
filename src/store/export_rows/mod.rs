//! Reading the rows of an export, in pieces of bounded size, as fast as the engine hands them out.

mod postgres;
mod reading;
pub(super) mod sqlite;
#[cfg(test)]
mod tests;

use std::{ops::Range, path::PathBuf};

use sea_orm::{
    ColumnTrait, Condition, DbErr, PaginatorTrait, QueryOrder, QuerySelect, Statement, Value,
};
use tokio::sync::mpsc;

use self::reading::Reading;
use super::{
    Result, Store, StoreError,
    entity::event,
    events::{matching, selection},
    fixed, from_column,
    pool::Pool,
    to_column,
};
use crate::{
    domain::{
        caller::Tenant,
        export::Export,
        filter::{EventFilter, EventRange},
    },
    merkle::Hash,
};

/// Rows that a piece has at most. Short statements do not keep the database from cleaning up.
const ROWS: usize = 4_000;
/// A piece ends after the row with which it has so many bytes.
const BYTES: usize = 1_024 * 1_024;
/// Rows outside of an export's range up to which they are counted.
const COUNTED: u64 = 100_000;

/// The order in which an export reads a log, and what it reads of each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportOrder {
    /// Ascending by `occurred_at`, then by sequence: the events.
    Time,
    /// Ascending by sequence: the events, and what proves them.
    Sequence,
}

/// Some rows of an export, in order.
#[derive(Debug, Default)]
pub struct ExportRows {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

/// Where the parts of a row are.
#[derive(Debug)]
struct Row {
    sequence: u64,
    leaf_hash: Hash,
    payload: Range<usize>,
    salt: Range<usize>,
}

/// An event as an export reads it.
#[derive(Debug, Clone, Copy)]
pub struct ExportRow<'a> {
    /// Position in the log.
    pub sequence: u64,
    /// The canonical bytes.
    pub payload: &'a [u8],
    /// The salt; empty if the order is that of time.
    pub salt: &'a [u8],
    /// Hash of the leaf; zeros if the order is that of time.
    pub leaf_hash: &'a Hash,
}

impl ExportRows {
    /// Row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ExportRow<'_>> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.rows.iter().map(move |row| ExportRow {
            sequence: row.sequence,
            payload: part(&row.payload),
            salt: part(&row.salt),
            leaf_hash: &row.leaf_hash,
        })
    }

    /// How many bytes the parts have.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row. Those whose event retention erased are not among the rows that are read: one without
    /// its event was blanked behind the service's back, and is not to be left out in silence.
    fn push(&mut self, sequence: i64, payload: &[u8], proof: Option<(&[u8], &[u8])>) -> Result<()> {
        if payload.is_empty() {
            return Err(StoreError::inconsistent("events", "payload"));
        }
        let (salt, leaf_hash) = match proof {
            Some((salt, leaf_hash)) => (salt, fixed(leaf_hash, "events", "leaf_hash")?),
            None => (&[][..], Hash::default()),
        };
        let payload = self.append(payload);
        let salt = self.append(salt);
        let sequence = from_column(sequence, "events", "sequence")?;
        self.rows.push(Row { sequence, leaf_hash, payload, salt });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

/// From where rows are read.
pub(super) enum ExportSource {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(Box<Pool>),
}

/// Where a row is: `occurred_at` and sequence. In the order of sequences the former says nothing.
type Place = (i64, i64);

/// What a statement found.
struct Piece {
    rows: ExportRows,
    /// The last row, if there was any.
    last: Option<Place>,
    /// Whether there may be more up to where the statement was to look.
    is_full: bool,
}

/// How many events an export will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// So many.
    pub rows: u64,
    /// Or fewer.
    pub is_upper_bound: bool,
}

impl Store {
    /// Reads all rows of an export and hands them to `taker`, in pieces of about a megabyte. Returns
    /// after the last, or when nobody takes them any more.
    pub async fn read_export(
        &self,
        export: &Export,
        order: ExportOrder,
        taker: &mpsc::Sender<ExportRows>,
    ) -> Result<()> {
        // Nothing is looked for among what retention erased.
        let erased = self.retention_state(&tenant(export)).await?.erased_events;
        let reading = Reading::new(self.engine, export, order, erased);
        match self.export_source() {
            ExportSource::File(path) => sqlite::read(path, reading, taker).await,
            ExportSource::Server(pool) => postgres::read(&pool, reading, taker).await,
        }
    }

    /// How many events an export will have, by looking at the index and not at the rows, most of the
    /// time: where a range takes in all but some of a log, those are counted. Further filters are not
    /// looked at, so with them the estimate is an upper bound.
    pub async fn estimate_export(&self, export: &Export) -> Result<Estimate> {
        // One at a time: the other connections of exports are for their rows.
        let _turn = self.estimates.acquire().await.map_err(|_| StoreError::no_answer())?;
        let filtered = !export.filter.is_empty();
        let all = EventRange { occurred_from: None, occurred_until: None, ..range(export) };
        let outside = Condition::any()
            .add(event::Column::OccurredAt.lt(export.range.start.micros()))
            .add(event::Column::OccurredAt.gt(export.range.end.micros()));
        let outside = matching(self.engine, &EventFilter::default(), &all).add(outside);
        let outside = self.count_some(export, outside).await?;
        let Some(oldest) = self.oldest_sequence(export).await? else {
            return Ok(Estimate { rows: 0, is_upper_bound: false });
        };
        if let (Some(outside), 0) = (outside, oldest) {
            let rows = export.tree_size.saturating_sub(outside);
            return Ok(Estimate { rows, is_upper_bound: filtered });
        }
        let inside = matching(self.engine, &EventFilter::default(), &range(export));
        let rows = selection(self.engine, &tenant(export), inside).count(self.exporter()).await?;
        Ok(Estimate { rows, is_upper_bound: filtered })
    }

    /// How many rows there are, if they are not many.
    async fn count_some(&self, export: &Export, condition: Condition) -> Result<Option<u64>> {
        let some = selection(self.engine, &tenant(export), condition)
            .select_only()
            .column(event::Column::Sequence)
            .limit(COUNTED);
        let found = some.count(self.exporter()).await?;
        Ok((found < COUNTED).then_some(found))
    }

    /// The lowest sequence that is still there, if there is any.
    async fn oldest_sequence(&self, export: &Export) -> Result<Option<u64>> {
        let oldest: Option<i64> = selection(self.engine, &tenant(export), Condition::all())
            .select_only()
            .column(event::Column::Sequence)
            .order_by_asc(event::Column::Sequence)
            .into_tuple()
            .one(self.exporter())
            .await?;
        oldest.map(|oldest| from_column(oldest, "events", "sequence")).transpose()
    }
}

/// A value of a statement.
enum Argument<'a> {
    /// Of the type that PostgreSQL calls INT4.
    Small(i32),
    Integer(i64),
    Text(&'a str),
}

/// The values of a statement: numbers and texts, which are all that ranges and filters have.
fn arguments(statement: &Statement) -> Result<Vec<Argument<'_>>> {
    let argument = |value| match value {
        &Value::Int(Some(number)) => Ok(Argument::Small(number)),
        &Value::BigInt(Some(number)) => Ok(Argument::Integer(number)),
        &Value::BigUnsigned(Some(number)) => Ok(Argument::Integer(to_column(number))),
        Value::String(Some(text)) => Ok(Argument::Text(text)),
        other => Err(DbErr::Type(format!("{other:?} is no value of an export")).into()),
    };
    statement.values.iter().flat_map(|values| &values.0).map(argument).collect()
}

/// The range of an export. An empty snapshot has no highest sequence; then nothing can match.
fn range(export: &Export) -> EventRange {
    let last = export.tree_size.checked_sub(1);
    EventRange {
        occurred_from: Some(export.range.start),
        occurred_until: Some(export.range.end),
        sequence_from: last.is_none().then_some(u64::MAX),
        sequence_until: last,
    }
}

/// The log that an export reads; the export's row says whose it is.
fn tenant(export: &Export) -> Tenant {
    let (environment, organization) =
        (export.environment_id.clone(), export.organization_id.clone());
    Tenant { environment, organization }
}
