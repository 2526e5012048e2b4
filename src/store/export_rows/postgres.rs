//! Reading the rows of an export from PostgreSQL: a short statement a piece, the next one under way
//! while the last piece is taken.

use futures::TryStreamExt;
use sea_orm::Statement;
use sqlx::{
    AssertSqlSafe, PgPool, Row,
    postgres::{PgArguments, PgRow},
};
use tokio::sync::mpsc;

use super::{Argument, BYTES, ExportOrder, ExportRows, Place, ROWS, arguments, statement};
use crate::{
    domain::export::Export,
    store::{Engine, Result, StoreError, pool::Pool},
};

/// A piece ends early with so many bytes: rows are hardly ever that large.
const MOST_BYTES: usize = 8 * BYTES;

pub(super) async fn read(
    pool: &Pool,
    engine: Engine,
    export: &Export,
    order: ExportOrder,
    taker: &mpsc::Sender<ExportRows>,
) -> Result<()> {
    let mut after = None;
    loop {
        let statement = statement(engine, export, order, after);
        let piece = Box::pin(async { piece(&pool.postgres(), statement, order).await });
        let (rows, last) = pool.losses().unless_lost(piece).await?;
        if last.is_none() || (!rows.is_empty() && taker.send(rows).await.is_err()) {
            return Ok(());
        }
        after = last;
    }
}

/// Some rows, and the place of the last one, erased or not.
async fn piece(
    pool: &PgPool,
    statement: Statement,
    order: ExportOrder,
) -> Result<(ExportRows, Option<Place>)> {
    let bound = bound(&statement)?;
    // The statement was built from parts that are ours; what callers sent is in its arguments.
    let query = sqlx::query_with(AssertSqlSafe(statement.sql), bound);
    let mut stream = query.fetch(pool);
    let mut rows = ExportRows::default();
    rows.bytes.reserve(BYTES);
    rows.rows.reserve(ROWS);
    let mut last = None;
    while let Some(row) = stream.try_next().await? {
        let place: Place = (row.try_get(0)?, row.try_get(1)?);
        last = Some(place);
        let proof = match order {
            ExportOrder::Time => None,
            ExportOrder::Sequence => Some((bytes(&row, 3)?, bytes(&row, 4)?)),
        };
        rows.push(place.1, bytes(&row, 2)?, proof)?;
        if rows.bytes() > MOST_BYTES {
            break;
        }
    }
    Ok((rows, last))
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
