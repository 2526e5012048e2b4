//! Reading the rows of an export from PostgreSQL: a short statement a piece, the next one under way
//! while the last piece is taken.

use std::time::Duration;

use futures::TryStreamExt;
use sea_orm::Statement;
use sqlx::{
    AssertSqlSafe, PgPool, Row,
    postgres::{PgArguments, PgRow},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{Argument, BYTES, ExportOrder, ExportRows, Piece, Place, ROWS, Reading, arguments};
use crate::store::{Result, StoreError, pool::Pool};

/// A piece ends early with so many bytes: rows are hardly ever that large.
const MOST_BYTES: usize = 8 * BYTES;
/// For how long a statement is tried again while the database is away, or all connections are busy. The
/// lease of the export does not last longer either.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before that.
const REST: Duration = Duration::from_millis(250);

pub(super) async fn read(
    pool: &Pool,
    mut reading: Reading,
    taker: &mpsc::Sender<ExportRows>,
) -> Result<()> {
    loop {
        if let Some(statement) = reading.look_ahead() {
            reading.look_until(patiently(|| place(pool, statement.clone())).await?);
        }
        let (statement, order) = (reading.piece(), reading.order);
        let piece = patiently(|| piece(pool, statement.clone(), order)).await?;
        let is_more = reading.advance(&piece);
        if !piece.rows.is_empty() && taker.send(piece.rows).await.is_err() || !is_more {
            return Ok(());
        }
    }
}

/// Tries again what fails because the database is away or busy: a long export would otherwise begin anew
/// for every moment of that.
async fn patiently<T, W>(work: impl Fn() -> W) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    loop {
        match work().await {
            Err(StoreError::Unavailable(_) | StoreError::Conflict(_))
                if begun.elapsed() < PATIENCE =>
            {
                sleep(REST).await;
            }
            result => return result,
        }
    }
}

/// The place of a row, if there is one.
async fn place(pool: &Pool, statement: Statement) -> Result<Option<Place>> {
    let bound = bound(&statement)?;
    let server = pool.postgres();
    let look = Box::pin(async {
        // The statement was built from parts that are ours; what callers sent is in its arguments.
        let query = sqlx::query_with(AssertSqlSafe(statement.sql), bound);
        let Some(row) = query.fetch_optional(&server).await? else { return Ok(None) };
        Ok(Some((row.try_get(0)?, row.try_get(1)?)))
    });
    pool.losses().unless_lost(look).await
}

/// Some rows.
async fn piece(pool: &Pool, statement: Statement, order: ExportOrder) -> Result<Piece> {
    let server = pool.postgres();
    pool.losses().unless_lost(Box::pin(read_piece(&server, statement, order))).await
}

async fn read_piece(pool: &PgPool, statement: Statement, order: ExportOrder) -> Result<Piece> {
    let bound = bound(&statement)?;
    let query = sqlx::query_with(AssertSqlSafe(statement.sql), bound);
    let mut stream = query.fetch(pool);
    let mut rows = ExportRows::default();
    rows.bytes.reserve(BYTES);
    rows.rows.reserve(ROWS);
    let (mut last, mut is_full) = (None, false);
    while let Some(row) = stream.try_next().await? {
        let place: Place = (row.try_get(0)?, row.try_get(1)?);
        last = Some(place);
        let proof = match order {
            ExportOrder::Time => None,
            ExportOrder::Sequence => Some((bytes(&row, 3)?, bytes(&row, 4)?)),
        };
        rows.push(place.1, bytes(&row, 2)?, proof)?;
        is_full = rows.bytes() > MOST_BYTES || rows.rows.len() >= ROWS;
        if is_full {
            break;
        }
    }
    Ok(Piece { rows, last, is_full })
}

fn bytes(row: &PgRow, column: usize) -> Result<&[u8]> {
    row.try_get_raw(column)?.as_bytes().map_err(|_| StoreError::inconsistent("events", "payload"))
}

fn bound(statement: &Statement) -> Result<PgArguments> {
    use sqlx::Arguments;
    let mut bound = PgArguments::default();
    for argument in arguments(statement)? {
        let added = match argument {
            Argument::Small(number) => bound.add(number),
            Argument::Integer(number) => bound.add(number),
            Argument::Text(text) => bound.add(text.to_owned()),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}
