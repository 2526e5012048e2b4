//! Connecting, migrating, and whether the database can be used.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use migrations::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Statement,
    sqlx::{
        Connection, Executor,
        postgres::PgConnectOptions,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{
    Engine, LogWriter, Result, Store, StoreError,
    export_rows::ExportSource,
    pool::{Losses, Pool, Pulse},
};
use crate::directory;

/// How to connect.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `sqlite://path` or `postgres://...`.
    pub url: String,
    /// Most connections (SQLite: most that read).
    pub max_connections: u32,
}

/// How long a caller waits for a connection, or SQLite for another process's lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// PostgreSQL ends a statement after this long; a dropped future alone would not.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for statements that may look at many rows.
const SCAN_TIMEOUT: Duration = Duration::from_mins(2);
/// How often, and with which pause, a migration is tried that finds a table in use: for as long as a statement
/// may take that looks at many rows, and more.
const MIGRATION_TRIES: u32 = 60;
const MIGRATION_REST: Duration = Duration::from_secs(3);
/// Fewest connections of PostgreSQL that exports have: for the rows of two while another counts.
const EXPORTING: u32 = 3;
/// A plan that does for all values guesses that a range of times is 0.5 % of a log, and sorts all of it for
/// a page in the order of sequences. One for the values at hand knows; planning costs less than a millisecond.
const PLAN_BY_VALUES: &[(&str, &str)] = &[("plan_cache_mode", "force_custom_plan")];
/// A replica that stands still within a transaction must not keep others from the heads that it locked.
const NO_IDLE_LOCKS: &[(&str, &str)] = &[("idle_in_transaction_session_timeout", "10s")];
/// The pieces of an export come in the order of an index. To sort would be to read the rest of the log for
/// each of them, whatever the planner takes that for.
const NEVER_SORT: &[(&str, &str)] = &[("enable_sort", "off")];
/// A database or role may be set not to wait for the disk; our promise is that we do. Settings that
/// wait for more than that (such as `remote_apply`) stay.
pub(super) const COMMIT_IS_DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                                 WHERE current_setting('synchronous_commit') = 'off'";

/// How much of a pool of connections is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// What it is for.
    pub name: &'static str,
    /// Open connections.
    pub open: u32,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Most that may be open.
    pub most: u32,
}

impl Store {
    /// Makes the pools. PostgreSQL is not contacted yet; a SQLite file is created if need be.
    pub async fn connect(options: &StoreOptions) -> Result<Self> {
        let (engine, losses) = (Engine::of_url(&options.url)?, Losses::default());
        let scanning = (options.max_connections / 4).max(1);
        let exporting = scanning.max(EXPORTING);
        let keyed = options.max_connections.saturating_sub(scanning + exporting).max(1);
        match engine {
            Engine::Postgres => {
                // The driver's own complaint would repeat the URL, which may hold a password.
                let Ok(server) = PgConnectOptions::from_str(&options.url) else {
                    let message = "database_url is not a valid postgres:// URL";
                    return Err(StoreError::Setting(message.to_owned()));
                };
                let url = &options.url;
                let open = async |options| Pool::open(options, &losses).await;
                let pool = postgres_options(url, keyed, STATEMENT_TIMEOUT, NO_IDLE_LOCKS);
                let pool = open(pool).await?;
                let scanner = postgres_options(url, scanning, SCAN_TIMEOUT, PLAN_BY_VALUES);
                let scanner = open(scanner).await?;
                let exporter = postgres_options(url, exporting, SCAN_TIMEOUT, NEVER_SORT);
                let exporter = open(exporter).await?;
                let pools = vec![pool.clone(), scanner.clone(), exporter.clone()];
                let pulse = Some(Arc::new(Pulse::new(server, pools, &losses)));
                let (writer, reader, estimates) = (pool.clone(), pool, one_at_a_time());
                Ok(Self { engine, writer, reader, scanner, exporter, pulse, estimates })
            }
            Engine::Sqlite => {
                create_parent(&sqlite_path(&options.url)?)?;
                let url = sqlite_url(&options.url)?;
                // SQLite has one writer at a time; a queue for one connection is fairer than a race
                // for the lock.
                let writer = Pool::open(sqlite_options(&url, 1), &losses).await?;
                let readers = async |count| {
                    let mut reading = sqlite_options(&url, count);
                    reading.connect_lazy(true);
                    Pool::open(reading, &losses).await
                };
                // What exports read comes past the pools.
                let keyed = options.max_connections.saturating_sub(scanning + 1).max(1);
                let (reader, scanner) = (readers(keyed).await?, readers(scanning).await?);
                let (exporter, estimates) = (readers(1).await?, one_at_a_time());
                Ok(Self { engine, writer, reader, scanner, exporter, pulse: None, estimates })
            }
        }
    }

