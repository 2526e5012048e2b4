//! `audit-logs bench`.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    bench::{Backend, Bench, Plan, Report, Topic, limit},
    config::Flags,
};

const AFTER_HELP: &str = "\
What is measured, each figure beside its peer in the same run:
  create         CreateEvent at 1 to 1,024 in flight, against one transaction per event, a bare
                 INSERT per commit, and the same call that stores nothing
  batch          BatchCreateEvents of 100 and 1,000, against binary COPY (SQLite: prepared INSERTs)
  organizations  one organization and 1,000
  receipts       with and without receipts
  ingest         IngestEvents beside BatchCreateEvents
  start          time to the first answer, and idle memory
  tls            CreateEvent with and without TLS
  telemetry      CreateEvent with metrics and traces, and without
  watch          how soon 100 watchers are told of 1,000 events/s, and what 5,000 idle ones cost
  forward        one log stream to an HTTPS receiver beside the receiver's own ceiling, and 500 streams
  export         a log of 1,000,000 events to CSV and JSON Lines, against psql \\copy (SQLite: sqlite3 -csv)
  memory         of the server, idle and at load
  growth         rates at 0, 1 M and 5 M events in one log

The server runs as a process of its own on a database of its own: on SQLite in a temporary directory
(another can be named by --data-dir), on PostgreSQL in a new database of the server that the flag
--database-url names (no variable is read: it may name a database in use) or, without it, of a private
server (default settings, so fsync is on) if initdb is found. All is removed at the end. A full run takes some 10 minutes per engine and 10 GB of disk.

Examples:
  audit-logs bench --quick                       does it work? about a minute
  audit-logs bench --output docs                 writes docs/performance.md and docs/performance.json
  audit-logs bench --engine postgres --only create,batch
  audit-logs bench --engine postgres --database-url postgres://user:password@host/postgres";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The engines [default: both, if PostgreSQL is found]
    #[arg(long, value_enum)]
    engine: Option<EngineChoice>,
    /// Small numbers: shows that everything works; about a minute
    #[arg(long)]
    quick: bool,
    /// Only these topics, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TOPIC")]
    only: Vec<Topic>,
    /// Also write performance.md and performance.json into this directory
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Seconds that one measurement takes
    #[arg(long, hide = true)]
    seconds: Option<f64>,
    /// Be the server that stores nothing
    #[arg(long, hide = true, value_name = "ADDRESS")]
    limit_server: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineChoice {
    /// The embedded one
    Sqlite,
    /// A server
    Postgres,
    /// One after the other
    Both,
}

impl EngineChoice {
    fn backends(self) -> Vec<Backend> {
        match self {
            Self::Sqlite => vec![Backend::Sqlite],
            Self::Postgres => vec![Backend::Postgres],
            Self::Both => vec![Backend::Sqlite, Backend::Postgres],
        }
    }
}

pub async fn run(flags: &Flags, arguments: Arguments) -> Result<()> {
    if let Some(address) = arguments.limit_server {
        return limit::serve(address).await;
    }
    if cfg!(debug_assertions) {
        eprintln!(
            "warning: THIS IS A DEBUG BUILD: its figures mean nothing. Use \
             `cargo run --release -- bench`, or `just bench`."
        );
    }
    let bench = bench(flags, &arguments)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = bench.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    let report = bench.run().await?;
    if let Some(directory) = &arguments.output {
        write(&report, directory)?;
    }
    println!("{}", report.markdown());
    Ok(())
}

fn bench(flags: &Flags, arguments: &Arguments) -> Result<Bench> {
    let plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    let plan = match arguments.seconds {
        Some(seconds) if !(0.01..=600.0).contains(&seconds) => {
            bail!("--seconds must be between 0.01 and 600")
        }
        Some(seconds) => plan.with_seconds(seconds),
        None => plan,
    };
    let url = flags.database_url.clone();
    if url.as_deref().is_some_and(|url| !url.starts_with("postgres")) {
        bail!(
            "--database-url names a PostgreSQL; SQLite files are made and removed by the command"
        );
    }
    let only = &arguments.only;
    Ok(Bench {
        program: std::env::current_exe().context("cannot find this program")?,
        backends: arguments.engine.map(EngineChoice::backends).unwrap_or_default(),
        postgres_url: url,
        topics: if only.is_empty() { Topic::ALL.to_vec() } else { only.clone() },
        plan,
        directory: flags.data_dir.clone().unwrap_or_else(std::env::temp_dir),
        stop: CancellationToken::new(),
    })
}

fn write(report: &Report, directory: &std::path::Path) -> Result<()> {
    let unwritable = || format!("cannot write into {}", directory.display());
    fs::create_dir_all(directory).with_context(unwritable)?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::write(directory.join("performance.json"), json).with_context(unwritable)?;
    fs::write(directory.join("performance.md"), report.markdown()).with_context(unwritable)
}
