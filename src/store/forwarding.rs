//! Reading a log to forward it: a part at a time, as fast as the engine hands it out.

use std::ops::Range;

use rusqlite::params_from_iter;
use sea_orm::Statement;

use super::{
    PartBounds, Result, Store, StoreError, WatchPart, WatchRow,
    events::present,
    export_rows::{ExportSource, sqlite},
    fixed, from_column,
    watch::part,
};
use crate::domain::ids::OrganizationId;

/// From so many events on, a thread and a connection of its own cost less than a pool's, which hands
/// rows over one by one.
const MANY: u64 = 64;

impl Store {
    /// The events of a range of a log that were not erased, or as many as the bounds allow.
    pub async fn read_log(
        &self,
        organization: &OrganizationId,
        range: Range<u64>,
        bounds: PartBounds,
    ) -> Result<WatchPart> {
        match self.export_source() {
            ExportSource::File(path) if range.end - range.start >= MANY => {
                let query = part(present(self.engine, organization), &range, bounds);
                let statement = sea_orm::QueryTrait::build(&query, self.engine.backend());
                let work = tokio::task::spawn_blocking(move || {
                    read(&sqlite::open(path)?, &statement, &range, bounds)
                });
                work.await.map_err(|_| StoreError::no_answer())?
            }
            _ => self.watch_newest(organization, range, bounds).await,
        }
    }
}

fn read(
    connection: &rusqlite::Connection,
    statement: &Statement,
    range: &Range<u64>,
    bounds: PartBounds,
) -> Result<WatchPart> {
    let mut prepared = connection.prepare(&statement.sql)?;
    let mut found = prepared.query(params_from_iter(sqlite::bound(statement)?))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let sequence = from_column(row.get(0)?, "events", "sequence")?;
        let blob = |index, name| {
            let value = row.get_ref(index)?.as_bytes();
            value.map_err(|_| StoreError::inconsistent("events", name))
        };
        let payload = blob(1, "payload")?;
        bytes += payload.len();
        if rows.len() == bounds.events || (bytes > bounds.bytes && !rows.is_empty()) {
            return Ok(WatchPart { rows, next: sequence });
        }
        let leaf_hash = fixed(blob(2, "leaf_hash")?, "events", "leaf_hash")?;
        rows.push(WatchRow { sequence, payload: payload.to_vec(), leaf_hash });
    }
    Ok(WatchPart { rows, next: range.end })
}
