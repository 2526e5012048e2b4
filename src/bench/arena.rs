//! Where contenders meet: a fresh server on a fresh database, and the peers beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use super::{
    ingest::{IngestCaller, Pace},
    load::{Measurement, drive},
    peers::{Peers, postgres, sqlite},
    plan::{Backend, Plan, Timing},
    postgres::PostgresServer,
    progress::Progress,
    sample::Sample,
    server::{BatchCaller, CreateCaller, Load, Server},
};

/// What outlives the topics of an engine.
pub struct Ground {
    /// Engine.
    pub backend: Backend,
    /// The program to start.
    pub program: PathBuf,
    /// Where files go; on a local disk.
    pub directory: PathBuf,
    /// The numbers.
    pub plan: Plan,
    /// The events.
    pub sample: Arc<Sample>,
    /// The server that stores nothing.
    pub limit: Server,
    /// The database server, where there is one.
    pub postgres: Option<PostgresServer>,
    /// What to show.
    pub progress: Progress,
}

/// A server on a database of its own, and its peers.
pub struct Arena<'a> {
    /// What it stands on.
    pub ground: &'a Ground,
    /// The real server.
    pub server: Server,
    /// The peers.
    pub peers: Peers,
    /// The database's URL.
    pub database_url: String,
    directory: PathBuf,
}

impl Ground {
    /// Makes an arena for a topic.
    pub async fn arena(&self, topic: &str) -> Result<Arena<'_>> {
        self.arena_with(topic, &[]).await
    }

    /// The same with further variables for the server.
    pub async fn arena_with(
        &self,
        topic: &str,
        variables: &[(&'static str, &str)],
    ) -> Result<Arena<'_>> {
        self.progress.say(&format!("{}: starting a server for {topic}", self.backend));
        let directory = self.directory.join(topic);
        fs::create_dir(&directory).context("cannot make a directory")?;
        let file = directory.join("audit-logs.db");
        let database_url = match &self.postgres {
            Some(server) => {
                let name = format!("audit_logs_bench_{}_{topic}", std::process::id());
                server.create_database(&name).await?
            }
            None => format!("sqlite://{}", file.display()),
        };
        let place = (&*directory, &*database_url);
        let server = Server::start(&self.program, place, variables, &self.sample).await?;
        let peers = self.peers(&file, &database_url).await?;
        Ok(Arena { ground: self, server, peers, database_url, directory })
    }

    async fn peers(&self, file: &Path, url: &str) -> Result<Peers> {
        Ok(match self.backend {
            Backend::Sqlite => Peers::Sqlite(sqlite::Peers::new(file, &self.sample)?),
            Backend::Postgres => Peers::Postgres(postgres::Peers::new(url, &self.sample).await?),
        })
    }
}

impl Arena<'_> {
    /// Ends the server and removes what was stored.
    pub async fn close(self) -> Result<()> {
        drop(self.server);
        drop(self.peers);
        if let Some(server) = &self.ground.postgres {
            server.drop_databases().await?;
        }
        fs::remove_dir_all(&self.directory).context("cannot remove what was measured")
    }

    /// Where files of this arena may go.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Another server on a database of its own, with TLS.
    pub async fn secured(&self) -> Result<Server> {
        let Ground { program, sample, postgres, .. } = self.ground;
        let directory = self.path("tls");
        fs::create_dir(&directory).context("cannot make a directory")?;
        let database_url = match postgres {
            Some(server) => {
                let name = format!("audit_logs_bench_{}_secured", std::process::id());
                server.create_database(&name).await?
            }
            None => format!("sqlite://{}", directory.join("audit-logs.db").display()),
        };
        Server::start_secured(program, &directory, &database_url, sample).await
    }

    /// CreateEvent on another server than the arena's.
    pub async fn create_on(
        &self,
        server: &Server,
        in_flight: usize,
        load: &Load,
    ) -> Result<Measurement> {
        let callers = server.callers(in_flight);
        let callers = callers.map(|client| CreateCaller { client, load: load.clone() });
        drive(callers, self.timing()).await
    }

    fn timing(&self) -> Timing {
        self.ground.plan.timing
    }

    /// The usual load, on so many organizations.
    pub fn load(&self, organizations: usize) -> Load {
        let sample = self.ground.sample.clone();
        Load { sample, organizations, keyed: false, receipt: false }
    }

    /// CreateEvent.
    pub async fn create(&self, in_flight: usize, load: &Load) -> Result<Measurement> {
        self.create_on(&self.server, in_flight, load).await
    }

    /// The same call to the server that stores nothing.
    pub async fn limit(&self, in_flight: usize) -> Result<Measurement> {
        let load = self.load(self.ground.plan.organizations);
        let callers = self.ground.limit.callers(in_flight);
        let callers = callers.map(|client| CreateCaller { client, load: load.clone() });
        drive(callers, self.timing()).await
    }

    /// BatchCreateEvents.
    pub async fn batch(&self, size: usize, in_flight: usize, load: &Load) -> Result<Measurement> {
        let callers = self.server.callers(in_flight);
        let callers = callers.map(|client| BatchCaller { client, load: load.clone(), size });
        drive(callers, self.timing()).await
    }

    /// IngestEvents, one stream.
    pub async fn ingest(&self, pace: Pace, load: &Load) -> Result<Measurement> {
        let client = self.server.client().audit_logs();
        let caller = IngestCaller::open(client, load.clone(), pace).await?;
        drive([caller], self.timing()).await
    }

    /// Peer 1.
    pub async fn naive(
        &self,
        in_flight: usize,
        organizations: usize,
        keyed: bool,
    ) -> Result<Measurement> {
        self.peers.naive(in_flight, organizations, keyed, self.timing()).await
    }

    /// Peer 2.
    pub async fn bare(&self, in_flight: usize, organizations: usize) -> Result<Measurement> {
        self.peers.bare(in_flight, organizations, self.timing()).await
    }

    /// The bulk peer.
    pub async fn bulk(&self, connections: usize, organizations: usize) -> Result<Measurement> {
        self.peers.bulk(connections, organizations, self.timing()).await
    }
}
