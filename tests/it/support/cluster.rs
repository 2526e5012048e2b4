//! A PostgreSQL server of our own: made, started, stopped as a power cut would, started again.

use std::{
    env, fs,
    io::Write,
    net::SocketAddr,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, Database, Statement};

use super::{disk::SmallDisk, postgres::free_port, until};

/// Where the tables are, below the directory of a cluster.
const DATA: &str = "data";
/// Where the write-ahead log is.
const LOG: &str = "wal";

/// Where the pieces of a cluster are.
pub struct Cluster {
    binaries: PathBuf,
    /// Of its data, its socket and its log. Removed with it.
    directory: PathBuf,
    /// The small disk of a part of it.
    pub disk: Option<SmallDisk>,
    port: u16,
    options: String,
    /// Its standard input holds the server alive: when this process ends, however it ends, the
    /// pipe closes and the shell that waits for it stops the server.
    guard: Option<Child>,
}

/// Whether there is a PostgreSQL to start. With `AUDIT_LOGS_TEST_POSTGRES=required` there must be.
pub fn is_installed() -> bool {
    let required = env::var("AUDIT_LOGS_TEST_POSTGRES").is_ok_and(|value| value == "required");
    assert!(!required || binaries().is_some(), "PostgreSQL is required, but initdb is not found");
    binaries().is_some()
}

/// The directory of initdb and postgres. Debian keeps it off PATH.
fn binaries() -> Option<PathBuf> {
    let on_path = env::split_paths(&env::var_os("PATH")?).collect::<Vec<_>>();
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let has_both = |directory: &PathBuf| {
        ["initdb", "postgres"].iter().all(|name| directory.join(name).is_file())
    };
    debian.into_iter().rev().chain(on_path).find(has_both)
}

/// A program that comes with the server, such as `pg_dump`.
pub fn tool(name: &str) -> PathBuf {
    let beside = binaries().map(|directory| directory.join(name)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| name.into())
}

/// Lets the server write to a directory.
pub fn give_to_postgres(directory: &Path) {
    let user = is_root().then(unprivileged_user);
    chown(directory, user, user).unwrap();
}

impl Cluster {
    /// Makes one in a directory of its own and starts it with further options such as
    /// `-c fsync=off`.
    pub fn start(options: &[&str]) -> Self {
        Self::make(None, options, &[])
    }

    /// The same with its tables on a disk of so many MiB, but not its write-ahead log.
    pub fn with_small_disk(mebibytes: u32) -> Self {
        Self::make(Some((DATA, mebibytes)), &[], &[])
    }

    /// The same with its write-ahead log on a disk of so many MiB: in segments of 1 MiB, few of which
    /// are kept for later.
    pub fn with_small_disk_for_log(mebibytes: u32) -> Self {
        // Large enough that it is full before a checkpoint makes room.
        let options = ["-c min_wal_size=2MB", "-c max_wal_size=1GB"];
        Self::make(Some((LOG, mebibytes)), &options, &["--wal-segsize=1"])
    }

    fn make(disk: Option<(&str, u32)>, options: &[&str], initdb: &[&str]) -> Self {
        let binaries = binaries().expect("asked first");
        let directory = tempfile::Builder::new().prefix("audit-logs-pg").tempdir().unwrap().keep();
        let (data, log) = (directory.join(DATA), directory.join(LOG));
        fs::create_dir(&data).unwrap();
        fs::create_dir(&log).unwrap();
        let disk = disk.map(|(what, mebibytes)| SmallDisk::mount(&directory.join(what), mebibytes));
        let user = is_root().then(unprivileged_user);
        for path in [&directory, &data, &log] {
            chown(path, user, user).unwrap();
        }
        let output = as_postgres(Command::new(binaries.join("initdb")))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"])
            .args(initdb)
            .arg("-D")
            .arg(&data)
            .arg("--waldir")
            .arg(&log)
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let (port, options) = (free_port(), options.join(" "));
        let mut cluster = Self { binaries, directory, disk, port, options, guard: None };
        cluster.resume();
        cluster
    }

    /// Copies it as it runs, with `pg_basebackup`; the copy is not started.
    pub fn base_backup(&self) -> Self {
        let directory = tempfile::Builder::new().prefix("audit-logs-pg").tempdir().unwrap().keep();
        give_to_postgres(&directory);
        let output = as_postgres(Command::new(self.binaries.join("pg_basebackup")))
            .args(["--checkpoint=fast", "--no-sync", "--dbname", &self.base()])
            .arg("--pgdata")
            .arg(directory.join(DATA))
            .arg("--waldir")
            .arg(directory.join(LOG))
            .current_dir(&directory)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_basebackup: {error}");
        let (binaries, port) = (self.binaries.clone(), free_port());
        Self { binaries, directory, disk: None, port, options: String::new(), guard: None }
    }

