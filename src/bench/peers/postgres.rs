//! The peers on PostgreSQL, through sqlx: tables `LIKE` the service's own, in the same database.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Row as _,
    pool::PoolConnection,
    postgres::{PgArguments, PgPoolOptions},
    query::Query,
};

use super::{
    super::{
        load::Caller,
        rows::{Cell, Column, EmptyHead, Event, KNOWN, KeyOf, Kind, Rows, Table},
        sample::Sample,
    },
    BULK_ROWS, copy,
};

/// Most connections of a peer; PostgreSQL's default is 100 for all.
const CONNECTIONS: u32 = 64;
/// A caller waits for its turn for this long.
const TURN: Duration = Duration::from_mins(1);

/// Connections and tables of the peers.
pub struct Peers {
    pool: PgPool,
    naive: Arc<Statements>,
    naive_rows: Arc<Rows>,
    bare: Arc<str>,
    bare_rows: Arc<Rows>,
    copy: Arc<str>,
    copy_rows: Arc<Rows>,
    columns: Arc<Vec<Column>>,
}

/// The statements of peer 1.
struct Statements {
    lock: &'static str,
    find_key: &'static str,
    insert: Arc<str>,
    insert_key: Arc<str>,
    key_columns: Vec<Column>,
    move_head: &'static str,
}

impl Peers {
    /// Makes the tables in the database that the service has migrated.
    pub async fn new(url: &str, sample: &Arc<Sample>) -> Result<Self> {
        let options = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(TURN)
            // It would cost a round trip each time.
            .test_before_acquire(false);
        let pool = options.connect(url).await.context("the peers cannot connect")?;
        for (schema, tables) in [
            ("bench_naive", &["events", "log_heads", "idempotency_keys"][..]),
            ("bench_bare", &["events"]),
            ("bench_copy", &["events"]),
        ] {
            execute(&pool, format!("CREATE SCHEMA {schema}")).await?;
            for table in tables {
                let like = format!("(LIKE public.{table} INCLUDING ALL)");
                execute(&pool, format!("CREATE TABLE {schema}.{table} {like}")).await?;
            }
        }
        let events = columns(&pool, "events").await?;
        let key_columns = columns(&pool, "idempotency_keys").await?;
        let heads = columns(&pool, "log_heads").await?;
        let insert_head = insert("bench_naive.log_heads", &heads);
        for organization in sample.organizations() {
            let head = EmptyHead(organization);
            filled(&insert_head, &heads, &head).execute(&pool).await?;
        }
        let naive = Statements {
            lock: "SELECT size FROM bench_naive.log_heads WHERE organization_id = $1 FOR UPDATE",
            find_key: "SELECT sequence FROM bench_naive.idempotency_keys \
                       WHERE organization_id = $1 AND key = $2",
            insert: insert("bench_naive.events", &events),
            insert_key: insert("bench_naive.idempotency_keys", &key_columns),
            key_columns,
            move_head: "UPDATE bench_naive.log_heads SET size = $2 WHERE organization_id = $1",
        };
        let names = events.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let copy = format!("COPY bench_copy.events ({names}) FROM STDIN (FORMAT binary)");
        Ok(Self {
            pool,
            naive: Arc::new(naive),
            naive_rows: Arc::new(Rows::new(sample.clone())?),
            bare: insert("bench_bare.events", &events),
            bare_rows: Arc::new(Rows::new(sample.clone())?),
            copy: copy.into(),
            copy_rows: Arc::new(Rows::new(sample.clone())?),
            columns: Arc::new(events),
        })
    }

    /// A caller of peer 1: everything that the service does, one transaction per event.
    pub fn naive(&self, organizations: usize, keyed: bool) -> impl Caller + use<> {
        Naive {
            pool: self.pool.clone(),
            statements: self.naive.clone(),
            columns: self.columns.clone(),
            rows: self.naive_rows.clone(),
            organizations,
            keyed,
        }
    }

    /// A caller of peer 2: one bare INSERT per commit.
    pub fn bare(&self, organizations: usize) -> impl Caller + use<> {
        Bare {
            pool: self.pool.clone(),
            insert: self.bare.clone(),
            columns: self.columns.clone(),
            rows: self.bare_rows.clone(),
            organizations,
        }
    }