    /// What puts events at the end of their logs. SQLite has one writer at a time, so there it takes
    /// turns with the other writes of this process; on PostgreSQL it has a connection of its own.
    pub fn log_writer(&self) -> LogWriter {
        match self.engine {
            Engine::Sqlite => LogWriter::sqlite(self.writer.sqlite()),
            Engine::Postgres => {
                let options = self.writer.postgres().connect_options();
                LogWriter::postgres(options.as_ref().clone(), self.writer.losses().clone())
            }
        }
    }

    /// How much of each pool is in use.
    pub fn pools(&self) -> Vec<PoolState> {
        let named = match self.engine {
            Engine::Sqlite => vec![("write", &self.writer), ("read", &self.reader)],
            Engine::Postgres => vec![("calls", &self.reader)],
        };
        let rest = [("lists", &self.scanner), ("exports", &self.exporter)];
        let state = |(name, pool): (&'static str, &Pool)| {
            let (open, idle, most) = match self.engine {
                Engine::Sqlite => {
                    let pool = pool.sqlite();
                    (pool.size(), pool.num_idle(), pool.options().get_max_connections())
                }
                Engine::Postgres => {
                    let pool = pool.postgres();
                    (pool.size(), pool.num_idle(), pool.options().get_max_connections())
                }
            };
            PoolState { name, open, idle, most }
        };
        named.into_iter().chain(rest).map(state).collect()
    }

    /// From where exports are read: on SQLite past the pools, by a connection of their own.
    pub(super) fn export_source(&self) -> ExportSource {
        match self.engine {
            Engine::Sqlite => {
                let pool = self.scanner.sqlite();
                ExportSource::File(pool.connect_options().get_filename().to_path_buf())
            }
            Engine::Postgres => ExportSource::Server(Box::new(self.exporter.clone())),
        }
    }

    /// Connects to a database that is there, for reading only: nothing that is done with this store
    /// changes it.
    pub async fn connect_read_only(options: &StoreOptions) -> Result<Self> {
        let (engine, losses) = (Engine::of_url(&options.url)?, Losses::default());
        let connect = match engine {
            Engine::Postgres => {
                let url = &options.url;
                let mut connect = base_options(url, options.max_connections);
                connect.statement_timeout(SCAN_TIMEOUT);
                connect.map_sqlx_postgres_opts(|postgres| {
                    postgres.options([("default_transaction_read_only", "on")])
                });
                connect
            }
            Engine::Sqlite => {
                let url = sqlite_url(&options.url)?;
                let mut connect = base_options(&url, options.max_connections);
                connect.map_sqlx_sqlite_opts(|sqlite| {
                    sqlite.read_only(true).busy_timeout(ACQUIRE_TIMEOUT)
                });
                connect
            }
        };
        let pool = Pool::open(connect, &losses).await?;
        let (writer, reader, exporter) = (pool.clone(), pool.clone(), pool.clone());
        let estimates = one_at_a_time();
        Ok(Self { engine, writer, reader, scanner: pool, exporter, pulse: None, estimates })
    }

    /// Brings the schema up to date, and gives logs from before there were trees their trees. Safe
    /// when several replicas do it at once, and again after it was interrupted.
    ///
    /// Other replicas may serve meanwhile. Whoever waits to alter a table that somebody reads makes all
    /// others wait behind it, so that is given up after a moment, and tried again for five minutes.
    pub async fn migrate(&self) -> Result<()> {
        for _ in 1..MIGRATION_TRIES {
            match self.migrate_schema().await {
                Err(StoreError::Conflict(_)) => {
                    warn!("a table that is to be migrated is in use: waiting");
                    tokio::time::sleep(MIGRATION_REST).await;
                }
                result => {
                    result?;
                    return self.build_missing_trees().await;
                }
            }
        }
        self.migrate_schema().await?;
        self.build_missing_trees().await
    }

    async fn migrate_schema(&self) -> Result<()> {
        let transaction = self.begin_alone().await?;
        if let Some(setting) = self.engine.short_waits_for_locks() {
            transaction.execute_unprepared(setting).await?;
        }
        Migrator::up(transaction.inner(), None).await?;
        Ok(transaction.commit().await?)
    }

