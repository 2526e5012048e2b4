//! What can go wrong in the database. The only place that reads driver errors.

use std::sync::Arc;

use sea_orm::{DbErr, RuntimeErr, SqlErr};
use thiserror::Error;

/// A failure of the database.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// Another transaction was in the way; the same call can succeed when repeated.
    #[error("the transaction conflicted with another")]
    Conflict(#[source] DbErr),
    /// A row with that key is there already.
    #[error("a row with that key exists")]
    Duplicate(#[source] DbErr),
    /// The database cannot be reached or does not answer in time.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// A row cannot be understood: it was changed behind the service's back, or by a later version.
    #[error("the column {column} of table {table} has a value that cannot be understood")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The schema of the database is older than this program.
    #[error("the database schema is not up to date")]
    NotMigrated,
    /// The setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// Anything else; a defect of this program.
    #[error("the database refused a statement")]
    Unexpected(#[source] DbErr),
}

impl StoreError {
    pub(super) const fn inconsistent(table: &'static str, column: &'static str) -> Self {
        Self::Inconsistent { table, column }
    }

    /// An earlier attempt may have succeeded, and this error keeps us from finding out.
    pub(super) fn leaves_open(self) -> Self {
        match self {
            Self::Unavailable(_) => self,
            other => Self::Unavailable(DbErr::Custom(other.to_string())),
        }
    }

    /// The database did not answer in time.
    pub(super) fn no_answer() -> Self {
        Self::Unavailable(DbErr::Conn(RuntimeErr::Internal("no answer in time".to_owned())))
    }

    /// Whether the connection to the database is gone, or the database goes away or comes back just
    /// now: what was under way may have happened or not, and a new connection may help.
    pub(super) fn lost_connection(&self) -> bool {
        let Self::Unavailable(
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)),
        ) = self
        else {
            return false;
        };
        match cause.as_ref() {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => true,
            // Read-only (a standby), too many connections, shutting down, crashed, starting up, idle
            // for too long; class 08: connection exceptions; class 28: a password that is being
            // changed (PostgreSQL documentation, appendix A).
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                matches!(
                    code.as_ref(),
                    "25006" | "25P03" | "53300" | "57P01" | "57P02" | "57P03" | "57P05"
                ) || code.starts_with("08")
                    || code.starts_with("28")
            }),
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code.to_string());
        let cause = DbErr::Exec(RuntimeErr::Internal(error.to_string()));
        match code.map_or(Kind::Unexpected, |code| Kind::of_code(&code)) {
            Kind::Conflict => Self::Conflict(cause),
            Kind::Unavailable => Self::Unavailable(cause),
            Kind::Unexpected => Self::Unexpected(cause),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error))).into()
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
            return Self::Duplicate(error);
        }
        match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Unavailable(error),
            DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => match Kind::of(cause) {
                Kind::Conflict => Self::Conflict(error),
                Kind::Unavailable => Self::Unavailable(error),
                Kind::Unexpected => Self::Unexpected(error),
            },
            _ => Self::Unexpected(error),
        }
    }
}

enum Kind {
    Conflict,
    Unavailable,
    Unexpected,
}

impl Kind {
    fn of(cause: &sqlx::Error) -> Self {
        match cause {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            // What answers there is no database: a proxy whose database is away.
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable,
            sqlx::Error::Database(error) => {
                error.code().map_or(Self::Unexpected, |code| Self::of_code(&code))
            }
            _ => Self::Unexpected,
        }
    }

    /// PostgreSQL: five-character SQLSTATE (documentation, appendix A). SQLite: extended result
    /// codes as decimals, whose low byte is the primary code (sqlite.org/rescode.html).
    fn of_code(code: &str) -> Self {
        match code {
            // Serialization failure, deadlock, no lock in time.
            "40001" | "40P01" | "55P03" => Self::Conflict,
            // Read-only (a standby), disk full, out of memory, too many connections, shutting down,
            // starting up, idle for too long, timeout.
            "25006" | "25P03" | "53100" | "53200" | "53300" | "57P01" | "57P02" | "57P03"
            | "57P05" | "57014" => Self::Unavailable,
            code if code.len() == 5 && (code.starts_with("08") || code.starts_with("28")) => {
                Self::Unavailable
            }
            // Another SQLSTATE: many are five digits, which no code of SQLite has.
            code if code.len() == 5 => Self::Unexpected,
            code => match code.parse::<u32>().map(|code| code & 0xff) {
                // SQLITE_BUSY, SQLITE_LOCKED.
                Ok(5 | 6) => Self::Conflict,
                // SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN.
                Ok(10 | 13 | 14) => Self::Unavailable,
                _ => Self::Unexpected,
            },
        }
    }
}
