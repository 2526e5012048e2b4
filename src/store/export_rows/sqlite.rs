//! Reading the rows of an export from SQLite: on a thread of its own with a connection of its own,
//! which copies each row once, out of the library's own buffers.

use std::{path::PathBuf, time::Duration};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value as SqlValue};
use sea_orm::Statement;
use tokio::sync::mpsc;

use super::{Argument, BYTES, ExportOrder, ExportRows, Piece, Place, ROWS, Reading, arguments};
use crate::store::{Result, StoreError};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

pub(super) async fn read(
    path: PathBuf,
    mut reading: Reading,
    taker: &mpsc::Sender<ExportRows>,
) -> Result<()> {
    let taker = taker.clone();
    let work = tokio::task::spawn_blocking(move || {
        let connection = open(path)?;
        // Nobody ends this thread: it looks itself whether the export is still wanted.
        while !taker.is_closed() {
            if let Some(statement) = reading.look_ahead() {
                reading.look_until(place(&connection, &statement)?);
            }
            // The statement ends before the piece is handed on: while it is open, the write-ahead log
            // can only grow.
            let piece = piece(&connection, &reading.piece(), reading.order)?;
            let is_more = reading.advance(&piece);
            if !piece.rows.is_empty() && taker.blocking_send(piece.rows).is_err() || !is_more {
                break;
            }
        }
        Ok(())
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

/// The place of a row, if there is one.
fn place(connection: &Connection, statement: &Statement) -> Result<Option<Place>> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let mut found = prepared.query(params_from_iter(bound(statement)?))?;
    let Some(row) = found.next()? else { return Ok(None) };
    Ok(Some((row.get(0)?, row.get(1)?)))
}

/// Some rows.
fn piece(connection: &Connection, statement: &Statement, order: ExportOrder) -> Result<Piece> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let mut found = prepared.query(params_from_iter(bound(statement)?))?;
    let mut rows = ExportRows::default();
    rows.bytes.reserve(BYTES);
    let (mut last, mut is_full) = (None, false);
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
        is_full = rows.bytes() > BYTES || rows.rows.len() >= ROWS;
        if is_full {
            break;
        }
    }
    Ok(Piece { rows, last, is_full })
}

pub(in crate::store) fn bound(statement: &Statement) -> Result<Vec<SqlValue>> {
    let bound = arguments(statement)?.into_iter().map(|argument| match argument {
        Argument::Small(number) => SqlValue::Integer(number.into()),
        Argument::Integer(number) => SqlValue::Integer(number),
        Argument::Text(text) => SqlValue::Text(text.to_owned()),
    });
    Ok(bound.collect())
}
