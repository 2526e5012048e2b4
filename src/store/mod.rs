//! The database. One concrete [`Store`] over SQLite and PostgreSQL; its functions take and return
//! words of the domain, and driver types stop here.

mod actions;
mod api_keys;
mod append;
mod backup;
mod checkpoints;
mod connect;
mod dialect;
mod entity;
mod error;
mod events;
mod export_leases;
mod export_rows;
mod exports;
mod forwarding;
mod idempotency;
mod journal;
mod leases;
mod leaves;
mod legal_holds;
mod log_stream_dead_letters;
mod log_stream_leases;
mod log_streams;
mod missing_trees;
mod notify;
mod organizations;
mod paging;
mod pool;
mod retention;
mod signing_keys;
mod tree;
mod verify;
mod watch;

use std::sync::Arc;

use sea_orm::{ConnectionTrait, SqliteTransactionMode, TransactionOptions};
use tokio::sync::Semaphore;

use self::pool::{Pool, Pulse, Transaction};
pub use self::{
    actions::NewSchema,
    append::{Appended, BatchTimes, EventColumns, LogWriter, PreparedEvent, Written},
    backup::back_up,
    checkpoints::{GrownLog, StoredCheckpoint},
    connect::{PoolState, StoreOptions},
    dialect::Engine,
    error::StoreError,
    export_leases::ExportLease,
    export_rows::{Estimate, ExportOrder, ExportRow, ExportRows},
    leases::Lease,
    leaves::{Leaf, LeafData, LeafKey},
    legal_holds::Deletion,
    log_stream_leases::{Delivery, FailedDelivery, HeldStream, LeasedStreams},
    log_streams::StoredLogStream,
    notify::{Listener, MESSAGE_BYTES},
    organizations::{Changed, Owner, Registration},
    retention::{AgedLog, Erasure, RetentionRule},
    signing_keys::RegisteredKey,
    verify::{CheckpointRow, LogSnapshot, StoredEvent, StoredHead, StoredTile},
    watch::{PartBounds, WatchPart, WatchRow},
};

/// The result of a store function.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A database, with its pools. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Engine,
    /// SQLite: the one connection that writes. PostgreSQL: the same pool as `reader`.
    writer: Pool,
    /// For reads by key, which every call needs.
    reader: Pool,
    /// For reads that may look at many rows, such as lists of events: they can be slow, and must not take
    /// the connections that everything else needs.
    scanner: Pool,
    /// For exports: slow lists must not keep them from their rows, nor they the lists.
    exporter: Pool,
    /// Whether the server is there at all; a file always is.
    pulse: Option<Arc<Pulse>>,
    /// Whose turn it is to count the rows of an export.
    estimates: Arc<Semaphore>,
}

impl Store {
    /// Whether the database has a single writer at a time, so that several would only wait for each
    /// other.
    pub fn has_one_writer(&self) -> bool {
        self.engine.has_one_writer()
    }

    /// The engine behind the store.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once: a transaction
    /// that reads first and writes later could not get it any more (`SQLITE_BUSY_SNAPSHOT`).
    async fn begin(&self) -> Result<Transaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        Ok(self.writer.begin_with_options(options).await?)
    }

    /// Begins a transaction that no other replica's of this kind runs beside: for what must happen
    /// once in the deployment.
    async fn begin_alone(&self) -> Result<Transaction> {
        let transaction = self.begin().await?;
        if let Some(lock) = self.engine.be_alone() {
            transaction.execute_unprepared(lock).await?;
        }
        Ok(transaction)
    }
}

/// Counts and sequences are BIGINT in the database and unsigned above it.
fn to_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The way back; a negative count is a sign of tampering.
fn from_column(count: i64, table: &'static str, column: &'static str) -> Result<u64> {
    u64::try_from(count).map_err(|_| StoreError::inconsistent(table, column))
}

/// Bytes of a fixed length, such as a hash, as they were stored.
fn fixed<const N: usize>(
    bytes: &[u8],
    table: &'static str,
    column: &'static str,
) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| StoreError::inconsistent(table, column))
}
