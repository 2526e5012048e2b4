//! The peers on SQLite, through rusqlite: each has a file of its own with the service's tables, and
//! a thread of its own, since SQLite has one writer. A caller does its part of the work and hands the
//! row over, without a driver's further threads in between.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rusqlite::{Connection, OpenFlags, Statement, params_from_iter, types::ToSqlOutput};
use tokio::sync::oneshot;

use super::{
    super::{
        load::Caller,
        rows::{Cell, Column, EmptyHead, Event, KNOWN, KeyOf, Kind, Rows, Table},
        sample::Sample,
    },
    BULK_ROWS,
};

/// The tables that the peers take from the service's file.
const TABLES: &str = "('events', 'log_heads', 'idempotency_keys')";

/// Files and writers of the peers.
pub struct Peers {
    naive: Writer,
    bare: Writer,
    bulk: Writer,
}

impl Peers {
    /// Makes the files beside that of the service, which must have been migrated.
    pub fn new(service: &Path, sample: &Arc<Sample>) -> Result<Self> {
        let schema = Arc::new(Schema::read(service)?);
        let writer = |name: &str, way: Way| {
            let path = service.with_file_name(format!("bench_{name}.db"));
            Writer::start(&path, schema.clone(), way, sample)
        };
        Ok(Self {
            naive: writer("naive", Way::Naive)?,
            bare: writer("bare", Way::Bare)?,
            bulk: writer("bulk", Way::Bulk)?,
        })
    }

    /// A caller of peer 1: everything that the service does, one transaction per event.
    pub fn naive(&self, organizations: usize, keyed: bool) -> impl Caller + use<> {
        Naive { writer: self.naive.clone(), organizations, keyed }
    }

    /// A caller of peer 2: one bare INSERT per commit.
    pub fn bare(&self, organizations: usize) -> impl Caller + use<> {
        Ready { writer: self.bare.clone(), organizations, rows: 1 }
    }

    /// A caller that stores 1,000 rows by a prepared statement in one transaction.
    pub fn bulk(&self, organizations: usize) -> impl Caller + use<> {
        Ready { writer: self.bulk.clone(), organizations, rows: BULK_ROWS }
    }
}

/// How a writer stores rows.
#[derive(Clone, Copy)]
enum Way {
    Naive,
    Bare,
    Bulk,
}

struct Job {
    rows: Vec<Event>,
    done: oneshot::Sender<Result<()>>,
}

#[derive(Clone)]
struct Writer {
    jobs: mpsc::Sender<Job>,
    rows: Arc<Rows>,
}

impl Writer {
    fn start(path: &Path, schema: Arc<Schema>, way: Way, sample: &Arc<Sample>) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        for sql in &schema.sql {
            connection.execute_batch(sql)?;
        }
        let mut insert = connection.prepare(&insert("log_heads", &schema.heads))?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for organization in sample.organizations() {
            execute(&mut insert, &schema.heads, &EmptyHead(organization))?;
        }
        connection.execute_batch("COMMIT")?;
        drop(insert);
        let rows = Arc::new(Rows::new(sample.clone())?);
        let (jobs, queue) = mpsc::channel();
        thread::spawn(move || write(&connection, &schema, way, &queue));
        Ok(Self { jobs, rows })
    }

    async fn store(&self, rows: Vec<Event>) -> Result<u64> {
        let count = rows.len() as u64;
        let (done, is_done) = oneshot::channel();
        self.jobs.send(Job { rows, done }).map_err(|_| anyhow!("the writer ended"))?;
        is_done.await.context("the writer ended")??;
        Ok(count)
    }
}

/// The writer's thread: ends when nobody can send jobs any more.
fn write(connection: &Connection, schema: &Schema, way: Way, queue: &mpsc::Receiver<Job>) {
    let mut statements = match Statements::prepare(connection, schema) {
        Ok(statements) => statements,
        // The first caller is told that the writer ended.
        Err(error) => return eprintln!("error: a peer cannot prepare its statements: {error:#}"),
    };
    for Job { rows, done } in queue {
        let result = match way {
            Way::Naive => rows.into_iter().try_for_each(|row| statements.naive(row)),
            Way::Bare => rows.iter().try_for_each(|row| statements.bare(row)),
            Way::Bulk => statements.bulk(&rows),
        };
        // Nobody listens after the end of a measurement.
        let _ = done.send(result);
    }
}

struct Statements<'a> {
    schema: &'a Schema,
    begin: Statement<'a>,
    commit: Statement<'a>,
    head: Statement<'a>,
    find_key: Statement<'a>,
    insert: Statement<'a>,
    insert_key: Statement<'a>,
    move_head: Statement<'a>,
}

