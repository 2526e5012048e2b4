//! Emptying SQLite's write-ahead log: pages that were copied into the file stay in it until others take their
//! place, with whatever was erased since.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};
use tokio::task::spawn_blocking;

use super::{Result, Store, StoreError};

impl Store {
    /// Copies all of the write-ahead log into the file and cuts it off. False if somebody reads or writes just
    /// now: nobody waits for this. PostgreSQL has no such log, which is as if it was done.
    pub async fn empty_journal(&self) -> Result<bool> {
        if !self.engine().has_one_writer() {
            return Ok(true);
        }
        let pool = self.writer().sqlite();
        // Writers of this process take turns.
        let _turn = pool.acquire().await.map_err(StoreError::from)?;
        let path = pool.connect_options().get_filename().to_path_buf();
        let emptied = spawn_blocking(move || empty(&path)).await;
        emptied.unwrap_or_else(|_| Err(StoreError::no_answer()))
    }
}

fn empty(path: &Path) -> Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    // The first column tells whether somebody was in the way.
    let is_busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(is_busy == 0)
}