    /// A caller that copies 1,000 rows at a time, in binary form, each time in a transaction.
    pub async fn bulk(&self, organizations: usize) -> Result<impl Caller + use<>> {
        Ok(Bulk {
            connection: self.pool.acquire().await?,
            copy: self.copy.clone(),
            columns: self.columns.clone(),
            rows: self.copy_rows.clone(),
            organizations,
        })
    }
}

struct Naive {
    pool: PgPool,
    statements: Arc<Statements>,
    columns: Arc<Vec<Column>>,
    rows: Arc<Rows>,
    organizations: usize,
    keyed: bool,
}

impl Caller for Naive {
    async fn call(&mut self) -> Result<u64> {
        let event = self.rows.validated(self.organizations, self.keyed)?;
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        self.store(event, &mut transaction).await?;
        transaction.commit().await?;
        Ok(1)
    }
}

impl Naive {
    async fn store(&self, mut event: Event, connection: &mut PgConnection) -> Result<()> {
        let statements = &*self.statements;
        let head = sqlx::query(statements.lock).bind(&*event.organization_id);
        event.sequence = head.fetch_one(&mut *connection).await?.try_get(0)?;
        if let Some(key) = &event.key {
            let known =
                sqlx::query(statements.find_key).bind(&*event.organization_id).bind(&key[..]);
            if known.fetch_optional(&mut *connection).await?.is_some() {
                bail!("a random key occurred twice");
            }
        }
        // Without a key only the unique index on the id could find a repetition.
        filled(&statements.insert, &self.columns, &event).execute(&mut *connection).await?;
        if event.key.is_some() {
            let key = KeyOf(&event);
            let query = filled(&statements.insert_key, &statements.key_columns, &key);
            query.execute(&mut *connection).await?;
        }
        let moved = sqlx::query(statements.move_head).bind(&*event.organization_id);
        moved.bind(event.sequence + 1).execute(connection).await?;
        Ok(())
    }
}

struct Bare {
    pool: PgPool,
    insert: Arc<str>,
    columns: Arc<Vec<Column>>,
    rows: Arc<Rows>,
    organizations: usize,
}

impl Caller for Bare {
    async fn call(&mut self) -> Result<u64> {
        let event = self.rows.ready(self.organizations);
        filled(&self.insert, &self.columns, &event).execute(&self.pool).await?;
        Ok(1)
    }
}

struct Bulk {
    connection: PoolConnection<Postgres>,
    copy: Arc<str>,
    columns: Arc<Vec<Column>>,
    rows: Arc<Rows>,
    organizations: usize,
}

impl Caller for Bulk {
    async fn call(&mut self) -> Result<u64> {
        let events = (0..BULK_ROWS).map(|_| self.rows.ready(self.organizations));
        let bytes = copy::encode(&self.columns, events);
        let mut sink = self.connection.copy_in_raw(&self.copy).await?;
        sink.send(bytes).await?;
        Ok(sink.finish().await?)
    }
}

async fn execute(pool: &PgPool, sql: String) -> Result<()> {
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await?;
    Ok(())
}

/// The columns of a table of the service's that a peer fills.
async fn columns(pool: &PgPool, table: &str) -> Result<Vec<Column>> {
    let sql = "SELECT column_name::text, udt_name::text, \
               is_nullable = 'NO' AND column_default IS NULL AND is_generated = 'NEVER' \
               FROM information_schema.columns \
               WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position";
    let mut columns = Vec::new();
    for row in sqlx::query(sql).bind(table).fetch_all(pool).await? {
        let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let required: bool = row.try_get(2)?;
        if !required && !KNOWN.contains(&&*name) {
            continue;
        }
        let kind = match &*kind {
            "text" | "varchar" => Kind::Text,
            "int8" => Kind::Integer,
            "bytea" => Kind::Bytes,
            other => bail!("the peers cannot fill {table}.{name} of the type {other}"),
        };
        columns.push(Column { name, kind });
    }
    Ok(columns)
}

fn insert(table: &str, columns: &[Column]) -> Arc<str> {
    let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let places = (1..=columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {table} ({names}) VALUES ({places})").into()
}

fn filled<'q>(
    sql: &Arc<str>,
    columns: &[Column],
    row: &'q impl Table,
) -> Query<'q, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql.clone()));
    columns.iter().fold(query, |query, column| match row.cell(column) {
        Cell::Null => query.bind(None::<&str>),
        Cell::Text(text) => query.bind(text),
        Cell::Integer(number) => query.bind(number),
        Cell::Bytes(bytes) => query.bind(bytes),
    })
}