impl<'a> Statements<'a> {
    fn prepare(connection: &'a Connection, schema: &'a Schema) -> Result<Self> {
        let prepare = |sql: &str| connection.prepare(sql);
        Ok(Self {
            schema,
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            head: prepare("SELECT size FROM log_heads WHERE organization_id = ?")?,
            find_key: prepare(
                "SELECT sequence FROM idempotency_keys WHERE organization_id = ? AND key = ?",
            )?,
            insert: prepare(&insert("events", &schema.events))?,
            insert_key: prepare(&insert("idempotency_keys", &schema.keys))?,
            move_head: prepare("UPDATE log_heads SET size = ? WHERE organization_id = ?")?,
        })
    }

    fn naive(&mut self, mut event: Event) -> Result<()> {
        self.begin.execute([])?;
        event.sequence = self.head.query_row([&event.organization_id], |row| row.get(0))?;
        if let Some(key) = event.key
            && self.find_key.exists((&event.organization_id, key))?
        {
            bail!("a random key occurred twice");
        }
        // Without a key only the unique index on the id could find a repetition.
        execute(&mut self.insert, &self.schema.events, &event)?;
        if event.key.is_some() {
            execute(&mut self.insert_key, &self.schema.keys, &KeyOf(&event))?;
        }
        self.move_head.execute((event.sequence + 1, &event.organization_id))?;
        self.commit.execute([])?;
        Ok(())
    }

    fn bare(&mut self, event: &Event) -> Result<()> {
        execute(&mut self.insert, &self.schema.events, event)
    }

    fn bulk(&mut self, events: &[Event]) -> Result<()> {
        self.begin.execute([])?;
        for event in events {
            execute(&mut self.insert, &self.schema.events, event)?;
        }
        self.commit.execute([])?;
        Ok(())
    }
}

struct Naive {
    writer: Writer,
    organizations: usize,
    keyed: bool,
}

impl Caller for Naive {
    async fn call(&mut self) -> Result<u64> {
        let row = self.writer.rows.validated(self.organizations, self.keyed)?;
        self.writer.store(vec![row]).await
    }
}

struct Ready {
    writer: Writer,
    organizations: usize,
    rows: usize,
}

impl Caller for Ready {
    async fn call(&mut self) -> Result<u64> {
        let rows = (0..self.rows).map(|_| self.writer.rows.ready(self.organizations));
        self.writer.store(rows.collect()).await
    }
}

/// Tables and indexes of the service, and the columns that the peers fill.
struct Schema {
    sql: Vec<String>,
    events: Vec<Column>,
    heads: Vec<Column>,
    keys: Vec<Column>,
}

impl Schema {
    fn read(service: &Path) -> Result<Self> {
        let connection = Connection::open_with_flags(service, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sql = format!(
            "SELECT sql FROM sqlite_master WHERE tbl_name IN {TABLES} AND sql IS NOT NULL \
             ORDER BY type DESC"
        );
        let mut statement = connection.prepare(&sql)?;
        let sql = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>, _>>()?;
        ensure!(!sql.is_empty(), "{} has no tables", service.display());
        let columns = |table| columns(&connection, table);
        Ok(Self {
            sql,
            events: columns("events")?,
            heads: columns("log_heads")?,
            keys: columns("idempotency_keys")?,
        })
    }
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<Column>> {
    let sql = "SELECT name, lower(type), \"notnull\" AND dflt_value IS NULL \
               FROM pragma_table_info(?)";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, kind, required): (String, String, bool) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        if !required && !KNOWN.contains(&&*name) {
            continue;
        }
        let kind = match &*kind {
            kind if kind.contains("int") => Kind::Integer,
            kind if kind.contains("char") || kind.contains("text") => Kind::Text,
            kind if kind.contains("blob") => Kind::Bytes,
            other => bail!("the peers cannot fill {table}.{name} of the type {other}"),
        };
        columns.push(Column { name, kind });
    }
    Ok(columns)
}

fn insert(table: &str, columns: &[Column]) -> String {
    let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let places = vec!["?"; columns.len()].join(", ");
    format!("INSERT INTO {table} ({names}) VALUES ({places})")
}

fn execute(statement: &mut Statement<'_>, columns: &[Column], row: &impl Table) -> Result<()> {
    let cells = columns.iter().map(|column| Bound(row.cell(column)));
    statement.execute(params_from_iter(cells))?;
    Ok(())
}

/// A cell as rusqlite takes it.
struct Bound<'a>(Cell<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Cell::Null => ToSqlOutput::from(rusqlite::types::Null),
            Cell::Text(text) => ToSqlOutput::from(text),
            Cell::Integer(number) => ToSqlOutput::from(number),
            Cell::Bytes(bytes) => ToSqlOutput::from(bytes),
        })
    }
}
