//! Reading the rows of an export from SQLite: on a thread of its own with a connection of its own,
//! which copies each row once, out of the library's own buffers.

use std::{path::PathBuf, time::Duration};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value as SqlValue};
use sea_orm::Statement;
use tokio::sync::mpsc;

use super::{Argument, BYTES, ExportOrder, ExportRows, Place, arguments, statement};
use crate::{
    domain::export::Export,
    store::{Engine, Result, StoreError},
};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

pub(super) async fn read(
    path: PathBuf,
    engine: Engine,
    export: &Export,
    order: ExportOrder,
    taker: &mpsc::Sender<ExportRows>,
) -> Result<()> {
    let (export, taker) = (export.clone(), taker.clone());
    let work = tokio::task::spawn_blocking(move || {
        let connection = open(path)?;
        let mut after = None;
        loop {
            // The statement ends before the piece is handed on: while it is open, the write-ahead log
            // can only grow.
            let statement = statement(engine, &export, order, after);
            let (rows, last) = piece(&connection, &statement, order)?;
            if last.is_none() || (!rows.is_empty() && taker.blocking_send(rows).is_err()) {
                return Ok(());
            }
            after = last;
        }
    });
    work.await.map_err(|_| StoreError::no_answer())?
}

/// A connection that reads, for a thread of its own.
pub(in crate::store) fn open(path: PathBuf) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Some rows, and the place of the last one, erased or not.
fn piece(
    connection: &Connection,
    statement: &Statement,
    order: ExportOrder,
) -> Result<(ExportRows, Option<Place>)> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let mut found = prepared.query(params_from_iter(bound(statement)?))?;
    let mut rows = ExportRows::default();
    rows.bytes.reserve(BYTES);
    let mut last = None;
    let bytes = |_| StoreError::inconsistent("events", "payload");
    while let Some(row) = found.next()? {
        let place: Place = (row.get(0)?, row.get(1)?);
        last = Some(place);
        let column = |index| row.get_ref(index)?.as_bytes().map_err(bytes);
        let proof = match order {
            ExportOrder::Time => None,
            ExportOrder::Sequence => Some((column(3)?, column(4)?)),
        };
        rows.push(place.1, column(2)?, proof)?;
        if rows.bytes() > BYTES {
            break;
        }
    }
    Ok((rows, last))
}

pub(in crate::store) fn bound(statement: &Statement) -> Result<Vec<SqlValue>> {
    let bound = arguments(statement)?.into_iter().map(|argument| match argument {
        Argument::Small(number) => SqlValue::Integer(number.into()),
        Argument::Integer(number) => SqlValue::Integer(number),
        Argument::Text(text) => SqlValue::Text(text.to_owned()),
    });
    Ok(bound.collect())
}