    /// Starts a copy that recovers from an archive as `options` say.
    pub fn recover(&mut self, options: &str) {
        let signal = self.directory.join(DATA).join("recovery.signal");
        fs::write(&signal, "").unwrap();
        give_to_postgres(&signal);
        options.clone_into(&mut self.options);
        self.resume();
    }

    /// The URL without a database.
    pub fn base(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Starts it again, on the same data and port. Returns when its port is open; it may still
    /// recover then.
    pub fn resume(&mut self) {
        let directory = self.directory.display();
        let script = format!(
            "'{}' -D '{directory}/{DATA}' -c max_connections=400 {} -c port={} -c listen_addresses=127.0.0.1 \
             -c unix_socket_directories='{directory}' >>'{directory}/log' 2>&1 & \
             server=$!; read -r order; kill -QUIT $server 2>/dev/null; kill -CONT $server 2>/dev/null; \
             wait $server; [ \"$order\" = keep ] || rm -rf '{directory}'",
            self.binaries.join("postgres").display(),
            self.options,
            self.port,
        );
        let guard = as_postgres(Command::new("sh"))
            .args(["-c", &script])
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            // Apart from the signals of the terminal, so that the shell can clean up.
            .process_group(0)
            .spawn()
            .unwrap();
        self.guard = Some(guard);
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "no start: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it in the mode `immediate`: it ends its sessions at once and writes nothing more, so
    /// that the next start must recover. Returns when it is gone.
    pub fn stop_immediately(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // Without the order it would think that this process ended, and clean up.
            guard.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            guard.wait().unwrap();
        }
    }

    /// Freezes every process of it where it is (SIGSTOP): sockets stay, and nobody answers.
    pub fn pause(&self) {
        let server = self.process();
        // First the one that makes others.
        signal("STOP", &[server]);
        signal("STOP", &children_of(server));
    }

    /// Lets what was paused go on.
    pub fn unpause(&self) {
        let server = self.process();
        signal("CONT", &children_of(server));
        signal("CONT", &[server]);
    }

    /// The server's process id, which is the first line of its lock file.
    fn process(&self) -> u32 {
        let file = self.directory.join(DATA).join("postmaster.pid");
        fs::read_to_string(file).unwrap().lines().next().unwrap().trim().parse().unwrap()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A second server that copies this one and follows it. From then on this one acknowledges a
    /// commit when both have it.
    pub async fn standby(&self) -> Self {
        let directory = tempfile::Builder::new().prefix("audit-logs-pg").tempdir().unwrap().keep();
        let user = is_root().then(unprivileged_user);
        chown(&directory, user, user).unwrap();
        let output = as_postgres(Command::new(self.binaries.join("pg_basebackup")))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream"])
            .arg(format!("--dbname={}", self.base()))
            .arg("--pgdata")
            .arg(directory.join(DATA))
            .current_dir(&directory)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_basebackup: {told}");
        let (binaries, options) = (self.binaries.clone(), self.options.clone());
        let port = free_port();
        let mut standby = Self { binaries, directory, disk: None, port, options, guard: None };
        standby.resume();
        let primary = Database::connect(format!("{}/postgres", self.base())).await.unwrap();
        for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            primary.execute_unprepared(sql).await.unwrap();
        }
        let in_step = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        let in_step = Statement::from_string(primary.get_database_backend(), in_step);
        until("the standby is in step", async || {
            primary.query_one_raw(in_step.clone()).await.unwrap()
        })
        .await;
        primary.close().await.unwrap();
        standby
    }

    /// Makes a standby a primary, which acknowledges commits alone.
    pub async fn promote(&self) {
        let standby = Database::connect(format!("{}/postgres", self.base())).await.unwrap();
        for sql in [
            "SELECT pg_promote()",
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        ] {
            standby.execute_unprepared(sql).await.unwrap();
        }
        standby.close().await.unwrap();
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_immediately();
        drop(self.disk.take());
        // Best effort: what is left of a test is in the way of nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Sends a signal to processes; one that is gone meanwhile is none to send it to.
fn signal(name: &str, processes: &[u32]) {
    for process in processes {
        let script = format!("kill -{name} {process} 2>/dev/null || true");
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }
}

/// The processes that a process started and that are there still.
fn children_of(process: u32) -> Vec<u32> {
    let file = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(file).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// PostgreSQL refuses to run as root.
fn as_postgres(mut command: Command) -> Command {
    if is_root() {
        let user = unprivileged_user();
        command.uid(user).gid(user);
    }
    command
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    id(&["-u"]).is_some_and(|id| id == 0)
}

/// The user that Debian's package makes, or else nobody.
fn unprivileged_user() -> u32 {
    id(&["-u", "postgres"]).or_else(|| id(&["-u", "nobody"])).unwrap_or(65_534)
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
