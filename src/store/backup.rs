//! Copying a SQLite database while it is served.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use tokio::task::spawn_blocking;

use super::{Engine, Result, StoreError, connect::sqlite_path};

/// Only the owner may read and write it: it has what the database has.
const OWNER_ONLY: u32 = 0o600;
/// How long to wait for a lock of another process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Copies the SQLite database at `url` to a new file at `output` and returns its size in bytes.
///
/// The copy is the database at one moment, whoever writes meanwhile, and nobody waits for it. It is on the
/// disk when this returns; until then there is no file of that name. One file is all: the copy has no
/// write-ahead log.
pub async fn back_up(url: &str, output: &Path) -> Result<u64> {
    if !Engine::of_url(url)?.has_one_writer() {
        let message =
            "a PostgreSQL database is backed up with pg_dump or pg_basebackup: docs/backup.md";
        return Err(StoreError::Setting(message.to_owned()));
    }
    let (database, output) = (sqlite_path(url)?, output.to_owned());
    let copied = spawn_blocking(move || copy_to(&database, &output)).await;
    copied.map_err(|error| failed(&"the copy ended", &error))?
}

fn copy_to(database: &Path, output: &Path) -> Result<u64> {
    let cannot = |error: &std::io::Error| failed(&output.display(), error);
    let exists = output.try_exists().map_err(|error| cannot(&error))?;
    if exists {
        return Err(cannot(&ErrorKind::AlreadyExists.into()));
    }
    let part = part_of(output);
    let finished = copy(database, &part)
        .and_then(|()| put_in_place(&part, output).map_err(|error| cannot(&error)));
    if finished.is_err() {
        // Best effort: it may never have been made.
        let _ = std::fs::remove_file(&part);
    }
    finished
}

fn part_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn copy(database: &Path, part: &Path) -> Result<()> {
    let made =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(part);
    made.map_err(|error| failed(&part.display(), &error))?;
    // Without CREATE: a database that is not there is not made.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(database, flags)
        .map_err(|error| failed(&database.display(), &error))?;
    source.busy_timeout(LOCK_TIMEOUT)?;
    let mut copy = Connection::open_with_flags(part, flags)?;
    // All pages in one step, so from one snapshot: a step after another's write would begin anew.
    match Backup::new(&source, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        _ => return Err(StoreError::no_answer()),
    }
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(())
}

fn put_in_place(part: &Path, output: &Path) -> std::io::Result<u64> {
    let file = File::open(part)?;
    file.sync_all()?;
    // A link, not a rename, which would replace what came there meanwhile.
    std::fs::hard_link(part, output)?;
    std::fs::remove_file(part)?;
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file.metadata()?.len())
}

fn failed(what: &dyn std::fmt::Display, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Setting(format!("{what}: {error}"))
}
