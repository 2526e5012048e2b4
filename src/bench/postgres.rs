//! A PostgreSQL to measure on: the one that was named, or a private one that ends with the
//! benchmark. It has default settings except for port and directory, so a commit waits for the disk.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions,
};

use super::process::{Guarded, Start, free_port, output_of};

/// How long a server may take to start.
const START: Duration = Duration::from_mins(1);
/// How often to look whether it did.
const LOOK: Duration = Duration::from_millis(30);

/// What is told of the settings.
const SETTINGS: &str = "SELECT name, current_setting(name) FROM pg_settings WHERE name IN (\
    'fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size', 'wal_sync_method', \
    'full_page_writes', 'max_connections', 'wal_buffers', 'checkpoint_timeout') ORDER BY name";

/// A PostgreSQL server.
pub struct PostgresServer {
    options: PgConnectOptions,
    /// Where it is from.
    pub origin: &'static str,
    /// Databases that were made and not removed yet.
    databases: Mutex<Vec<String>>,
    _process: Option<Guarded>,
}

impl PostgresServer {
    /// The server at `url`.
    pub fn named(url: &str) -> Result<Self> {
        // The driver's own complaint would repeat the URL, which may hold a password.
        let options = PgConnectOptions::from_str(url).ok();
        let options = options.context("the database URL is not a valid postgres:// URL")?;
        let origin = "the one that was named";
        Ok(Self { options, origin, databases: Mutex::default(), _process: None })
    }

    /// Starts a private server with its files in `directory`.
    pub async fn start(programs: &Path, directory: &Path) -> Result<Self> {
        let directory = directory.join("postgres");
        fs::create_dir(&directory)?;
        // PostgreSQL refuses to run as root.
        let user = is_root().then(unprivileged_user);
        if let Some(user) = user {
            chown(&directory, Some(user), Some(user))?;
        }
        let data = directory.join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "-D"]).arg(&data);
        if let Some(user) = user {
            initdb.uid(user).gid(user);
        }
        let output = initdb.current_dir(&directory).output().context("cannot run initdb")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "initdb failed: {told}");
        let port = free_port()?;
        let log = directory.join("log");
        let own = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", directory.display()),
        ];
        let program = programs.join("postgres");
        let mut command = vec![program.as_os_str(), OsStr::new("-D"), data.as_os_str()];
        for setting in &own {
            command.extend([OsStr::new("-c"), OsStr::new(setting)]);
        }
        let process = Guarded::start(&Start {
            command,
            variables: Vec::new(),
            directory: &directory,
            log: &log,
            signal: "QUIT",
            user,
        })?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let options = PgConnectOptions::from_str(&url).context("a URL of our own")?;
        let started = Instant::now();
        while PgConnection::connect_with(&options).await.is_err() {
            process.expect_running(&log)?;
            ensure!(started.elapsed() < START, "PostgreSQL does not start");
            tokio::time::sleep(LOOK).await;
        }
        let origin = "private, started for this run";
        Ok(Self { options, origin, databases: Mutex::default(), _process: Some(process) })
    }

    /// Makes an empty database and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        self.execute(&format!("CREATE DATABASE {name}"))
            .await
            .context("the benchmark needs a user that may create databases")?;
        self.databases().push(name.to_owned());
        Ok(self.options.clone().database(name).to_url_lossy().to_string())
    }

    /// Removes the databases that were made, whoever is still connected.
    pub async fn drop_databases(&self) -> Result<()> {
        let names = std::mem::take(&mut *self.databases());
        for name in names {
            self.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        Ok(())
    }

    fn databases(&self) -> MutexGuard<'_, Vec<String>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Version and settings, for the report.
    pub async fn describe(&self) -> Result<Vec<(String, String)>> {
        let mut connection = self.connect().await?;
        let version: String =
            sqlx::query("SHOW server_version").fetch_one(&mut connection).await?.try_get(0)?;
        let mut told = vec![("version".to_owned(), version)];
        for row in sqlx::query(SETTINGS).fetch_all(&mut connection).await? {
            told.push((row.try_get(0)?, row.try_get(1)?));
        }
        Ok(told)
    }

    async fn connect(&self) -> Result<PgConnection> {
        let connection = PgConnection::connect_with(&self.options).await;
        connection.context("cannot connect to PostgreSQL")
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

/// The directory that has all of these programs of PostgreSQL's. Debian keeps it off PATH.
pub fn find_programs(names: &[&str]) -> Option<PathBuf> {
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    let has_all = |directory: &PathBuf| names.iter().all(|name| directory.join(name).is_file());
    debian.into_iter().rev().chain(env::split_paths(&path)).find(has_all)
}

fn is_root() -> bool {
    output_of("id", &["-u"]).is_some_and(|id| id == "0")
}

/// The user that Debian's package makes, or else nobody.
fn unprivileged_user() -> u32 {
    let id = |user| output_of("id", &["-u", user])?.parse().ok();
    id("postgres").or_else(|| id("nobody")).unwrap_or(65_534)
}