    /// Fails with [`StoreError::NotMigrated`] if a migration is missing. Those of a later version are no
    /// obstacle: they leave this version what it needs. Changes nothing.
    pub async fn check_migrated(&self) -> Result<()> {
        let table_exists = self.writer.query_one_raw(self.engine.migration_table_exists()).await?;
        let exists = table_exists.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false));
        if !exists {
            return Err(StoreError::NotMigrated);
        }
        let standing = migrations::standing(&self.writer.current()).await?;
        if !standing.later.is_empty() {
            info!(later = ?standing.later, "the database has the schema of a later version");
        }
        if standing.missing.is_empty() { Ok(()) } else { Err(StoreError::NotMigrated) }
    }

    /// Whether the database answers. If it is silent, those who wait for its answers are told that it is
    /// not available.
    pub async fn ping(&self) -> Result<()> {
        if let Some(pulse) = &self.pulse {
            pulse.feel().await?;
        }
        let statement = Statement::from_string(self.engine.backend(), "SELECT 1");
        match self.reader.query_one_raw(statement).await {
            // All of them work for callers, and the pulse says that the server answers.
            Err(_) if self.pulse.is_some() && self.reader.is_full() => Ok(()),
            answer => Ok(answer.map(|_| ())?),
        }
    }

    /// What the engine says of when a commit returns, for the log: PostgreSQL's
    /// `synchronous_commit`, SQLite's journal mode and `synchronous` (2 is FULL).
    pub async fn durability(&self) -> Result<String> {
        let mut told = Vec::new();
        for question in self.engine.durability_questions() {
            let statement = Statement::from_string(self.engine.backend(), *question);
            if let Some(row) = self.writer.query_one_raw(statement).await? {
                told.push(row.try_get_by_index::<String>(0)?);
            }
        }
        Ok(told.join(", "))
    }

    /// Ends every connection, so that SQLite can fold its write-ahead log into the file.
    pub async fn close(self) -> Result<()> {
        if let Some(pulse) = &self.pulse {
            pulse.close().await?;
        }
        self.scanner.close().await?;
        self.exporter.close().await?;
        self.reader.close().await?;
        Ok(self.writer.close().await?)
    }

    /// The connection for statements outside a transaction.
    pub(super) fn writer(&self) -> &Pool {
        &self.writer
    }

    /// The connection for reads by key.
    pub(super) fn reader(&self) -> &Pool {
        &self.reader
    }

    /// The connection for reads of many rows.
    pub(super) fn scanner(&self) -> &Pool {
        &self.scanner
    }

    /// The connection for what exports ask beside their rows.
    pub(super) fn exporter(&self) -> &Pool {
        &self.exporter
    }
}

fn one_at_a_time() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

fn postgres_options(
    url: &str,
    max_connections: u32,
    statement_timeout: Duration,
    settings: &'static [(&str, &str)],
) -> ConnectOptions {
    let mut connect = base_options(url, max_connections);
    connect.connect_lazy(true).statement_timeout(statement_timeout);
    connect.map_sqlx_postgres_opts(|postgres| postgres.options(settings.iter().copied()));
    connect.map_sqlx_postgres_pool_opts(|pool| {
        pool.after_connect(|connection, _| {
            Box::pin(async move { connection.execute(COMMIT_IS_DURABLE).await.map(|_| ()) })
        })
    });
    connect
}

fn base_options(url: &str, max_connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

fn sqlite_options(url: &str, max_connections: u32) -> ConnectOptions {
    let mut options = base_options(url, max_connections);
    // A file does not go away while it is not used.
    options.test_before_acquire(false);
    options.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| {
            Box::pin(async move {
                // Brings a rollback that was begun to its end.
                connection.ping().await?;
                // An error after which SQLite rolls back by itself (a full disk, an I/O error) leaves
                // the driver counting a transaction that is none: the next one would be a savepoint
                // within it, and what that "commits" would never be stored. Such a connection is
                // thrown away.
                Ok(!connection.is_in_transaction())
            })
        })
    });
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged event survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            // What is erased is overwritten, and does not stay in free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(ACQUIRE_TIMEOUT)
    });
    options
}

/// The path in `sqlite://path` or `sqlite:path`.
pub(super) fn sqlite_path(url: &str) -> Result<PathBuf> {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() || path.contains(":memory:") {
        let message =
            "database_url: a SQLite database must be a file, as in sqlite://data/audit.db";
        return Err(StoreError::Setting(message.to_owned()));
    }
    Ok(PathBuf::from(path))
}

/// The URL without parameters: they could weaken durability (`mode=memory`, `immutable=1`).
fn sqlite_url(url: &str) -> Result<String> {
    Ok(format!("sqlite://{}", sqlite_path(url)?.display()))
}

fn create_parent(path: &std::path::Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Some(parent) = parent else { return Ok(()) };
    directory::create(parent).map_err(|error| {
        StoreError::Setting(format!("cannot create the directory {}: {error}", parent.display()))
    })
}
