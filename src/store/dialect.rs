//! Where SQLite and PostgreSQL differ. The only place that asks which engine it is.

use sea_orm::{
    DbBackend, ExprTrait, Statement,
    sea_query::{Expr, SimpleExpr},
};

use super::{Result, StoreError};

/// A database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded.
    Sqlite,
    /// A server, for several replicas.
    Postgres,
}

impl Engine {
    /// The engine that a database URL names.
    pub fn of_url(url: &str) -> Result<Self> {
        match url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            // The URL itself may hold a password: it is not repeated.
            _ => Err(StoreError::Setting(
                "database_url must start with sqlite:// or postgres://".to_owned(),
            )),
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    pub(super) const fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
        }
    }

    /// Whether there is a single writer at a time.
    pub(super) const fn has_one_writer(self) -> bool {
        match self {
            Self::Sqlite => true,
            Self::Postgres => false,
        }
    }

    /// Whether LISTEN and NOTIFY are there. SQLite's database is that of one process.
    pub(super) const fn carries_messages(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::Postgres => true,
        }
    }

    /// Whether a transaction sees one snapshot only if it is asked for. SQLite's always does.
    pub(super) const fn snapshot_needs_isolation(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::Postgres => true,
        }
    }

    /// Whether migrations have ever run, as one boolean.
    pub(super) fn migration_table_exists(self) -> Statement {
        let sql = match self {
            Self::Sqlite => {
                "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations')"
            }
            Self::Postgres => "SELECT to_regclass('seaql_migrations') IS NOT NULL",
        };
        Statement::from_string(self.backend(), sql)
    }

    /// Statements whose one value tells when a commit returns.
    pub(super) const fn durability_questions(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[
                "SELECT 'journal ' || journal_mode FROM pragma_journal_mode",
                "SELECT 'synchronous ' || synchronous FROM pragma_synchronous",
            ],
            Self::Postgres => {
                &["SELECT 'synchronous_commit ' || current_setting('synchronous_commit')"]
            }
        }
    }

    /// Statement that keeps a transaction alone in the deployment with those that say it too, by an
    /// advisory lock whose key is "auditlog" in ASCII. SQLite's write lock needs no statement.
    pub(super) const fn be_alone(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(x'61756469746c6f67'::bigint)"),
        }
    }

    /// Statement after which a transaction waits two seconds for a lock, no longer. SQLite's locks are the whole
    /// database's, and waits for them are short anyway.
    pub(super) const fn short_waits_for_locks(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SET LOCAL lock_timeout = '2s'"),
        }
    }

    /// The column `sequence`, to be compared with a lower bound that is no reason to choose an index.
    /// SQLite, which knows no figures of the data, would take the primary key for it where the index by
    /// time has much less to read. PostgreSQL chooses by cost, and with the bound passes over what its
    /// indexes still have of deleted rows.
    pub(super) fn sequence_with_bound(self) -> SimpleExpr {
        Expr::cust(match self {
            Self::Sqlite => "+sequence",
            Self::Postgres => "sequence",
        })
    }

    /// Whether the text in `column` contains `part`.
    pub(super) fn contains(self, column: &'static str, part: String) -> SimpleExpr {
        let template = match self {
            Self::Sqlite => format!("instr({column}, ?)"),
            Self::Postgres => format!("strpos({column}, $1)"),
        };
        Expr::cust_with_values(template, [part]).gt(0)
    }
}
