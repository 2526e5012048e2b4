//! The program as a process: started with an environment of its own, watched, signalled.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use audit_logs::client::{AuditLogs, Client};
use sea_orm::{ConnectionTrait, Database, Statement};
use tempfile::TempDir;

use crate::support::{Engine, postgres, server::ROOT_KEY, until};

/// A directory, a database and variables to run the program with.
pub struct Program {
    directory: TempDir,
    database_url: String,
    variables: Vec<(String, String)>,
}

impl Program {
    /// Over a new database that has its schema where the engine wants that; with the root key.
    pub async fn on(engine: Engine) -> Self {
        let postgres_url = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::migrated_database().await),
        };
        Self::over(postgres_url).with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY)
    }

    /// Over a database without schema; without a key.
    pub async fn on_nothing(engine: Engine) -> Self {
        let postgres_url = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::empty_database().await),
        };
        Self::over(postgres_url)
    }

    /// Over a PostgreSQL database, or SQLite's in the data directory; without a key.
    pub fn over(postgres_url: Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let variables = Vec::new();
        let file = format!("sqlite://{}", data.join("audit-logs.db").display());
        let database_url = postgres_url.clone().unwrap_or(file);
        let program = Self { directory, database_url, variables };
        let program = program
            .with("AUDIT_LOGS_LISTEN", "127.0.0.1:0")
            .with("AUDIT_LOGS_DATA_DIR", &data.display().to_string())
            .with("AUDIT_LOGS_DATABASE_MAX_CONNECTIONS", "4")
            // Tests look again and again, with one key.
            .with("AUDIT_LOGS_LIMITS_REQUESTS_PER_MINUTE", "0")
            // Records of reads come a moment later, where tests count events.
            .with("AUDIT_LOGS_SYSTEM_LOG_READS", "false")
            // What threads keep of memory would be counted as growth on machines with many processors.
            .with("TOKIO_WORKER_THREADS", "2")
            // A stack trace would be printed if there was one.
            .with("RUST_BACKTRACE", "1");
        match postgres_url {
            Some(url) => program.with("AUDIT_LOGS_DATABASE_URL", &url),
            None => program,
        }
    }

    /// The same with another variable, or another value of one.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// A path in the directory that the program runs in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in the directory that the program runs in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// The names of what is in a directory, in order.
    pub fn files_in(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(arguments, self.directory.path(), &self.variables)
    }

    /// Runs the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).outcome().await
    }

    /// Starts a server and waits until it takes calls.
    pub async fn serve(&self) -> Server {
        self.serve_with(&[]).await
    }

    /// Starts a server with further arguments and waits until it takes calls.
    pub async fn serve_with(&self, arguments: &[&str]) -> Server {
        let arguments = [&["serve"], arguments].concat();
        let mut process = self.start(&arguments);
        let url = process.listening().await;
        let ready = format!("{url}/readyz");
        until("the server is ready", async || {
            assert!(process.exit().is_none(), "serve ended: {}", process.stderr.text());
            reqwest::get(&ready).await.ok()?.error_for_status().ok()
        })
        .await;
        Server { process, url }
    }

    /// The URL of the database.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The first column of every row, as integers.
    pub async fn query_integers(&self, sql: &str) -> Vec<i64> {
        let database = Database::connect(&self.database_url).await.unwrap();
        let statement = Statement::from_string(database.get_database_backend(), sql);
        let rows = database.query_all_raw(statement).await.unwrap();
        database.close().await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    }

    /// The first column of every row, as texts.
    pub async fn query_texts(&self, sql: &str) -> Vec<String> {
        let database = Database::connect(&self.database_url).await.unwrap();
        let statement = Statement::from_string(database.get_database_backend(), sql);
        let rows = database.query_all_raw(statement).await.unwrap();
        database.close().await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    }

    /// The first column of every row, as integers, or nothing while the database takes no connections.
    pub async fn try_integers(&self, sql: &str) -> Option<Vec<i64>> {
        let database = Database::connect(&self.database_url).await.ok()?;
        database.close().await.ok()?;
        Some(self.query_integers(sql).await)
    }

    /// Runs a statement past the server's back.
    pub async fn execute(&self, sql: &str) {
        let database = Database::connect(&self.database_url).await.unwrap();
        database.execute_unprepared(sql).await.unwrap();
        database.close().await.unwrap();
    }
}

/// What is left of a program that ran.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Standard output of a program that did what it was asked to do.
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self.stdout
    }

    /// The message of a program that refused: one line, the last of standard error.
    pub fn expect_refusal(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        for trace in ["panicked", "stack backtrace", ".rs:"] {
            assert!(!self.stderr.contains(trace), "{self:?}");
        }
        let is_message = |line: &&str| line.starts_with("error: ");
        let messages: Vec<_> = self.stderr.lines().filter(is_message).collect();
        assert_eq!(messages, [self.stderr.lines().last().unwrap()], "{self:?}");
        messages[0].to_owned()
    }

    /// The message of a program whose arguments make no sense.
    pub fn expect_usage_error(self) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(!self.stderr.contains("panicked") && self.stdout.is_empty(), "{self:?}");
        self.stderr
    }
}

/// A program that was started; killed when it is dropped.
pub struct Process {
    child: Child,
    pub stdout: Captured,
    pub stderr: Captured,
}

impl Process {
    fn start(arguments: &[&str], directory: &Path, variables: &[(String, String)]) -> Self {
        audit_logs::tls::install_provider();
        let mut child = Command::new(env!("CARGO_BIN_EXE_audit-logs"))
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Captured::from(child.stdout.take().unwrap());
        let stderr = Captured::from(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// How it ended, if it did.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end.
    pub async fn outcome(mut self) -> Outcome {
        let status = until("the program ends", async || self.exit()).await;
        Outcome { code: status.code(), stdout: self.stdout.rest(), stderr: self.stderr.rest() }
    }

    /// The URL of a server, which its log tells.
    pub async fn listening(&mut self) -> String {
        until("the server listens", async || {
            assert!(self.exit().is_none(), "serve ended: {}", self.stderr.text());
            let log = self.stderr.text();
            let (_, rest) = log.split_once(r#""message":"listening","address":""#)?;
            Some(format!("http://{}", rest.split_once('"')?.0))
        })
        .await
    }

    /// The most memory that it ever had resident, in bytes (proc(5), VmHWM).
    pub fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1_024
    }

    /// How many sockets it has open (proc(5), /proc/pid/fd).
    pub fn open_sockets(&self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One may be closed meanwhile.
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program printed so far.
pub struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = text.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    /// Everything, once the program has ended.
    fn rest(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.text()
    }
}

/// A server in a process of its own.
pub struct Server {
    pub process: Process,
    pub url: String,
}

impl Server {
    /// A client with the root key.
    pub async fn client(&self) -> AuditLogs {
        self.client_as(ROOT_KEY).await
    }

    /// A client with another key.
    pub async fn client_as(&self, key: &str) -> AuditLogs {
        Client::connect(&self.url, key).await.unwrap().audit_logs()
    }

    /// Kills it without a chance to do anything more.
    pub fn kill(self) {
        let log = self.process.stderr.text();
        assert!(!log.contains("panicked"), "{log}");
        drop(self.process);
    }

    /// Asks it to stop and waits for that.
    pub async fn stop(self) -> Outcome {
        self.process.signal("TERM");
        self.process.outcome().await
    }
}
