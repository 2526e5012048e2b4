//! The benchmark: drives a real server over gRPC and measures, in the same run and in turn, what the
//! database and the wire allow. It knows the service by its contract alone; the peers take the tables
//! from the schema that the service made.

mod arena;
mod collector;
mod ingest;
mod load;
mod machine;
mod peers;
mod plan;
mod postgres;
mod process;
mod progress;
mod receiver;
mod report;
mod rows;
mod sample;
mod server;
mod topics;

pub mod limit;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use tokio_util::sync::CancellationToken;

use self::{
    arena::Ground,
    machine::Machine,
    postgres::{PostgresServer, find_programs},
    progress::Progress,
    report::{EngineReport, Section},
    sample::Sample,
    server::Server,
    topics::{
        batch, create, forward, ingest as streams, long_log, memory, organizations, receipts,
        start, telemetry, tls, watch,
    },
};
pub use self::{
    plan::{Backend, Plan, Topic},
    report::Report,
};

/// What to measure, and where.
pub struct Bench {
    /// The program whose server is measured.
    pub program: PathBuf,
    /// The engines; all that are there if empty.
    pub backends: Vec<Backend>,
    /// A PostgreSQL to use; otherwise a private one is started.
    pub postgres_url: Option<String>,
    /// The topics.
    pub topics: Vec<Topic>,
    /// The numbers.
    pub plan: Plan,
    /// Where databases and files go, in a directory that is removed at the end.
    pub directory: PathBuf,
    /// Ends the run early; what was started and stored is removed all the same.
    pub stop: CancellationToken,
}

/// A directory that is removed when it is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: cannot remove {}: {error}", self.0.display());
        }
    }
}

impl Bench {
    /// Measures everything.
    pub async fn run(&self) -> Result<Report> {
        let name = format!("audit-logs-bench-{}", std::process::id());
        let scratch = Scratch(std::path::absolute(&self.directory)?.join(name));
        fs::create_dir_all(&scratch.0)
            .with_context(|| format!("cannot make {}", scratch.0.display()))?;
        let machine = Machine::describe(&scratch.0)?;
        let mut engines = Vec::new();
        for backend in self.backends()? {
            engines.push(self.measure(backend, &scratch.0).await?);
        }
        Ok(Report { machine, engines })
    }

    /// The engines that are asked for, or those that are there.
    fn backends(&self) -> Result<Vec<Backend>> {
        let has_postgres = self.postgres_url.is_some() || postgres_programs().is_some();
        if !self.backends.is_empty() {
            if self.backends.contains(&Backend::Postgres) && !has_postgres {
                bail!("PostgreSQL is not found: install initdb, or name one by --database-url");
            }
            return Ok(self.backends.clone());
        }
        if has_postgres {
            return Ok(vec![Backend::Sqlite, Backend::Postgres]);
        }
        eprintln!("bench: PostgreSQL is not found (initdb); only SQLite is measured");
        Ok(vec![Backend::Sqlite])
    }

    async fn measure(&self, backend: Backend, scratch: &Path) -> Result<EngineReport> {
        let directory = scratch.join(backend.to_string());
        fs::create_dir(&directory)?;
        let postgres = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(self.postgres(&directory).await?),
        };
        let settings = match &postgres {
            None => sqlite_settings(),
            Some(server) => {
                let origin = [("server".to_owned(), server.origin.to_owned())];
                origin.into_iter().chain(server.describe().await?).collect()
            }
        };
        let ground = Ground {
            backend,
            program: self.program.clone(),
            sample: Arc::new(Sample::new(self.plan.organizations)?),
            limit: Server::start_limit(&self.program, &directory).await?,
            directory,
            plan: self.plan.clone(),
            postgres,
            progress: Progress::new(),
        };
        let sections = tokio::select! {
            sections = self.sections(&ground) => sections,
            () = self.stop.cancelled() => Err(anyhow!("stopped before the end")),
        };
        ground.progress.finish();
        if let Some(server) = &ground.postgres {
            server.drop_databases().await?;
        }
        Ok(EngineReport { engine: backend.to_string(), settings, sections: sections? })
    }

    async fn postgres(&self, directory: &Path) -> Result<PostgresServer> {
        if let Some(url) = &self.postgres_url {
            return PostgresServer::named(url);
        }
        let programs = postgres_programs().context("PostgreSQL is not found")?;
        PostgresServer::start(&programs, directory).await
    }

    async fn sections(&self, ground: &Ground) -> Result<Vec<Section>> {
        let wanted = |topic| self.topics.contains(&topic);
        let mut sections = Vec::new();
        if wanted(Topic::Start) {
            sections.push(start::run(ground).await?);
        }
        if wanted(Topic::Create) {
            sections.push(create::run(ground).await?);
        }
        if wanted(Topic::Batch) {
            sections.push(batch::run(ground).await?);
        }
        if wanted(Topic::Ingest) {
            sections.push(streams::run(ground).await?);
        }
        if wanted(Topic::Organizations) {
            sections.push(organizations::run(ground).await?);
        }
        if wanted(Topic::Receipts) {
            sections.push(receipts::run(ground).await?);
        }
        if wanted(Topic::Tls) {
            sections.push(tls::run(ground).await?);
        }
        if wanted(Topic::Telemetry) {
            sections.push(telemetry::run(ground).await?);
        }
        if wanted(Topic::Watch) {
            sections.push(watch::run(ground).await?);
        }
        if wanted(Topic::Forward) {
            sections.push(forward::run(ground).await?);
        }
        if wanted(Topic::Memory) {
            sections.push(memory::run(ground).await?);
        }
        let (growth, export) = (wanted(Topic::Growth), wanted(Topic::Export));
        if growth || export {
            sections.extend(long_log::run(ground, growth, export).await?);
        }
        Ok(sections)
    }
}

fn postgres_programs() -> Option<PathBuf> {
    find_programs(&["initdb", "postgres"])
}

fn sqlite_settings() -> Vec<(String, String)> {
    let settings =
        [("version", rusqlite::version()), ("journal_mode", "WAL"), ("synchronous", "FULL")];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}
