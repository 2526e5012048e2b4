//! Pools of connections that give up what the database will never answer.
//!
//! PostgreSQL's protocol has no heartbeat: when the machine at the other end is gone, or stands still,
//! whoever waits for an answer waits until TCP gives up, which takes minutes or for ever. So a connection
//! of its own feels the pulse now and then; when nothing comes back, everything that waits is told, and
//! new connections are made for what comes.

use std::{
    pin::{Pin, pin},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, ExecResult, QueryResult, RuntimeErr, Statement, StreamTrait, TransactionOptions,
    TransactionTrait,
};
use sqlx::{Connection, PgConnection, PgPool, SqlitePool, postgres::PgConnectOptions};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::{Result, StoreError};

/// A database that does not answer the simplest question for so long answers nothing any more.
const PATIENCE: Duration = Duration::from_secs(3);

type DbResult<T> = std::result::Result<T, DbErr>;

/// Tells those who wait for the database when their answers are lost. The value is whether it is silent
/// still, so that there is no use in asking.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses(watch::Sender<bool>);

impl Losses {
    fn tell(&self, silent: bool) {
        self.0.send_replace(silent);
    }

    fn is_heard(&self) {
        self.0.send_if_modified(std::mem::take);
    }

    /// What comes of `work`, unless the answers that it waits for are lost.
    pub(super) async fn unless_lost<T, E: From<DbErr>>(
        &self,
        work: impl Future<Output = std::result::Result<T, E>>,
    ) -> std::result::Result<T, E> {
        let mut losses = self.0.subscribe();
        if *losses.borrow_and_update() {
            return Err(lost().into());
        }
        tokio::select! {
            biased;
            result = work => result,
            _ = losses.changed() => Err(lost().into()),
        }
    }
}

fn lost() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("no answer in time".to_owned()))
}

/// A pool. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    current: Arc<RwLock<DatabaseConnection>>,
    /// Shared: options are large, and stores are cloned everywhere.
    options: Arc<ConnectOptions>,
    losses: Losses,
}

impl Pool {
    /// Connects as the options say: later, if they are lazy.
    pub(super) async fn open(options: ConnectOptions, losses: &Losses) -> Result<Self> {
        // Boxed here and below: the driver's futures are large, and callers' stacks are not.
        let current = Box::pin(Database::connect(options.clone())).await?;
        let current = Arc::new(RwLock::new(current));
        Ok(Self { current, options: Arc::new(options), losses: losses.clone() })
    }

    /// The driver's pool, as it is now.
    pub(super) fn current(&self) -> DatabaseConnection {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The driver's own pool of an engine that is PostgreSQL.
    pub(super) fn postgres(&self) -> PgPool {
        self.current().get_postgres_connection_pool().clone()
    }

    /// The driver's own pool of an engine that is SQLite.
    pub(super) fn sqlite(&self) -> SqlitePool {
        self.current().get_sqlite_connection_pool().clone()
    }

    /// Whether every connection of PostgreSQL that there may be is there and in use.
    pub(super) fn is_full(&self) -> bool {
        let pool = self.postgres();
        pool.num_idle() == 0 && pool.size() >= pool.options().get_max_connections()
    }

    /// Who tells when answers are lost.
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Takes new connections from now on. Those that are there end when they are given back, if ever.
    async fn renew(&self) -> Result<()> {
        let fresh = Box::pin(Database::connect(self.options.as_ref().clone())).await?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let stale = std::mem::replace(&mut *current, fresh);
        // Marks it closed at once; to end its connections may take for ever.
        tokio::spawn(timeout(PATIENCE, stale.close()));
        Ok(())
    }

    /// Begins a transaction.
    pub(super) async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> DbResult<Transaction> {
        let pool = self.current();
        let begun = Box::pin(pool.begin_with_options(options));
        let inner = self.losses.unless_lost(begun).await?;
        Ok(Transaction { inner, losses: self.losses.clone() })
    }

    /// Ends every connection.
    pub(super) async fn close(self) -> DbResult<()> {
        self.current().close().await
    }
}

#[async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DbBackend {
        self.current.read().unwrap_or_else(PoisonError::into_inner).get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> DbResult<ExecResult> {
        self.losses.unless_lost(self.current().execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> DbResult<ExecResult> {
        self.losses.unless_lost(self.current().execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> DbResult<Option<QueryResult>> {
        self.losses.unless_lost(self.current().query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> DbResult<Vec<QueryResult>> {
        self.losses.unless_lost(self.current().query_all_raw(statement)).await
    }
}

impl StreamTrait for Pool {
    type Stream<'a> = Pin<Box<dyn Stream<Item = DbResult<QueryResult>> + Send + 'a>>;

    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(self)
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = DbResult<Self::Stream<'a>>> + 'a + Send>> {
        let pool = self.current();
        let mut losses = self.losses.0.subscribe();
        Box::pin(async move {
            let rows: Self::Stream<'a> = Box::pin(async_stream::try_stream! {
                let mut rows = self.losses.unless_lost(pool.stream_raw(statement)).await?;
                let mut is_lost = pin!(losses.changed());
                loop {
                    let row = tokio::select! {
                        biased;
                        row = rows.next() => row.transpose(),
                        _ = &mut is_lost => Err(lost()),
                    };
                    let Some(row) = row? else { break };
                    yield row;
                }
            });
            Ok(rows)
        })
    }
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    inner: DatabaseTransaction,
    losses: Losses,
}

impl Transaction {
    /// The driver's transaction.
    pub(super) fn inner(&self) -> &DatabaseTransaction {
        &self.inner
    }

    /// Makes lasting what was done. If the answer is lost, it is or is not.
    pub(super) async fn commit(self) -> DbResult<()> {
        self.losses.unless_lost(self.inner.commit()).await
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(&self.inner)
    }

    async fn execute_raw(&self, statement: Statement) -> DbResult<ExecResult> {
        self.losses.unless_lost(self.inner.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> DbResult<ExecResult> {
        self.losses.unless_lost(self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> DbResult<Option<QueryResult>> {
        self.losses.unless_lost(self.inner.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> DbResult<Vec<QueryResult>> {
        self.losses.unless_lost(self.inner.query_all_raw(statement)).await
    }
}

/// Which start of which server this is.
const WHO: &str = "SELECT concat(inet_server_addr(), ' ', inet_server_port(), ' ', \
                   pg_postmaster_start_time())";

/// A connection that nothing else goes over, and the pools beside it.
#[derive(Debug)]
pub(super) struct Pulse {
    options: PgConnectOptions,
    felt: Mutex<Felt>,
    pools: Vec<Pool>,
    losses: Losses,
}

/// A connection, and the server whose answers are waited for.
#[derive(Debug, Default)]
struct Felt {
    connection: Option<PgConnection>,
    server: Option<String>,
}

impl Pulse {
    /// Connects when it is first felt.
    pub(super) fn new(options: PgConnectOptions, pools: Vec<Pool>, losses: &Losses) -> Self {
        Self { options, felt: Mutex::default(), pools, losses: losses.clone() }
    }

    /// Whether the server answers, on the connection that there is or on a new one. If it is silent,
    /// what else waits for an answer of it waits no more.
    pub(super) async fn feel(&self) -> Result<()> {
        let mut felt = self.felt.lock().await;
        if let Some(mut connection) = felt.connection.take() {
            match timeout(PATIENCE, connection.ping()).await {
                Ok(Ok(())) => {
                    felt.connection = Some(connection);
                    return Ok(());
                }
                Ok(Err(_)) => {}
                Err(_) => {
                    felt.server = None;
                    self.give_up(false).await?;
                }
            }
        }
        let Ok(connected) = timeout(PATIENCE, self.connect()).await else {
            felt.server = None;
            self.give_up(true).await?;
            return Err(StoreError::no_answer());
        };
        let (connection, server) = connected?;
        self.losses.is_heard();
        felt.connection = Some(connection);
        // Somebody took over the address: those who only wait for answers of the server before would never
        // be told.
        if felt.server.replace(server.clone()).is_some_and(|before| before != server) {
            self.give_up(false).await?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<(PgConnection, String)> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let server = sqlx::query_scalar(WHO).fetch_one(&mut connection).await?;
        Ok((connection, server))
    }

    /// Ends the connection.
    pub(super) async fn close(&self) -> Result<()> {
        match self.felt.lock().await.connection.take() {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }

    async fn give_up(&self, silent: bool) -> Result<()> {
        tracing::warn!("the database is silent: its connections are given up");
        for pool in &self.pools {
            pool.renew().await?;
        }
        self.losses.tell(silent);
        Ok(())
    }
}
